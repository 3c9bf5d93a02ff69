// Package openapi makes the OpenAPI 3.1 document of the admin listener from the
// descriptions of its routes.
package openapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema describes a JSON value. The zero Schema is any value. A Schema may be used
// in several places, and is not to be changed then.
type Schema struct {
	Name     string   // under which the document has it once; "" = it is written out wherever it is used
	Type     string   // object, array, string, integer, number, boolean; "" = anything
	Null     bool     // it may be null instead
	Format   string   // of a string, as OpenAPI names it: date-time
	About    string   // what it is, for people
	Enum     []string // the values of a string; nil = any
	Fields   []Field  // of an object
	Values   *Schema  // of the fields of an object whose names are free
	Items    *Schema  // of the elements of an array
	Encoding string   // of the bytes in a string: base64
	Least    *int64   // the least value of a number; nil = any
	Closed   bool     // an object has no other fields than Fields
}

// Field is a field of an object.
type Field struct {
	Name     string
	Schema   *Schema
	Required bool // answers always have it
	ReadOnly bool // only answers have it
	Once     bool // only the answer by which the object was made has it
}

// Request returns the schema of the requests that make or change what s describes:
// without the fields that only answers have; of the others, needed are required.
// suffix is added to the name.
func (s *Schema) Request(suffix string, needed []string) *Schema {
	r := *s
	if r.Name != "" {
		r.Name += suffix
	}
	r.Fields = nil
	for _, f := range s.Fields {
		if f.ReadOnly {
			continue
		}
		f.Required, f.Once = slices.Contains(needed, f.Name) || suffix == "" && f.Required, false
		r.Fields = append(r.Fields, f)
	}
	return &r
}

// Text is the schema of a string; about says what it is.
func Text(about string) *Schema { return &Schema{Type: "string", About: about} }

// Whole is the schema of a whole number.
func Whole(about string) *Schema { return &Schema{Type: "integer", About: about} }

// Truth is the schema of a boolean.
func Truth(about string) *Schema { return &Schema{Type: "boolean", About: about} }

// Array is the schema of an array of such values.
func Array(of *Schema) *Schema { return &Schema{Type: "array", Items: of} }

// Object is the schema of an object with such fields.
func Object(f ...Field) *Schema { return &Schema{Type: "object", Fields: f} }

// OrNull returns a copy of s that may be null as well.
func (s *Schema) OrNull() *Schema {
	c := *s
	c.Null = true
	return &c
}

// MarshalJSON implements [json.Marshaler]. A named schema becomes a reference.
func (s *Schema) MarshalJSON() ([]byte, error) {
	if s.Name == "" {
		return json.Marshal(s.body())
	}
	ref := map[string]any{"$ref": "#/components/schemas/" + s.Name}
	if s.Null {
		return json.Marshal(map[string]any{"anyOf": []any{ref, map[string]any{"type": "null"}}})
	}
	return json.Marshal(ref)
}

// body is the schema itself, where MarshalJSON would refer to it.
func (s *Schema) body() map[string]any {
	m := map[string]any{}
	set := func(name string, value any, is bool) {
		if is {
			m[name] = value
		}
	}
	set("type", s.Type, s.Type != "")
	set("type", []string{s.Type, "null"}, s.Type != "" && s.Null && s.Name == "")
	set("format", s.Format, s.Format != "")
	set("contentEncoding", s.Encoding, s.Encoding != "")
	set("description", s.About, s.About != "")
	set("enum", s.Enum, len(s.Enum) > 0)
	set("items", s.Items, s.Items != nil)
	set("minimum", s.Least, s.Least != nil)
	set("additionalProperties", s.Values, s.Values != nil)
	set("additionalProperties", false, s.Closed)
	if len(s.Fields) == 0 {
		return m
	}
	properties, required := map[string]any{}, []string{}
	for _, f := range s.Fields {
		p := any(f.Schema)
		if f.ReadOnly && f.Schema.Name == "" {
			inner := f.Schema.body()
			inner["readOnly"] = true
			p = inner
		}
		properties[f.Name] = p
		if f.Required {
			required = append(required, f.Name)
		}
	}
	m["properties"] = properties
	set("required", required, len(required) > 0)
	return m
}

// Of returns the schema of the JSON that encoding/json makes of values of v's type.
// Structs are named after their types.
func Of(v any) *Schema { return of(reflect.TypeOf(v)) }

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

func of(t reflect.Type) *Schema {
	switch {
	case t == timeType:
		return &Schema{Type: "string", Format: "date-time"}
	case t == rawType:
		return &Schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return of(t.Elem()).OrNull()
	case reflect.String:
		return &Schema{Type: "string"}
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return &Schema{Type: "integer"}
	case reflect.Float64:
		return &Schema{Type: "number"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &Schema{Type: "string", Encoding: "base64"}
		}
		return Array(of(t.Elem())).OrNull() // a nil slice is null
	case reflect.Map:
		return &Schema{Type: "object", Values: of(t.Elem()), Null: true}
	case reflect.Struct:
		return ofStruct(t)
	}
	return &Schema{}
}

func ofStruct(t reflect.Type) *Schema {
	s := &Schema{Name: t.Name(), Type: "object"}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		rest := strings.Split(options, ",")
		optional := slices.Contains(rest, "omitempty") || slices.Contains(rest, "omitzero")
		s.Fields = append(s.Fields, Field{Name: name, Schema: of(f.Type), Required: !optional})
	}
	return s
}
