package ui

import (
	"context"
	"strings"
	"testing"
	"time"

	"lictor/admin/api"
)

// The page of a service says of each instance what an operator looks for, and which
// objects lead there.
func TestServiceTellsOfItsInstancesAndRoutes(t *testing.T) {
	since := time.Now().Add(-5 * time.Hour)
	status := &api.Status{Services: []api.ServiceStatus{{Name: "shop", Resolver: "consul", Loaded: true, Usable: true, Hosts: []string{"shop.example"}, Instances: []api.InstanceStatus{
		{ID: "n1/a", Address: "10.0.0.1:80", State: "passing", Weight: 3, Datacenter: "dc7", InFlight: 12, Answers: 900, P50MS: 4.2, P99MS: 1300},
		{ID: "n1/b", Address: "10.0.0.2:80", State: "critical", Weight: 1, Since: &since, Note: "critical: http: connection refused"},
	}}}}
	s := newSite(t, withDocuments(t, Config{Status: func() *api.Status { return status }}, map[string]string{
		"mappings/a.example": `{"domain":"a.example","backends":["service:shop"]}`, "mappings/b.example": `{"domain":"b.example","backends":["http://10.0.0.9"]}`,
		"apis/part": `{"name":"part","service":"shop","filters":["carts"]}`, "apis/shop": `{"name":"shop","backends":["http://10.0.0.9"]}`, "apis/other": `{"name":"other"}`,
	}))
	_, text := s.send("/ui/services/shop", nil)
	for _, want := range []string{"in dc7", "<td>12</td><td>4.2 ms</td><td>1.3 s</td><td>3</td>", "for 5 h", "critical: http: connection refused", "<code>shop.example</code>", "1 of 2 serve",
		`all of the domain a.example: <a href="/ui/policy/mappings/a.example">`, `filters carts match, as the API part: <a href="/ui/policy/apis/part">`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in it:\n%s", want, text)
		}
	}
	for _, other := range []string{"b.example", "apis/shop", "apis/other"} {
		if strings.Contains(text, other) {
			t.Errorf("%q leads elsewhere, but is in it:\n%s", other, text)
		}
	}
	if _, text = s.send("/ui/services", nil); !strings.Contains(text, "<td>1 of 2</td><td>12</td><td>1.3 s</td>") {
		t.Errorf("the list says:\n%s", text)
	}
}

// A service that nobody asked for yet is asked for by who looks at its page: an
// instance that is not listed would be taken for one that is not there.
func TestServiceIsAskedForByItsPage(t *testing.T) {
	status := &api.Status{Services: []api.ServiceStatus{{Name: "shop", Resolver: "consul"}}}
	s := newSite(t, Config{Status: func() *api.Status { return status }, Load: func(ctx context.Context, service string) {
		if _, bounded := ctx.Deadline(); service != "shop" || !bounded {
			t.Errorf("%s is asked for, bounded: %v", service, bounded)
		}
		status.Services[0].Loaded, status.Services[0].Instances = true, []api.InstanceStatus{{ID: "n1/a", State: "critical"}}
	}})
	if _, text := s.send("/ui/services/shop", nil); !strings.Contains(text, "n1/a") || strings.Contains(text, "not asked for yet") {
		t.Errorf("the page says:\n%s", text)
	}
}
