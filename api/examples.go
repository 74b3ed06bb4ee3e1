package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// examplesFile has a request and an answer of each operation, by its id; those
// without a body have none. They are of one standup of two people, one of whom is
// put out.
//
//go:embed examples.json
var examplesFile []byte

// addExamples puts the examples into the document. It fails when an operation
// has none, so that none is forgotten.
func addExamples(doc *huma.OpenAPI) error {
	var all map[string]struct{ Request, Answer json.RawMessage }
	if err := json.Unmarshal(examplesFile, &all); err != nil {
		return fmt.Errorf("examples.json: %w", err)
	}
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			example, known := all[op.OperationID]
			if !known {
				return fmt.Errorf("no example of %s %s", op.Method, path)
			}
			if op.RequestBody != nil {
				op.RequestBody.Content["application/json"].Example = example.Request
			}
			for status, response := range op.Responses {
				code, _ := strconv.Atoi(status)
				for kind, content := range response.Content {
					if content.Example = example.Answer; kind == problemType {
						p := NewProblem(code, "")
						p.RequestID = "req_01JDB30VKJ0W8Y6QFZ9H4T1M5C"
						content.Example = p
					}
				}
				if status == "204" {
					response.Description = "Done"
				}
			}
		}
	}
	return nil
}
