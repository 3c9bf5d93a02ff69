package config

import (
	"fmt"
	"strings"
	"testing"
)

// Middleware keeps away from what frames a message and from what lictor says itself, in
// every spelling that a careless backend takes for it.
func TestMiddlewareKeepsAwayFromFieldsOfLictor(t *testing.T) { // D19, C24
	clean(t)
	tests := []struct {
		name string
		ok   bool
	}{
		{"X-Consumer-ID", false}, {"x_consumer_id", false}, {"X.Consumer.ID", false}, {"X~Forwarded~For", false}, {"Transfer.Encoding", false},
		{"content|length", false}, {"Tracestate", false}, {"Trace-Parent", true}, {"X-Consumers", true}, {"Server", true}, {"X.Tenant", true},
	}
	for _, tt := range tests {
		for how, edit := range map[string]string{"set": `set = { %q = "x" }`, "add": `add = { %q = "x" }`, "remove": `remove = [%q]`} {
			t.Run(tt.name+" "+how, func(t *testing.T) {
				text := "middleware \"m\" {\n request {\n " + fmt.Sprintf(edit, tt.name) + "\n }\n}"
				_, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(text)})
				if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "a.hcl:3") {
					t.Errorf("got %v, want it taken: %v", err, tt.ok)
				}
			})
		}
	}
}
