package component

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxNames is how many different names of elements and attributes are kept,
	// and maxKeptName how long in bytes they may be: Jitsi's stanzas have about
	// 200 of up to 40. What is beyond is allocated each time.
	maxNames    = 1000
	maxKeptName = 64
)

// tokens reads XML as XMPP restricts it (RFC 6120 §11.1): elements, text,
// CDATA, character references and the five predefined entities. Comments,
// processing instructions and declarations are errors.
//
// What encoding/xml makes of such a document, its RawToken included, this gives
// too, at a fifth of the cost: most of what usher does is reading presences.
// Names keep their prefixes and end tags are not held against their start tags;
// whoever wraps this sees to both.
type tokens struct {
	c     *conn
	names map[string]string
	attrs []xml.Attr // of the tag being read
	text  []byte     // text in which references were replaced

	inTag bool // the < of the next tag has been read
	ends  bool // the last tag was <name/>, its end token comes next
	last  xml.Name
}

func newTokens(c *conn) *tokens { return &tokens{c: c, names: map[string]string{}} }

// Token returns the next token; text is good until the next call. The error at
// the end of the stream is io.EOF, wherever that is.
func (t *tokens) Token() (xml.Token, error) {
	if t.ends {
		t.ends = false
		return xml.EndElement{Name: t.last}, nil
	}
	if !t.inTag {
		start := len(t.c.raw)
		dropped, err := t.c.readThrough('<')
		if err != nil {
			return nil, err
		}
		t.inTag = true
		if dropped {
			start = len(t.c.raw) - 1
		}
		if text := t.c.raw[start : len(t.c.raw)-1]; len(text) > 0 {
			if bytes.Contains(text, []byte("]]>")) {
				return nil, fmt.Errorf("%w: ]]> in text", errBadXML)
			}
			text, err := t.plain(text, true)
			return xml.CharData(text), err
		}
	}
	t.inTag = false
	tag, err := t.tag()
	if err != nil {
		return nil, err
	}
	switch {
	case len(tag) > 0 && tag[0] == '/':
		name, rest, err := t.name(tag[1:])
		if err == nil && len(trimSpace(rest)) > 0 {
			err = badTag(tag)
		}
		return xml.EndElement{Name: name}, err
	case bytes.HasPrefix(tag, cdata):
		text, err := t.plain(tag[len(cdata):len(tag)-len("]]")], false)
		return xml.CharData(text), err
	}
	return t.start(tag)
}

var cdata = []byte("![CDATA[")

// tag reads up to the > that ends the tag, and returns what is before it.
func (t *tokens) tag() ([]byte, error) {
	start := len(t.c.raw)
	scanned, quote := start, byte(0)
	for {
		if _, err := t.c.readThrough('>'); err != nil {
			return nil, err
		}
		tag := t.c.raw[start : len(t.c.raw)-1]
		if bytes.HasPrefix(tag, cdata) {
			if bytes.HasSuffix(tag[len(cdata):], []byte("]]")) {
				return tag, nil
			}
			continue
		}
		for ; scanned < len(t.c.raw); scanned++ {
			switch b := t.c.raw[scanned]; {
			case b == '<':
				return nil, badTag(tag)
			case b == quote:
				quote = 0
			case quote == 0 && (b == '\'' || b == '"'):
				quote = b
			}
		}
		if quote == 0 {
			return tag, nil
		}
	}
}

// start parses a start tag.
func (t *tokens) start(tag []byte) (xml.Token, error) {
	name, rest, err := t.name(tag)
	if err != nil {
		return nil, err
	}
	t.attrs = t.attrs[:0]
	for {
		rest = trimSpace(rest)
		if len(rest) == 0 {
			break
		}
		if len(rest) == 1 && rest[0] == '/' {
			t.ends, t.last = true, name
			break
		}
		var a xml.Attr
		if a.Name, rest, err = t.name(rest); err != nil {
			return nil, err
		}
		value, ok := bytes.CutPrefix(trimSpace(rest), []byte("="))
		value = trimSpace(value)
		if !ok || len(value) == 0 || value[0] != '\'' && value[0] != '"' {
			return nil, badTag(tag)
		}
		end := 1 + bytes.IndexByte(value[1:], value[0])
		if end == 0 {
			return nil, badTag(tag)
		}
		text, err := t.plain(value[1:end], true)
		if err != nil {
			return nil, err
		}
		a.Value, rest = string(text), value[end+1:]
		t.attrs = append(t.attrs, a)
	}
	return xml.StartElement{Name: name, Attr: slices.Clone(t.attrs)}, nil
}

