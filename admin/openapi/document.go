package openapi

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Operation describes a route.
type Operation struct {
	Tag     string      // the chapter that it belongs to
	Summary string      // what it does, in one line
	Query   []Parameter // arguments of the query
	Headers []Parameter // header fields of the request that change what it does
	Body    *Schema     // of what is made or changed; nil: the request has no body
	Sends   string      // suffix of the name of the body's schema where that differs from the answer's: Create
	Forms   bool        // the body may be a form as well
	Needed  []string    // fields that the body must have
	Answers []Answer    // for requests that succeed
	Refuses []int       // statuses of refusals, besides those of every route
}

// Parameter is an argument of the query, or a header field.
type Parameter struct {
	Name   string
	Schema *Schema // its About says what it is for
}

// Answer is an answer to a request that succeeded.
type Answer struct {
	Status int      // of HTTP
	About  string   // when it is given
	Body   *Schema  // nil: there is none
	Type   string   // media type of the body; "" = application/json
	Header []string // names of header fields worth knowing
}

// Path is a route: a method at a path.
type Path struct {
	Method, Path string
	Open         bool       // it needs no token
	Operation    *Operation // nil: it is not described
}

// Info is about the API as a whole.
type Info struct {
	Title   string
	Version string
	About   string
	Header  string  // the header field that carries the token
	Error   *Schema // of the body of every refusal
}

var statusTexts = map[int]string{
	400: "invalid", 401: "no_token", 403: "wrong_token, forbidden_host or forbidden_origin", 429: "wrong_token", 404: "not_found", 409: "already_exists or in_use",
	412: "precondition_failed", 413: "body_too_large", 415: "unsupported_media_type", 503: "store_unavailable or not ready",
}

// Document returns the OpenAPI 3.1 document of the paths, in JSON. An error is one of
// encoding a schema.
func Document(info Info, paths []Path) ([]byte, error) {
	schemas := map[string]*Schema{}
	collect(schemas, info.Error)
	byPath := map[string]map[string]any{}
	tags := []map[string]any{}
	for _, p := range paths {
		op := p.Operation
		if op == nil {
			continue
		}
		if !slices.ContainsFunc(tags, func(t map[string]any) bool { return t["name"] == op.Tag }) {
			tags = append(tags, map[string]any{"name": op.Tag})
		}
		collect(schemas, op.request())
		for _, a := range op.Answers {
			collect(schemas, a.Body)
		}
		if byPath[p.Path] == nil {
			byPath[p.Path] = map[string]any{}
		}
		byPath[p.Path][strings.ToLower(p.Method)] = p.operation(&info)
	}
	components := map[string]any{}
	for name, s := range schemas {
		components[name] = s.body()
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"servers": []any{map[string]any{"url": "/", "description": "the listener that this description comes from"}},
		"info":    map[string]any{"title": info.Title, "version": info.Version, "description": info.About},
		"tags":    tags,
		"paths":   byPath,
		"components": map[string]any{
			"schemas": components,
			"securitySchemes": map[string]any{
				"header": map[string]any{"type": "apiKey", "in": "header", "name": info.Header},
				"bearer": map[string]any{"type": "http", "scheme": "bearer"},
			},
		},
		"security": []any{map[string]any{"header": []string{}}, map[string]any{"bearer": []string{}}},
	}, "", "  ")
}

// collect finds the named schemas below one.
func collect(into map[string]*Schema, s *Schema) {
	if s == nil {
		return
	}
	if s.Name != "" {
		if into[s.Name] != nil {
			return
		}
		into[s.Name] = s
	}
	collect(into, s.Items)
	collect(into, s.Values)
	for _, f := range s.Fields {
		collect(into, f.Schema)
	}
}

func (p *Path) operation(info *Info) map[string]any {
	op := p.Operation
	parameters := []any{}
	for _, name := range Names(p.Path) {
		parameters = append(parameters, map[string]any{"name": name, "in": "path", "required": true, "schema": Text("")})
	}
	for in, list := range map[string][]Parameter{"query": op.Query, "header": op.Headers} {
		for _, q := range list {
			parameters = append(parameters, map[string]any{"name": q.Name, "in": in, "schema": q.Schema})
		}
	}
	m := map[string]any{
		"operationId": p.id(), "tags": []string{op.Tag}, "summary": op.Summary, "responses": p.responses(info),
	}
	if len(parameters) > 0 {
		slices.SortFunc(parameters, func(a, b any) int {
			return strings.Compare(parameterKey(a), parameterKey(b))
		})
		m["parameters"] = parameters
	}
	if op.Body != nil {
		m["requestBody"] = op.requestBody()
	}
	if p.Open {
		m["security"] = []any{}
	}
	return m
}

func parameterKey(p any) string {
	m := p.(map[string]any)
	return m["in"].(string) + " " + m["name"].(string)
}

// request is the schema of the body, nil if there is none.
func (op *Operation) request() *Schema {
	if op.Body == nil {
		return nil
	}
	return op.Body.Request(op.Sends, op.Needed)
}

func (op *Operation) requestBody() map[string]any {
	schema := op.request()
	kinds := []string{"application/json"}
	if op.Forms {
		kinds = append(kinds, "application/x-www-form-urlencoded", "multipart/form-data")
	}
	content := map[string]any{}
	for _, kind := range kinds {
		content[kind] = map[string]any{"schema": schema}
	}
	return map[string]any{"required": len(op.Needed) > 0, "content": content}
}

func (p *Path) responses(info *Info) map[string]any {
	m := map[string]any{}
	for _, a := range p.Operation.Answers {
		r := map[string]any{"description": a.About}
		if a.Body != nil || a.Type != "" {
			kind, schema := a.Type, a.Body
			if kind == "" {
				kind = "application/json"
			}
			if schema == nil {
				schema = Text("")
			}
			r["content"] = map[string]any{kind: map[string]any{"schema": schema}}
		}
		if len(a.Header) > 0 {
			headers := map[string]any{}
			for _, name := range a.Header {
				headers[name] = map[string]any{"schema": Text("")}
			}
			r["headers"] = headers
		}
		m[strconv.Itoa(a.Status)] = r
	}
	for _, status := range p.Refusals() {
		m[strconv.Itoa(status)] = map[string]any{
			"description": statusTexts[status],
			"content":     map[string]any{"application/json": map[string]any{"schema": info.Error}},
		}
	}
	return m
}

// Refusals are the statuses of refusals, sorted. p must have an Operation.
func (p *Path) Refusals() []int {
	all := append(slices.Clone(p.Operation.Refuses), 403)
	if !p.Open {
		all = append(all, 401, 429)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// id names the operation: get_consumers_id.
func (p *Path) id() string {
	return strings.ToLower(p.Method) + "_" + strings.NewReplacer("/", "_", "{", "", "}", "", "-", "_", ".", "_").Replace(strings.Trim(p.Path, "/"))
}

// Names are the names of the parameters in a path: a and b of /x/{a}/{b}.
func Names(path string) (names []string) {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(segment, "{") {
			names = append(names, strings.Trim(segment, "{}"))
		}
	}
	return names
}
