package access

import (
	"slices"
	"strings"

	"lictor/admin/openapi"
	"lictor/policy"
)

// schema returns the OpenAPI schema of an object, for requests and answers.
func (r *resource) schema() *openapi.Schema {
	s := &openapi.Schema{Name: r.schemaName, Type: "object", About: r.about}
	for i := range r.fields {
		f := &r.fields[i]
		s.Fields = append(s.Fields, openapi.Field{
			Name: f.name, Schema: f.schema(), ReadOnly: f.fixed, Once: f.hidden, Required: f.always || f.name == r.name && !f.hidden,
		})
	}
	s.Fields = append(s.Fields,
		openapi.Field{Name: "error", ReadOnly: true, Schema: openapi.Text("why the object is not in force; it was written by hand")},
		openapi.Field{Name: "held", ReadOnly: true, Schema: openapi.Truth("it is in force although the store lost it in a way that is not believed")},
		openapi.Field{Name: "warnings", ReadOnly: true, Schema: &openapi.Schema{Type: "array", Items: openapi.Text(""), About: "what of the object does not do what it seems to, such as a reference to nothing"}},
	)
	return s
}

func (f *field) schema() *openapi.Schema {
	s := &openapi.Schema{Type: "string", About: f.about, Enum: f.enum}
	switch f.kind {
	case policy.TypeList:
		s.Type, s.Items = "array", openapi.Text("")
	case policy.TypeTruth:
		s.Type = "boolean"
	case policy.TypeWhole:
		s.Type, s.Least = "integer", new(f.least)
	case policy.TypeMoment:
		s.Format = "date-time"
	case policy.TypeSettings:
		s = settingsSchema(f.about)
	}
	if f.needed {
		s.About += ". Required"
	}
	if f.fixed {
		s.About += ". Not taken"
	}
	return s
}

func (r *resource) needed() (names []string) {
	for _, f := range r.fields {
		if f.needed {
			names = append(names, f.name)
		}
	}
	return names
}

// query returns the arguments that a list of the resource takes.
func (r *resource) query() []openapi.Parameter {
	args := []openapi.Parameter{
		{Name: "size", Schema: openapi.Whole("1 to 1000, 100 if it is not given")},
		{Name: "limit", Schema: openapi.Whole("another spelling of size")},
		{Name: "offset", Schema: openapi.Text("of the answer before")},
		{Name: "held", Schema: openapi.Truth("only those that are held")},
	}
	for i := range r.fields {
		if f := &r.fields[i]; f.filterable() {
			about := "only those whose " + f.name + " is this"
			if f.kind == policy.TypeList {
				about = "only those with this among their " + f.name
			}
			args = append(args, openapi.Parameter{Name: f.name, Schema: openapi.Text(about)})
		}
	}
	return args
}

func pageOf(s *openapi.Schema) *openapi.Schema {
	return openapi.Object(
		openapi.Field{Name: "data", Schema: openapi.Array(s), Required: true},
		openapi.Field{Name: "total", Schema: openapi.Whole("of all pages"), Required: true},
		openapi.Field{Name: "next", Schema: openapi.Text("path of the next page").OrNull(), Required: true},
		openapi.Field{Name: "offset", Schema: openapi.Text("of the next page").OrNull(), Required: true},
	)
}

// settingsSchema returns the schema of "config": the settings of all plugins in
// one, for which of them may be given depends on the plugin's name.
func settingsSchema(about string) *openapi.Schema {
	s := &openapi.Schema{Name: "PluginConfig", Type: "object", About: about, Closed: true}
	for _, f := range pluginSettings {
		s.Fields = append(s.Fields, openapi.Field{Name: f.name, Schema: f.schema()})
	}
	return s
}

// describer returns what describes the collections of the resource.
func (r *resource) describer(tag string) *describer {
	return &describer{tag: tag, one: r.one, schema: r.schema(), needed: r.needed(), name: r.name, query: r.query(), cached: !r.derived}
}

// describer makes the OpenAPI operations of one collection.
type describer struct {
	tag    string
	one    string
	schema *openapi.Schema
	needed []string
	name   string // the field that names an object
	query  []openapi.Parameter
	cached bool // GET of one object may be conditional (304)
}

func (d *describer) article() string {
	if strings.Contains("aeiouAEIOU", d.one[:1]) {
		return "an " + d.one
	}
	return "a " + d.one
}

var conditions = []openapi.Parameter{
	{Name: "If-Match", Schema: openapi.Text("an ETag that the object must have")},
	{Name: "If-None-Match", Schema: openapi.Text("`*`: the object must not exist")},
}

func (d *describer) describeList() *openapi.Operation {
	return &openapi.Operation{Tag: d.tag, Summary: "List, in the order of creation", Query: d.query,
		Answers: []openapi.Answer{{Status: 200, About: "a page", Body: pageOf(d.schema)}}, Refuses: []int{400, 404, 503}}
}

func (d *describer) describeCreate() *openapi.Operation {
	return &openapi.Operation{Tag: d.tag, Summary: "Make " + d.article(), Body: d.schema, Sends: "Create", Needed: d.needed, Forms: true,
		Answers: []openapi.Answer{d.shown(201, "made", "Location")}, Refuses: []int{400, 404, 409, 413, 415, 503}}
}

func (d *describer) describeGet() *openapi.Operation {
	op := &openapi.Operation{Tag: d.tag, Summary: "The " + d.one,
		Answers: []openapi.Answer{d.shown(200, "the "+d.one)}, Refuses: []int{404, 503}}
	if d.cached {
		op.Headers = []openapi.Parameter{{Name: "If-None-Match", Schema: openapi.Text("an ETag that the client has already")}}
		op.Answers = append(op.Answers, openapi.Answer{Status: 304, About: "it is as the client has it", Header: []string{"ETag"}})
	}
	return op
}

// describeReplace describes PUT, for which the path names the object.
func (d *describer) describeReplace(summary string) *openapi.Operation {
	op := d.describeUpdate(summary, 200, 201)
	op.Sends = "Replace"
	op.Needed = slices.DeleteFunc(slices.Clone(d.needed), func(name string) bool { return name == d.name })
	return op
}

func (d *describer) describeUpdate(summary string, statuses ...int) *openapi.Operation {
	op := &openapi.Operation{Tag: d.tag, Summary: summary, Body: d.schema, Sends: "Patch", Forms: true, Headers: conditions,
		Refuses: []int{400, 404, 409, 412, 413, 415, 503}}
	for _, status := range statuses {
		op.Answers = append(op.Answers, d.shown(status, map[int]string{200: "changed", 201: "made"}[status]))
	}
	return op
}

func (d *describer) describeRemove() *openapi.Operation {
	return &openapi.Operation{Tag: d.tag, Summary: "Delete " + d.article(), Headers: conditions,
		Answers: []openapi.Answer{{Status: 204, About: "deleted"}}, Refuses: []int{404, 409, 412, 413, 503}}
}

func (d *describer) shown(status int, about string, header ...string) openapi.Answer {
	return openapi.Answer{Status: status, About: about, Body: d.schema, Header: append(slices.Clone(header), "ETag")}
}
