package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"lictor/admin/api"
)

const hostile = "a\x1b[31m\u009b1A\r\n\t\x7f\u202ez"

// fill puts a text into every string that v can hold.
func fill(v reflect.Value, text string, depth int) {
	if depth > 12 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, depth+1)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(map[string]any{text: []any{text}}))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text, depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text, depth+1)
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			v.Set(reflect.MakeMap(v.Type()))
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, text, depth+1)
			v.SetMapIndex(reflect.ValueOf(text).Convert(v.Type().Key()), value)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	}
}

// Whichever field of an answer holds what a terminal acts on, none of it is printed.
func TestAnswersReachTheTerminalHarmless(t *testing.T) {
	var st api.Status
	var e api.Explanation
	fill(reflect.ValueOf(&st).Elem(), hostile, 0)
	fill(reflect.ValueOf(&e).Elem(), hostile, 0)
	print := map[string]func(body []byte, out *bytes.Buffer) error{
		"status": func(body []byte, out *bytes.Buffer) error {
			_, err := show(out, body, false, printStatus)
			return err
		},
		"explain": func(body []byte, out *bytes.Buffer) error {
			_, err := show(out, body, false, func(out io.Writer, e *api.Explanation) error { return printExplanation(out, "GET", e) })
			return err
		},
	}
	for name, v := range map[string]any{"status": st, "explain": e} {
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := print[name](body, &out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := strings.Count(out.String(), "z"); n < 5 {
			t.Errorf("%s: only %d texts are printed:\n%s", name, n, out.String())
		}
		for _, bad := range "\x1b\u009b\r\x7f\u202e\t" {
			if strings.ContainsRune(out.String(), bad) {
				t.Errorf("%s: %q is printed", name, bad)
			}
		}
	}
}

// A problem is told to its end.
func TestProblemsAreNotCut(t *testing.T) {
	text := strings.Repeat("a long story, ", 50) + "and its end"
	var out bytes.Buffer
	if err := printStatus(&out, &api.Status{Problems: []string{text}}); err != nil || !strings.Contains(out.String(), text) {
		t.Errorf("got %v\n%s", err, out.String())
	}
}

// What a command says of an answer that is an error is harmless, too.
func TestErrorsAreHarmless(t *testing.T) {
	var out bytes.Buffer
	c := newCommand("x", "", "", "")
	c.stderr = &out
	c.run = func() error { return fmt.Errorf("the server said %s", hostile) }
	if c.Run(nil) != exitFailed || strings.ContainsAny(out.String(), "\x1b\r\x7f") {
		t.Errorf("got %q", out.String())
	}
}
