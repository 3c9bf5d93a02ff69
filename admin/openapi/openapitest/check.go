// Package openapitest holds what the admin listener says of itself against what it
// answers, and writes it as tables for the documentation.
package openapitest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"lictor/admin/openapi"
)

// Check returns what is wrong with a value, as encoding/json decodes it, nil if
// it is as the schema says.
func Check(s *openapi.Schema, v any) error { return check(s, "", v) }

func check(s *openapi.Schema, at string, v any) error {
	if v == nil && (s.Null || s.Type == "") {
		return nil
	}
	ok := true
	switch s.Type {
	case "object":
		m, is := v.(map[string]any)
		if !is {
			return fmt.Errorf("%s: want an object, got %v", at, v)
		}
		return checkFields(s, at, m)
	case "array":
		list, is := v.([]any)
		if !is {
			return fmt.Errorf("%s: want a list, got %v", at, v)
		}
		for i, one := range list {
			if err := check(s.Items, fmt.Sprintf("%s[%d]", at, i), one); err != nil {
				return err
			}
		}
		return nil
	case "string":
		text, is := v.(string)
		ok = is && (len(s.Enum) == 0 || slices.Contains(s.Enum, text))
	case "integer":
		n, is := v.(float64)
		ok = is && n == math.Trunc(n)
	case "number":
		_, ok = v.(float64)
	case "boolean":
		_, ok = v.(bool)
	}
	if !ok {
		return fmt.Errorf("%s: want %s %v, got %v", at, s.Type, s.Enum, v)
	}
	return nil
}

func checkFields(s *openapi.Schema, at string, m map[string]any) error {
	if s.Values == nil && len(s.Fields) == 0 {
		return nil
	}
	for name, v := range m {
		i := slices.IndexFunc(s.Fields, func(f openapi.Field) bool { return f.Name == name })
		inner := s.Values
		if i >= 0 {
			inner = s.Fields[i].Schema
		}
		if inner == nil {
			return fmt.Errorf("%s: %s is not in the description", at, name)
		}
		if err := check(inner, strings.TrimPrefix(at+"."+name, "."), v); err != nil {
			return err
		}
	}
	for _, f := range s.Fields {
		if _, has := m[f.Name]; f.Required && !has {
			return fmt.Errorf("%s: %s is missing", at, f.Name)
		}
	}
	return nil
}
