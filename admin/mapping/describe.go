package mapping

import (
	"lictor/admin/openapi"
	"lictor/policy"
)

const tag = "Domains of tenants (/v1)"

// mappingSchema describes a mapping: the tenant is in the path, and the rest that
// clients cannot set is not shown.
var mappingSchema = func() *openapi.Schema {
	s := &openapi.Schema{Name: "Mapping", Type: "object"}
	for _, row := range policy.TableOf(policy.KindMappings).Fields {
		if row.Fixed {
			continue
		}
		field := openapi.Text(row.Doc)
		if row.Type == policy.TypeList {
			field = &openapi.Schema{Type: "array", Items: openapi.Text(""), About: row.Doc}
		}
		s.Fields = append(s.Fields, openapi.Field{Name: row.Name, Schema: field, Required: row.Needed})
	}
	s.Fields = append(s.Fields, openapi.Field{Name: "held", ReadOnly: true,
		Schema: openapi.Truth("it is in force although the store lost it in a way that is not believed. Not taken")})
	return s
}()

var pageSchema = &openapi.Schema{Name: "MappingPage", Type: "object", Fields: []openapi.Field{
	{Name: "project", Schema: openapi.Text("the tenant"), Required: true},
	{Name: "routes", Schema: openapi.Array(mappingSchema), Required: true},
	{Name: "total", Schema: openapi.Whole("of all pages"), Required: true},
	{Name: "offset", Schema: openapi.Whole(""), Required: true},
	{Name: "limit", Schema: openapi.Whole(""), Required: true},
}}

var (
	ifMatch = []openapi.Parameter{{Name: "If-Match", Schema: openapi.Text("an ETag that the mapping must have")}}
	needed  = []string{"domain", "backends"}
)

func shown(status int, about string, header ...string) openapi.Answer {
	return openapi.Answer{Status: status, About: about, Body: mappingSchema, Header: append(header, "ETag")}
}

var (
	listDoc = &openapi.Operation{
		Tag: tag, Summary: "The tenant's mappings in the order of creation",
		Query: []openapi.Parameter{
			{Name: "offset", Schema: openapi.Whole("where to begin, 0 if it is not given")},
			{Name: "limit", Schema: openapi.Whole("1 to 1000, 50 if it is not given")},
			{Name: "size", Schema: openapi.Whole("another spelling of limit")},
			{Name: "domain", Schema: openapi.Text("only the mapping of this domain")},
			{Name: "held", Schema: openapi.Truth("only those that are held")},
		},
		Answers: []openapi.Answer{{Status: 200, About: "a page", Body: pageSchema}}, Refuses: []int{400, 503},
	}
	createDoc = &openapi.Operation{
		Tag: tag, Summary: "Create a mapping, or replace the tenant's own", Body: mappingSchema, Sends: "Request", Needed: needed,
		Headers: append([]openapi.Parameter{{Name: "If-None-Match", Schema: openapi.Text("`*`: only create")}}, ifMatch...),
		Answers: []openapi.Answer{shown(201, "created", "Location"), shown(200, "replaced")}, Refuses: []int{400, 409, 412, 413, 415, 503},
	}
	getDoc = &openapi.Operation{
		Tag: tag, Summary: "One mapping", Answers: []openapi.Answer{shown(200, "the mapping"), {Status: 304, About: "it is as the client has it", Header: []string{"ETag"}}},
		Headers: []openapi.Parameter{{Name: "If-None-Match", Schema: openapi.Text("an ETag that the client has already")}}, Refuses: []int{400, 404, 503},
	}
	updateDoc = &openapi.Operation{
		Tag: tag, Summary: "Replace a mapping; another domain in the body renames it", Body: mappingSchema, Sends: "Request", Needed: needed,
		Headers: ifMatch, Answers: []openapi.Answer{shown(200, "replaced")}, Refuses: []int{400, 404, 409, 412, 413, 415, 503},
	}
	removeDoc = &openapi.Operation{
		Tag: tag, Summary: "Delete a mapping", Headers: ifMatch,
		Answers: []openapi.Answer{{Status: 204, About: "deleted"}}, Refuses: []int{400, 404, 412, 503},
	}
)
