package tokens

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// claim returns the value of a claim: the one of that name, or with dots the one
// within others; nil if there is none.
func claim(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok || name == "" {
		return v
	}
	outer, inner, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	within, _ := claims[outer].(map[string]any)
	return claim(within, inner)
}

// textClaim returns a claim as the value of a header, "" if there is none: a text, a
// number, a truth, or a list of such. What cannot be one is an error: a backend
// would be told less than was signed, or something else.
func textClaim(claims map[string]any, name string) (string, error) {
	value := claim(claims, name)
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	texts := make([]string, 0, len(list))
	for _, v := range list {
		text, ok := scalar(v)
		if !ok || strings.ContainsFunc(text, unicode.IsControl) || text != strings.TrimSpace(text) ||
			isList && (text == "" || strings.Contains(text, ",")) {
			return "", fmt.Errorf("the token's %.80q cannot be the value of a header", name)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", "), nil
}

// consumerClaim returns a claim that names one consumer, "" if there is none.
func consumerClaim(claims map[string]any, name string) (string, error) {
	switch claim(claims, name).(type) {
	case nil, string, json.Number:
		return textClaim(claims, name)
	}
	return "", fmt.Errorf("the token's %.80q is no name", name)
}

// scalar returns a single value as text; null is none.
func scalar(v any) (text string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// groupsClaim returns a claim as groups: a list of texts, or a text of words, as
// scope is one.
func groupsClaim(claims map[string]any, name string) (groups []string, err error) {
	switch value := claim(claims, name).(type) {
	case nil:
		return nil, nil
	case string:
		groups = strings.Fields(value)
	case []any:
		for _, v := range value {
			group, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("the token's %.80q has a group that is no text", name)
			}
			groups = append(groups, group)
		}
	default:
		return nil, fmt.Errorf("the token's %.80q is no list of groups", name)
	}
	for _, g := range groups {
		if g == "" || strings.Contains(g, ",") || strings.ContainsFunc(g, unicode.IsControl) || g != strings.TrimSpace(g) {
			return nil, fmt.Errorf("the token's %.80q has a group that no header can tell: %.80q", name, g)
		}
	}
	return groups, nil
}
