package webhook

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Object is a JSON object whose members keep their order. Their keys differ.
type Object []Member

// Member is one member of an [Object].
type Member struct {
	Key   string
	Value any
}

// AppendPython appends what Python makes of a value with
// json.dumps(value, separators=(",", ":")): ASCII only, without a blank. Some
// receivers parse a body and write it again before they check its signature;
// only these bytes survive that.
//
// Values are nil, bool, int, int64, float64, string, [Object] and []any of
// these; another is the caller's mistake and panics. As in Python, floats that
// are no number give what is no JSON. Bytes that are not UTF-8 become U+FFFD.
func AppendPython(b []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		return appendPythonFloat(b, v)
	case string:
		return appendPythonString(b, v)
	case Object:
		b = append(b, '{')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendPythonString(b, v[i].Key), ':')
			b = AppendPython(b, v[i].Value)
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendPython(b, v[i])
		}
		return append(b, ']')
	}
	panic(fmt.Sprintf("webhook: no JSON for a %T", value))
}

// appendPythonFloat appends repr(f): the shortest digits that give f back, with
// an exponent from 1e16 on and below 1e-4.
func appendPythonFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	for _, c := range b[start:] {
		if c == '.' {
			return b
		}
	}
	return append(b, '.', '0')
}

// pythonEscapes has what follows the backslash for an ASCII character that is
// escaped, 'u' for those that have no letter; 0 for those that stand as they are.
var pythonEscapes = func() (table [utf8.RuneSelf]byte) {
	for c := range byte(' ') {
		table[c] = 'u'
	}
	table[0x7f] = 'u'
	for c, letter := range map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'} {
		table[c] = letter
	}
	return table
}()

func appendPythonString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0 // what is appended of s
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if letter := pythonEscapes[c]; letter != 0 {
				b = append(b, s[done:i]...)
				if letter == 'u' {
					b = appendUTF16(b, rune(c))
				} else {
					b = append(b, '\\', letter)
				}
				done = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:]) // U+FFFD for what is no UTF-8
		b = append(b, s[done:i]...)
		if r > math.MaxUint16 {
			r -= 0x10000
			b = appendUTF16(b, 0xd800+r>>10)
			b = appendUTF16(b, 0xdc00+r&0x3ff)
		} else {
			b = appendUTF16(b, r)
		}
		i += size
		done = i
	}
	return append(append(b, s[done:]...), '"')
}

// appendUTF16 appends the escape of one 16-bit unit.
func appendUTF16(b []byte, unit rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[unit>>12&15], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15])
}
