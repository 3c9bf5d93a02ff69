package hops

import (
	"strings"
	"testing"

	"lictor/proxy/http1/message"
)

func TestMarkLoops(t *testing.T) {
	m := NewMark()
	others := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = "1.1 " + string(NewMark())
		}
		return strings.Join(all, ", ")
	}
	tests := []struct {
		name string
		via  []string
		want bool
	}{
		{"a request without Via was nowhere", nil, false},
		{"other proxies are no loop", []string{"1.0 fred, 1.1 squid (squid/5.7)", "2 cache.example:8080"}, false},
		{"the own mark is a loop", []string{"1.1 " + string(m)}, true},
		{"behind others, too", []string{"1.0 fred", "1.1 a, 1.1 " + string(m) + ", 1.1 nginx"}, true},
		{"a comment that does not end hides nothing", []string{"1.1 x (, 1.1 " + string(m)}, true},
		{"with a comment of its own", []string{"1.1 " + string(m) + " (edge)"}, true},
		{"another lictor is no loop", []string{others(1)}, false},
		{"a mark that goes on is another one's", []string{"1.1 " + string(m)[:len(m)-1]}, false},
		{"some lictors in a row are no loop", []string{others(MaxMarks - 1)}, false},
		{"too many of them are one", []string{others(MaxMarks)}, true},
		{"however they are spread", []string{others(MaxMarks / 2), "1.1 fred", others(MaxMarks / 2)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var fields []message.Field
			for _, v := range tt.via {
				fields = append(fields, message.Field{Name: "via", Value: v, ID: message.IDOf("via")})
			}
			if got := m.Loops(fields); got != tt.want {
				t.Errorf("got %v for %q", got, tt.via)
			}
		})
	}
}