// name splits a name off.
func (t *tokens) name(b []byte) (name xml.Name, rest []byte, err error) {
	end, colon := 0, -1
	for ; end < len(b) && isNameByte(b[end]); end++ {
		if b[end] == ':' {
			if colon >= 0 {
				return name, nil, badTag(b)
			}
			colon = end
		}
	}
	if end == 0 || b[0] == '-' || b[0] == '.' || '0' <= b[0] && b[0] <= '9' || !utf8.Valid(b[:end]) {
		return name, nil, badTag(b)
	}
	if colon <= 0 || colon == end-1 {
		return xml.Name{Local: t.intern(b[:end])}, b[end:], nil
	}
	return xml.Name{Space: t.intern(b[:colon]), Local: t.intern(b[colon+1 : end])}, b[end:], nil
}

// isNameByte is lenient beyond ASCII: which characters make a name there the
// server has checked.
func isNameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		b == '_' || b == '-' || b == '.' || b == ':' || b >= utf8.RuneSelf
}

// intern returns the name as a string, the same for the same name.
func (t *tokens) intern(b []byte) string {
	if s, ok := t.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(t.names) < maxNames && len(s) <= maxKeptName {
		t.names[s] = s
	}
	return s
}

// plain checks the characters of a text (XML 1.0 §2.2), makes line ends
// newlines (§2.11) and, outside CDATA, replaces references.
func (t *tokens) plain(b []byte, references bool) ([]byte, error) {
	if !slices.ContainsFunc(b, needsCare) {
		return b, nil
	}
	t.text = t.text[:0]
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1:
			return nil, fmt.Errorf("%w: invalid UTF-8", errBadXML)
		case r == '\r':
			r = '\n'
			if len(b) > 1 && b[1] == '\n' {
				size = 2
			}
		case r == '&' && references:
			// The longest that makes sense is &#x10FFFF; but zeros may precede.
			end := bytes.IndexByte(b, ';')
			var ok bool
			if r, ok = reference(b[1:max(end, 1)]); !ok {
				return nil, fmt.Errorf("%w: unknown entity", errBadXML)
			}
			size = end + 1
		}
		if !isCharacter(r) {
			return nil, fmt.Errorf("%w: character %U", errBadXML, r)
		}
		t.text = utf8.AppendRune(t.text, r)
		b = b[size:]
	}
	return t.text, nil
}

// needsCare reports whether a text with that byte must be read character by
// character.
func needsCare(c byte) bool {
	return c >= utf8.RuneSelf || c == '&' || c < ' ' && c != '\n' && c != '\t'
}

// reference returns the character that &name; stands for (XML 1.0 §4.1, §4.6).
func reference(name []byte) (rune, bool) {
	switch string(name) {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	digits, ok := strings.CutPrefix(string(name), "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return rune(n), err == nil && n <= utf8.MaxRune
}

// isCharacter reports whether XML may hold the character (XML 1.0 §2.2).
func isCharacter(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || ' ' <= r && r <= 0xD7FF ||
		0xE000 <= r && r <= 0xFFFD || 0x10000 <= r && r <= utf8.MaxRune
}

func trimSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

func badTag(tag []byte) error { return fmt.Errorf("%w: tag <%.100q", errBadXML, tag) }

// readThrough appends what comes up to and with the next delimiter to raw. Of a
// message's text, which ends with <, it drops what is too much, and says so.
func (c *conn) readThrough(delimiter byte) (dropped bool, err error) {
	limit := maxStanzaIn
	if c.isMessage {
		limit = maxMessageIn
	}
	for {
		part, err := c.r.ReadSlice(delimiter)
		c.raw = append(c.raw, part...)
		if len(c.raw) > limit {
			if !c.isMessage || delimiter != '<' {
				return dropped, fmt.Errorf("%w: %d bytes", errOverCap, limit)
			}
			c.raw, dropped = append(c.raw[:0], part...), true
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return dropped, err
		}
	}
}
