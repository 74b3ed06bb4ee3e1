package webhook

import "unicode/utf16"

// EncodePython returns the JSON that Python makes of a value with
// json.dumps(value, separators=(",", ":")): ASCII only, without blanks, members
// in the order of the struct's fields. Some receivers parse a body and write it
// again before they check its signature; only these bytes survive that.
//
// It takes what [json.Marshal] takes, and fails on the same. Floats below 1e-4
// come out in another form than Python's: bodies have none.
func EncodePython(value any) ([]byte, error) {
	text, err := encode(value)
	if err != nil {
		return nil, err
	}
	return escapeUnicode(text), nil
}

// escapeUnicode returns JSON with an escape, or two for a surrogate pair, in
// place of each character that is not printable ASCII. Only strings hold such
// characters.
func escapeUnicode(text []byte) []byte {
	const hex = "0123456789abcdef"
	escaped := make([]byte, 0, len(text)+len(text)/4)
	var pair [2]uint16
	for _, r := range string(text) {
		if r < '\x7f' {
			escaped = append(escaped, byte(r))
			continue
		}
		for _, unit := range utf16.AppendRune(pair[:0], r) {
			escaped = append(escaped, '\\', 'u', hex[unit>>12], hex[unit>>8&0xf], hex[unit>>4&0xf], hex[unit&0xf])
		}
	}
	return escaped
}
