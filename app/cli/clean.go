package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// show writes the answer of a lictor, as it is or as write does it for people, and
// returns it. Much of it is text of other people's making, such as the output of a
// check: write gets no string of it that a terminal could act on.
func show[T any](out io.Writer, body []byte, asIs bool, write func(io.Writer, *T) error) (*T, error) {
	answer := new(T)
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	if asIs {
		_, err := out.Write(body)
		return answer, err
	}
	clean(reflect.ValueOf(answer).Elem())
	return answer, write(out, answer)
}

// clean makes every string in v harmless, however deep it stands.
func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(harmless(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clean(v.Elem())
		}
	case reflect.Interface:
		if v.IsNil() || !v.CanSet() {
			return
		}
		inside := reflect.New(v.Elem().Type()).Elem() // what is in an interface cannot be changed there
		inside.Set(v.Elem())
		clean(inside)
		v.Set(inside)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				clean(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			clean(v.Index(i))
		}
	case reflect.Map:
		cleanMap(v)
	}
}

func cleanMap(m reflect.Value) {
	for _, key := range m.MapKeys() {
		newKey, value := reflect.New(key.Type()).Elem(), reflect.New(m.Type().Elem()).Elem()
		newKey.Set(key)
		value.Set(m.MapIndex(key))
		clean(newKey)
		clean(value)
		m.SetMapIndex(key, reflect.Value{})
		m.SetMapIndex(newKey, value)
	}
}

// harmless replaces what would break a table, or what a terminal acts on:
// control characters, and those that turn the direction of text or cannot be seen.
func harmless(s string) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if harmful(r) {
			return ' '
		}
		return r
	}, s)
}

func harmful(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

// harmlessLines is harmless for text of several lines.
func harmlessLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = harmless(lines[i])
	}
	return strings.Join(lines, "\n")
}

// oneLine is harmless, and short enough for a column.
func oneLine(s string) string {
	if r := []rune(harmless(s)); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return harmless(s)
}
