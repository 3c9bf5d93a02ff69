package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Table describes the objects of one kind. Whatever knows fields derives from
// it: the reader of documents, the checks, the admin API with its description,
// and docs/reference/policy-objects.md. A new field is a row of its table and a
// field of the Go type whose json tag is the row's Name.
type Table struct {
	Kind   Kind
	One    string // what messages call an object: "consumer"
	Doc    string // what such objects are for, as sentences
	Named  string // what the name in the key is: "the consumer's name"
	Fields []Field

	make func() Object // returns an empty object
}

// Field is a row of a [Table], or a setting of a plugin.
type Field struct {
	Name    string   // in documents
	API     string   // in the admin API; "" = Name
	Alias   string   // another spelling that a plugin's configuration may use; "" = none
	Type    Type     // rows of a Table take it from the Go type
	Doc     string   // what it says, a phrase without a full stop
	Example string   // a good value; of a list, one element; of settings, a JSON object
	Enum    []string // of a text: the values that it may have, of which Default is one; nil = any
	Least   int64    // of a whole number
	Most    int64    // of a whole number; 0 = no limit
	Default string   // what it means to leave the field out; "" = nothing. A truth that is false is left out of answers
	Secret  bool     // of a setting: its value is shown nowhere but in documents
	Instead string   // another field that it stands in for: of both one is given; "" = it goes with all
	Refers  Kind     // a list of references to objects of that kind, none of them empty; "" = no references

	// How the admin API treats it.
	Needed bool // it must be given when an object is made
	Fixed  bool // lictor sets it, clients cannot
	Sticky bool // PUT keeps the value that there is, where it gives none: for what would open something if it were forgotten
	Always bool // an empty list is shown too

	index int // of the field in the Go type
}

// Type is the type of a field's value.
type Type uint8

const (
	TypeText     Type = iota // a string
	TypeList                 // of strings
	TypeTruth                // true or false
	TypeMoment               // a time, as RFC 3339 writes it
	TypeWhole                // a whole number
	TypeSettings             // an object whose fields a plugin names
)

// String returns the name used in the reference.
func (t Type) String() string {
	return [...]string{"string", "list of strings", "boolean", "time", "whole number", "object"}[t]
}

// TableOf returns the table of a kind, nil for an unknown kind. Its caller must
// not change it.
func TableOf(kind Kind) *Table { return tables[kind] }

// New returns an empty object of a kind, nil for an unknown kind.
func New(kind Kind) Object {
	if t := tables[kind]; t != nil {
		return t.make()
	}
	return nil
}

// Field returns the row of a field, nil if objects of the kind have none of that
// name.
func (t *Table) Field(name string) *Field {
	if i := slices.IndexFunc(t.Fields, func(f Field) bool { return f.Name == name }); i >= 0 {
		return &t.Fields[i]
	}
	return nil
}

// Of returns a pointer to the field's value in an object of its kind. By type it
// is a *string, *[]string, *bool or **bool, *time.Time, *uint64 or
// *map[string]any.
func (f *Field) Of(o Object) any {
	v := reflect.ValueOf(o).Elem().Field(f.index).Addr()
	if f.Type == TypeText {
		v = v.Convert(reflect.TypeFor[*string]()) // a Mode or Direction is a string, too
	}
	return v.Interface()
}

// Clone returns a copy of an object whose fields may be changed. What its lists
// hold is still the object's.
func Clone(o Object) Object {
	c := reflect.New(reflect.TypeOf(o).Elem())
	c.Elem().Set(reflect.ValueOf(o).Elem())
	return c.Interface().(Object)
}

// References returns the list of an object that refers to objects of a kind. Of
// an object that has no such list it is an empty one, which is nobody's.
func References(o Object, kind Kind) *[]string {
	table := TableOf(o.Kind())
	if i := slices.IndexFunc(table.Fields, func(f Field) bool { return f.Refers == kind }); i >= 0 {
		return table.Fields[i].Of(o).(*[]string)
	}
	return new([]string)
}

// APIOf returns the API that an ACL or a plugin mapping is about; "" if that is
// every API, or the object is of another kind.
func APIOf(o Object) string {
	switch x := o.(type) {
	case *ACL:
		return x.API
	case *PluginMapping:
		return x.API
	}
	return ""
}

// tables has the tables by kind. It is not changed.
var tables = bind(listTable(false), listTable(true), consumerTable, credentialTable, groupTable, filterTable,
	pluginTable, aclTable, pluginMappingTable, apiTable, mappingTable)

// bind ties the rows of tables to the fields of their Go types. It panics if a
// row has none, or a field of a type has no row.
func bind(all ...Table) map[Kind]*Table {
	byKind := make(map[Kind]*Table, len(all))
	for _, t := range all {
		t.Fields = slices.Clone(t.Fields) // kinds share some
		goType := reflect.TypeOf(t.make()).Elem()
		left := len(t.Fields)
		for i := range goType.NumField() {
			name, _, _ := strings.Cut(goType.Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			f := t.Field(name)
			if f == nil {
				panic(fmt.Sprintf("policy: the field %s of %s is not in its table", name, goType))
			}
			f.index, f.Type = i, typeOf(goType.Field(i).Type)
			left--
		}
		if left != 0 {
			panic(fmt.Sprintf("policy: %s has fewer fields than its table", goType))
		}
		byKind[t.Kind] = &t
	}
	return byKind
}

func typeOf(t reflect.Type) Type {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return TypeMoment
	case t == reflect.TypeFor[[]string]():
		return TypeList
	case t == reflect.TypeFor[map[string]any]():
		return TypeSettings
	case t == reflect.TypeFor[bool](), t == reflect.TypeFor[*bool]():
		return TypeTruth
	case t == reflect.TypeFor[uint64]():
		return TypeWhole
	case t.Kind() == reflect.String:
		return TypeText
	}
	panic(fmt.Sprintf("policy: no field can be of the type %s", t))
}

// checkFields sets the defaults of an Enum in an object, and calls wrong for each
// value that is none of its Enum and each reference that is empty.
func (t *Table) checkFields(o Object, wrong wrongFunc) {
	for i := range t.Fields {
		f := &t.Fields[i]
		switch value := f.Of(o).(type) {
		case *string:
			f.checkText(value, wrong)
		case *[]string:
			f.checkReferences(*value, wrong)
		}
	}
}

// checkText puts the default of an Enum in, and refuses other values.
func (f *Field) checkText(value *string, wrong wrongFunc) {
	switch {
	case f.Enum == nil, f.Default == "": // what must be one of an Enum is judged with all that depends on it
	case *value == "":
		*value = f.Default
	case !slices.Contains(f.Enum, *value):
		wrong(f.Name, "is %q, want %s", *value, alternatives(f.Enum))
	}
}

// checkReferences refuses empty references, which would refer to nothing.
func (f *Field) checkReferences(list []string, wrong wrongFunc) {
	if f.Refers == "" {
		return
	}
	for i, s := range list {
		if strings.TrimSpace(s) == "" {
			wrong(fmt.Sprintf("%s[%d]", f.Name, i), "is empty")
		}
	}
}

// alternatives lists values for a message: "ingress", "egress" or "both".
func alternatives(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf("%q", v)
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}
