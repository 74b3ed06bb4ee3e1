package webhook

import (
	"bytes"
	"encoding/json"
)

// EncodeJavaScript returns the JSON that JavaScript makes of a value with
// JSON.stringify(value) (ECMA-262 section 25.5.2): in UTF-8, with an escape for
// control characters, quotes and backslashes alone. It is for receivers that do
// in JavaScript what [EncodePython] says; it takes and refuses the same.
func EncodeJavaScript(value any) ([]byte, error) {
	text, err := encode(value)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		end := i + 1
		if text[i] == '\\' {
			end = i + 2 // what stands behind a backslash belongs to it, another backslash too
			if c := onlyInGo[string(text[i:min(i+escapeLen, len(text))])]; c != "" {
				plain = append(plain, c...)
				i += escapeLen
				continue
			}
		}
		plain = append(plain, text[i:end]...)
		i = end
	}
	return plain, nil
}

// escapeLen is the length of an escape with digits.
const escapeLen = len(`\u0000`)

// onlyInGo are the escapes that Go makes and JavaScript does not.
var onlyInGo = map[string]string{`\u2028`: "\u2028", `\u2029`: "\u2029", `\ufffd`: "\ufffd"}

// encode returns the value's JSON without the escapes of <, > and & that Go makes
// by itself.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
