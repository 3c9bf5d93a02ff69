package access

import (
	"cmp"
	"slices"

	"lictor/policy"
)

// field is a field of the API: one of the kind's table, or one that the hooks of
// its resource take and show.
type field struct {
	name   string
	kind   policy.Type
	about  string
	enum   []string
	least  int64
	needed bool // it has to be given when the object is made
	fixed  bool // shown; the client cannot set it
	sticky bool // PUT keeps it where it is not given
	always bool // shown even if the list is empty

	apart  bool   // the hooks take it and show it
	hidden bool   // taken; shown at most when the object is made
	after  string // the field that it stands behind, in answers and in the description; "" = the first
}

// fromTable returns a field as a row of a table describes it.
func fromTable(f *policy.Field) field {
	return field{
		name: cmp.Or(f.API, f.Name), kind: f.Type, about: f.Doc, enum: f.Enum, least: f.Least,
		needed: f.Needed, fixed: f.Fixed, sticky: f.Sticky, always: f.Always,
	}
}

// fieldsOf returns the fields of a kind with those that only the API has. Of
// apart are the names of fields of the kind that the hooks take and show.
func fieldsOf(kind policy.Kind, apart []string, more ...field) []field {
	var fields []field
	table := policy.TableOf(kind)
	for i := range table.Fields {
		f := fromTable(&table.Fields[i])
		f.apart = slices.Contains(apart, f.name)
		fields = append(fields, f)
	}
	for _, f := range more {
		f.apart = true
		at := slices.IndexFunc(fields, func(other field) bool { return other.name == f.after })
		fields = slices.Insert(fields, at+1, f)
	}
	return fields
}

// inlineFields are the properties of a filter where they make an inline one, for
// what stands behind the field filters.
func inlineFields() []field {
	var fields []field
	after := "filters"
	for _, row := range policy.TableOf(policy.KindFilters).Fields {
		if row.Type == policy.TypeList {
			f := fromTable(&row)
			f.after, after = after, f.name
			fields = append(fields, f)
		}
	}
	return fields
}

// resourceOf returns a resource with what the table of its kind says of it.
func resourceOf(kind policy.Kind, schemaName, name string, r resource) resource {
	table := policy.TableOf(kind)
	r.kind, r.one, r.about, r.schemaName, r.name = kind, table.One, table.Doc, schemaName, name
	return r
}
