package webhook

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// EncodePython returns the JSON that Python makes of a value with
// json.dumps(value, separators=(",", ":")): ASCII only, without blanks, members
// in the order of the struct's fields. Some receivers parse a body and write it
// again before they check its signature; only these bytes survive that.
//
// It takes what [json.Marshal] takes, and fails on the same. Floats below 1e-4
// come out in another form than Python's: bodies have none.
func EncodePython(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return escapeUnicode(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// escapeUnicode returns JSON with an escape, or two for a surrogate pair, in
// place of each character that is not printable ASCII. Only strings hold such
// characters.
func escapeUnicode(text []byte) []byte {
	const digits = "0123456789abcdef"
	var escaped []byte
	done := 0 // bytes of text that are in escaped
	for i := 0; i < len(text); {
		if text[i] < '\x7f' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if escaped == nil {
			escaped = make([]byte, 0, len(text)+len(text)/4)
		}
		escaped = append(escaped, text[done:i]...)
		var units [2]uint16
		for _, u := range utf16.AppendRune(units[:0], r) {
			escaped = append(escaped, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
		}
		i += size
		done = i
	}
	if escaped == nil {
		return text
	}
	return append(escaped, text[done:]...)
}
