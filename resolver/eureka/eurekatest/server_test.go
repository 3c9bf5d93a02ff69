package eurekatest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
)

// TestConversation holds the fake to what E1, E2, E10 and E12 say of servers.
func TestConversation(t *testing.T) {
	const body = `{"instance":{"instanceId":"a","hostName":"h","ipAddr":"127.0.0.1","status":"UP","port":{"$":1,"@enabled":"true"},"lastDirtyTimestamp":100}}`
	type step struct {
		name, method, path string
		status             int
		says               string // part of the answer
	}
	common := []step{
		{"register", "POST", "/apps/orders", 204, ""},
		{"register without an id", "POST", "/apps/orders?bad", 400, ""},
		{"a heartbeat", "PUT", "/apps/orders/a?status=UP&lastDirtyTimestamp=100", 200, ""},
		{"an older one", "PUT", "/apps/orders/a?lastDirtyTimestamp=99", 200, ""},
		{"a newer one must register again", "PUT", "/apps/orders/a?lastDirtyTimestamp=101", 404, ""},
		{"one application", "GET", "/apps/orders", 200, `"instanceId":"a"`},
		{"one instance", "GET", "/apps/orders/a", 200, `"instance":{`},
		{"by its id alone", "GET", "/instances/a", 200, `"hostName":"h"`},
		{"by vip", "GET", "/vips/orders", 200, `"instanceId":"a"`},
		{"override the status", "PUT", "/apps/orders/a/status?value=OUT_OF_SERVICE", 200, ""},
		{"it is seen and counted", "GET", "/apps", 200, `"apps__hashcode":"OUT_OF_SERVICE_1_"`},
		{"end the override", "DELETE", "/apps/orders/a/status", 200, ""},
		{"metadata", "PUT", "/apps/orders/a/metadata?zone=x", 200, ""},
		{"are seen", "GET", "/apps/orders/a", 200, `"zone":"x"`},
		{"cancel", "DELETE", "/apps/orders/a", 200, ""},
		{"cancel again", "DELETE", "/apps/orders/a", 404, ""},
	}
	tests := []struct {
		name string
		opts Options
		own  []step
	}{
		{"Netflix", Options{}, []step{
			{"an unknown application", "GET", "/apps/nosuch", 404, ""},
			{"an unknown heartbeat", "PUT", "/apps/orders/nosuch", 404, ""},
			{"the delta", "GET", "/apps/delta", 200, `"actionType":"DELETED"`},
		}},
		{"Polaris", Options{Dialect: Polaris, Base: "/eureka"}, []step{
			{"an unknown heartbeat", "PUT", "/apps/orders/nosuch", 200, ""},
		}},
		{"Amalgam8", Options{Dialect: Amalgam8, Base: "/api/eureka/t/v2"}, []step{
			{"an unknown application", "GET", "/apps/nosuch", 500, ""},
			{"an unknown heartbeat", "PUT", "/apps/orders/nosuch", 410, ""},
			{"no delta", "GET", "/apps/delta", 500, ""},
			{"an empty registry", "GET", "/apps", 200, `{"applications":{}}`},
		}},
	}
	for _, tt := range tests {
		s := New(tt.opts)
		defer s.Close()
		for _, step := range append(common, tt.own...) {
			text := body
			if strings.HasSuffix(step.path, "?bad") {
				text = "{}"
			}
			status, says := ask(t, step.method, s.URL()+step.path, text, "application/json")
			if status != step.status || !strings.Contains(says, step.says) {
				t.Errorf("%s: %s: got %d %s, want %d %s", tt.name, step.name, status, says, step.status, step.says)
			}
		}
	}
}

func TestXMLUnlessAskedForJSON(t *testing.T) { // E2
	s := New(Options{})
	defer s.Close()
	if _, says := ask(t, "GET", s.URL()+"/apps", "", ""); !strings.HasPrefix(says, "<") {
		t.Errorf("got %s", says)
	}
}

func TestLastInstanceLingers(t *testing.T) { // E12
	s := New(Options{Dialect: Polaris, Linger: 50 * time.Millisecond})
	defer s.Close()
	s.Register(Instance{App: "a", ID: "1", Port: 1})
	s.Cancel("a", "1")
	if status, _ := ask(t, "GET", s.URL()+"/apps/a", "", "application/json"); status != 200 {
		t.Errorf("got %d, want it still there", status)
	}
	eventually.True(t, "it is gone", func() bool {
		status, _ := ask(t, "GET", s.URL()+"/apps/a", "", "application/json")
		return status == 404
	})
}

func ask(t *testing.T, method, url, body, accept string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	says, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(says)
}
