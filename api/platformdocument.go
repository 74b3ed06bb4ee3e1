package api

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Described is what the OpenAPI document of a platform shows of a route; without a
// summary it is not in it.
type Described struct {
	Summary string
	Query   []string // names of the parameters
	// Request and Answer are values of the types of the bodies; nil: none.
	Request, Answer any
}

// pathParameter is a part of a pattern of net/http.
var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// documentPath is where the OpenAPI document of a platform is, which needs no key.
func (p *Platform) documentPath() string {
	return "/openapi" + strings.ReplaceAll(p.Prefix, "/", "-") + ".json"
}

// document returns the OpenAPI 3.1 document of a platform, without examples: its
// reference is that of the other product.
func (p *Platform) document(version string) ([]byte, error) {
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	content := func(body any) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{jsonType: {Schema: schemas.Schema(reflect.TypeOf(body), true, "")}}
	}
	text := func(name, in string) *huma.Param {
		return &huma.Param{Name: name, In: in, Required: in == "path", Schema: &huma.Schema{Type: huma.TypeString}}
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0", Paths: map[string]*huma.PathItem{}, Servers: servers,
		Info: &huma.Info{
			Title: p.Title, Version: version, Description: p.Description, Contact: contact, License: license,
		},
		Components: &huma.Components{Schemas: schemas, SecuritySchemes: securitySchemes},
	}
	for _, route := range p.Routes {
		if route.Summary == "" {
			continue // passed on: not ours to describe
		}
		method, path, _ := strings.Cut(route.Pattern, " ")
		words := strings.Split(strings.Trim(path, "/"), "/") // v1, meetings, …
		op := &huma.Operation{
			OperationID: strings.ToLower(method) + "-" + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(strings.Trim(path, "/")),
			Summary:     route.Summary, Description: route.Summary + ". The API key needs the scope " + string(route.Scope) + ".", Tags: words[1:2],
			Security: []map[string][]string{{securityScheme: {string(route.Scope)}}},
			Responses: map[string]*huma.Response{
				strconv.Itoa(route.Status): {Description: "Done"},
				"4XX":                      {Description: "Refused", Content: content(p.Failure)},
				"503":                      {Description: "Not right now", Content: content(p.Failure)},
			},
		}
		if route.Answer != nil {
			op.Responses[strconv.Itoa(route.Status)].Content = content(route.Answer)
		}
		if route.Request != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: content(route.Request)}
		}
		for _, found := range pathParameter.FindAllStringSubmatch(path, -1) {
			op.Parameters = append(op.Parameters, text(found[1], "path"))
		}
		for _, name := range route.Query {
			op.Parameters = append(op.Parameters, text(name, "query"))
		}
		op.Method, op.Path = method, p.Prefix+path
		doc.AddOperation(op)
		if !slices.ContainsFunc(doc.Tags, func(t *huma.Tag) bool { return t.Name == words[1] }) {
			doc.Tags = append(doc.Tags, &huma.Tag{Name: words[1], Description: "Paths with " + words[1]})
		}
	}
	for _, s := range schemas.Map() {
		s.AdditionalProperties = true // platforms take and send more than they know
	}
	describe(schemas)
	return json.Marshal(doc)
}
