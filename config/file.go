package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// settingsFile is a JSON object with settings, which are named like the flags; an
// underscore or a capital letter may stand for the dash.
type settingsFile struct {
	path   string
	text   []byte
	values map[string]fileValue // by [plainName]
}

type fileValue struct {
	name  string // as the file has it
	line  int
	value any // nil: as if it was not there
}

// readSettings reads a file. An error names the line.
func readSettings(path string) (*settingsFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	f := &settingsFile{path: path, text: text, values: map[string]fileValue{}}
	d := json.NewDecoder(bytes.NewReader(text))
	fail := func(err error) error {
		at := d.InputOffset()
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			at = max(at, syntax.Offset) // of a nested value it counts from its start
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			at, err = int64(len(text)), errors.New("it ends in the middle; is it written completely?")
		}
		return fmt.Errorf("config: %s:%d: %w", path, f.line(at), err)
	}
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		if err == nil || !errors.Is(err, io.EOF) {
			err = errors.New("not a JSON object such as {\"muc\": \"muc.example.org\"}; other formats are not read")
		}
		return nil, fail(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fail(err)
		}
		name, _ := key.(string)
		at := f.line(d.InputOffset())
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fail(err)
		}
		plain := plainName(name)
		if before, twice := f.values[plain]; twice {
			return nil, fmt.Errorf("config: %s:%d: %q was set in line %d already", path, at, name, before.line)
		}
		f.values[plain] = fileValue{name, at, settingValue(raw)}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fail(errors.New("something follows the object"))
	}
	return f, nil
}

// settingValue returns a JSON value as a variable would have it: numbers as they are
// written, a list of texts with commas between them; nil for null and an empty text,
// which count as unset. All else stays as it is.
func settingValue(raw json.RawMessage) (value any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&value) // it was decoded before
	switch v := value.(type) {
	case json.Number:
		return v.String()
	case string:
		if v == "" {
			return nil
		}
	case []any:
		texts := make([]string, len(v))
		for i, element := range v {
			text, ok := element.(string)
			if !ok {
				return value
			}
			texts[i] = text
		}
		return kong.JoinEscaped(texts, ',')
	}
	return value
}

// line returns the number of the line of a place in the file.
func (f *settingsFile) line(offset int64) int {
	return 1 + bytes.Count(f.text[:min(offset, int64(len(f.text)))], []byte("\n"))
}

// value returns what the file says of a setting, and where; nil: nothing.
func (f *settingsFile) value(flag string) (value any, from string) {
	v := f.values[plainName(flag)]
	return v.value, fmt.Sprintf("config: %s:%d: %s", f.path, v.line, flag)
}

// unknown returns an error for each setting of the file that no command has.
func (f *settingsFile) unknown(app *kong.Application) (problems []error) {
	var names, plain []string
	for _, flag := range allFlags(app) {
		names, plain = append(names, flag.Name), append(plain, plainName(flag.Name))
	}
	for key, v := range f.values {
		if !slices.Contains(plain, key) {
			problems = append(problems, fmt.Errorf("config: %s:%d: there is no setting %q%s", f.path, v.line, v.name, nearest(strings.ToLower(v.name), names)))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return problems
}

// plainName makes component-secret, component_secret and componentSecret the same.
func plainName(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// nearest returns ", did you mean …?" with the name that is most like the given one;
// empty where none is: a third of it may differ.
func nearest(name string, names []string) string {
	best, least := "", len(name)/3+1
	for _, other := range names {
		if d := distance(name, other); d < least {
			best, least = other, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance is how many characters have to be put in, taken out or replaced to make
// one of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
