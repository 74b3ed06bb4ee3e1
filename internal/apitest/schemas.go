package apitest

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schemas are those of an OpenAPI 3.1 document. Each is compiled once, when it is
// first held against something.
type Schemas struct {
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema // by JSON pointer
}

// NewSchemas reads a document.
func NewSchemas(t testing.TB, document []byte) *Schemas {
	t.Helper()
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	s := &Schemas{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	s.compiler.AssertFormat()
	if err := s.compiler.AddResource("openapi.json", plain); err != nil {
		t.Fatal(err)
	}
	return s
}

// Check holds JSON against the schema at a JSON pointer, and returns what is wrong.
func (s *Schemas) Check(t testing.TB, pointer string, text []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compiled[pointer] == nil {
		if s.compiled[pointer], err = s.compiler.Compile("openapi.json#" + pointer); err != nil {
			t.Fatal(err)
		}
	}
	return s.compiled[pointer].Validate(value)
}

// Pointer returns a JSON pointer to what lies under these names (RFC 6901).
func Pointer(names ...string) string {
	pointer := ""
	for _, name := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	return pointer
}
