package presence

import (
	"testing"

	"github.com/hashicorp/consul/api"
)

func TestOnlyServicesOfTheExactNameShareRateLimits(t *testing.T) {
	named := func(name string) *api.ServiceEntry {
		return &api.ServiceEntry{Service: &api.AgentService{Service: name}}
	}
	tests := []struct {
		name    string
		entries []*api.ServiceEntry
		want    int
	}{
		{"lictors count", []*api.ServiceEntry{named("lictor"), named("lictor")}, 2},
		{"a service of another case does not", []*api.ServiceEntry{named("lictor"), named("LICTOR"), named("Lictor")}, 1},
		{"nor does what has no name or is nothing", []*api.ServiceEntry{named(""), nil, {}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := count(tt.entries); got != tt.want {
				t.Errorf("counted %d, want %d", got, tt.want)
			}
		})
	}
}
