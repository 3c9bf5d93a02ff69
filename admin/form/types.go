package form

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Empty reports whether v is the nothing that a form gives for a field by "groups=".
func Empty(v any) bool {
	s, ok := v.(said)
	return ok && len(s) == 1 && s[0].text == ""
}

// Text returns the value v of a field as a string. A number is taken as it is
// written. It and the next ones name field in their errors.
func Text(field string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case said:
		return v.single(field)
	}
	return "", wrong(field, "is %s, want a string", kindOf(v))
}

// Truth returns a value as a boolean; true and false may be texts.
func Truth(field string, v any) (bool, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	text, err := Text(field, v)
	if err != nil {
		return false, wrong(field, "is %s, want true or false", kindOf(v))
	}
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, wrong(field, "is %q, want true or false", text)
}

// Whole returns a value as a whole number, which may be a text, 10.0 or 1e1.
func Whole(field string, v any) (int64, error) {
	text, err := Text(field, v)
	if err != nil {
		return 0, wrong(field, "is %s, want a whole number", kindOf(v))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil {
		return n, nil
	}
	// 10.0 and 1e1 are spellings of 10. What a float cannot hold whole is none.
	const most = 1 << 53
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789+-.eE") != "" || f != math.Trunc(f) || math.Abs(f) > most {
		return 0, wrong(field, "is %.100q, want a whole number", text)
	}
	return int64(f), nil
}

// List returns a value as a list of strings; a single one is a list of itself.
func List(field string, v any) ([]string, error) {
	switch v := v.(type) {
	case []any:
		return texts(field, v)
	case said:
		return v.list(field)
	}
	text, err := Text(field, v)
	if err != nil {
		return nil, wrong(field, "is %s, want a list of strings", kindOf(v))
	}
	return []string{text}, nil
}

func texts(field string, list []any) ([]string, error) {
	all := make([]string, len(list))
	for i, v := range list {
		text, err := Text(field+"["+strconv.Itoa(i)+"]", v)
		if err != nil {
			return nil, err
		}
		all[i] = text
	}
	return all, nil
}

// list reads a list as a form writes it: ["a","b"], a,b, "a", or field after field.
func (s said) list(field string) ([]string, error) {
	all := []string{}
	for _, o := range s {
		text := strings.TrimSpace(o.text)
		switch v := parseJSON(text).(type) {
		case []any:
			more, err := texts(field, v)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
			continue
		case string:
			all = append(all, v)
			continue
		}
		switch {
		case o.listed:
			all = append(all, o.text)
		case text == "":
		case strings.HasPrefix(text, "[") && strings.Contains(text, `"`):
			return nil, wrong(field, "is no JSON list: %s", text)
		default:
			for part := range strings.SplitSeq(text, ",") {
				all = append(all, strings.TrimSpace(part))
			}
		}
	}
	return all, nil
}

// Object returns a value as fields; the text of a form may be a JSON object.
func Object(field string, v any) (Fields, error) {
	switch v := v.(type) {
	case Fields:
		return v, nil
	case said:
		text, err := v.single(field)
		if err != nil {
			return nil, err
		}
		if inner, err := readJSON([]byte(text)); err == nil {
			return inner, nil
		}
	}
	return nil, wrong(field, "is %s, want an object", kindOf(v))
}

// Plain returns a value as encoding/json decodes it into an any. Of a form it makes
// strings, and lists where the form has several values or writes k[].
func Plain(v any) any {
	switch v := v.(type) {
	case Fields:
		m := make(map[string]any, len(v))
		for k, inner := range v {
			m[k] = Plain(inner)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, inner := range v {
			list[i] = Plain(inner)
		}
		return list
	case said:
		if len(v) == 1 && !v[0].listed {
			return unquote(v[0].text)
		}
		list := make([]any, len(v))
		for i, o := range v {
			list[i] = o.text
		}
		return list
	}
	return v
}

// Names returns the names of all fields, sorted.
func (f Fields) Names() []string { return slices.Sorted(maps.Keys(f)) }

// parseJSON returns the value of a text that is JSON from end to end, else nil.
func parseJSON(text string) any {
	if text == "" || text[0] != '[' && text[0] != '"' {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() || dec.InputOffset() != int64(len(text)) {
		return nil
	}
	return v
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	case Fields:
		return "an object"
	}
	return "a string"
}
