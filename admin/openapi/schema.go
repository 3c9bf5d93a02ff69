// Package openapi describes the admin listener: an OpenAPI 3.1 document made of
// what the routes say of themselves.
package openapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema describes a JSON value. The zero Schema is any value.
type Schema struct {
	Name     string // in the document it stands once, under this name; "" = where it is used
	Type     string // object, array, string, integer, number, boolean; "" = anything
	Null     bool   // null is as good
	Format   string
	About    string
	Enum     []string
	Fields   []Field // of an object; it has no others
	Values   *Schema // of an object with free names
	Items    *Schema // of an array
	Encoding string  // of what a string holds: base64
	Least    *int64  // of a number
	Closed   bool    // an object has no other fields than these
}

// Field is a field of an object.
type Field struct {
	Name     string
	Schema   *Schema
	Required bool // in an answer
	ReadOnly bool // only in answers
	Once     bool // in an answer only where the object is made
}

// Request is the schema of what is sent to make or change what the schema
// describes: without what is only in answers, and with what has to be given.
// suffix tells it apart from the answer's, and from other requests'.
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

// Text, and so on, are the plain schemas.
func Text(about string) *Schema  { return &Schema{Type: "string", About: about} }
func Whole(about string) *Schema { return &Schema{Type: "integer", About: about} }
func Truth(about string) *Schema { return &Schema{Type: "boolean", About: about} }
func Array(of *Schema) *Schema   { return &Schema{Type: "array", Items: of} }
func Object(f ...Field) *Schema  { return &Schema{Type: "object", Fields: f} }
func (s *Schema) Or(null bool) *Schema {
	c := *s
	c.Null = null
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

// Of returns the schema of a Go value's type as encoding/json writes it.
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
		return of(t.Elem()).Or(true)
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
		return Array(of(t.Elem())).Or(true) // a nil slice is null
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
