package admintest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Open starts a server on a new, empty store.
type Open func(t *testing.T) *Server

// Step is a request and what it is to get.
type Step struct {
	Method, Path, Body string
	Status             int
	Want               string // fields that the answer has, as JSON; or its message
}

// Case is a requirement and the conversation that shows it.
type Case struct {
	Name  string // begins with the id
	Steps []Step
}

// RunCases plays each case on a server of its own.
func RunCases(t *testing.T, open Open, cases []Case) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			s := open(t)
			for _, step := range c.Steps {
				s.Play(t, step)
			}
		})
	}
}

// Play sends the request of a step and checks the answer.
func (s *Server) Play(t *testing.T, step Step) Answer {
	t.Helper()
	a := s.Want(t, step.Status, step.Method, step.Path, step.Body)
	switch {
	case step.Want == "":
	case step.Want[0] == '{':
		var want map[string]any
		if err := json.Unmarshal([]byte(step.Want), &want); err != nil {
			t.Fatalf("%s: %v", step.Want, err)
		}
		if !includes(a.JSON, want) {
			t.Errorf("%s %s %s: got %s, want %s", step.Method, step.Path, step.Body, a.Text, step.Want)
		}
	default:
		if message, _ := a.JSON["message"].(string); !strings.Contains(message, step.Want) {
			t.Errorf("%s %s %s: got message %q, want %q", step.Method, step.Path, step.Body, message, step.Want)
		}
	}
	if a.Status >= 400 && (a.JSON["reason"] == "" || a.JSON["request_id"] != a.Header.Get("X-Request-Id")) {
		t.Errorf("%s %s: the error is not as X5 wants it: %s", step.Method, step.Path, a.Text)
	}
	return a
}

// includes reports whether got has all that want has. A null in want is a field
// that must not be there; a list has to have the same elements.
func includes(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range want {
			have, has := got[name]
			if value == nil && has && have != nil || value != nil && !includes(have, value) {
				return false
			}
		}
		return true
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for i := range want {
			if !includes(got[i], want[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}
