package gateway

import (
	"net/http"
	"testing"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// TestRoutesByRegistrationAndByPart: K2, through the gateway, and that an
// explanation says the same.
func TestRoutesByRegistrationAndByPart(t *testing.T) {
	r := newRig(t, chainOf(middleware.Rule{Name: "to-chat", Match: middleware.Match{Paths: []string{"/via"}}, Effect: middleware.Effect{Route: "chat"}}))
	s := r.backend(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Saw", req.Host+req.URL.Path+"|"+req.Header.Get("X-Forwarded-Prefix"))
	})
	of := func(name string, hosts ...string) *resolver.Service {
		svc := &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{
			{ID: name, Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}}}
		for _, h := range hosts {
			svc.Hosts = append(svc.Hosts, resolver.Claim{Host: h})
		}
		return svc
	}
	r.src.catalog.Store(resolver.NewCatalog(of("chat", "chat.example.com", "*.chat.example.com"), of("via"), of("down", "down.example.com")))
	down := &resolver.Service{Name: "down", Loaded: true, Hosts: []resolver.Claim{{Host: "down.example.com"}}}
	r.src.catalog.Store(r.src.Catalog().With([]*resolver.Service{down}, nil))
	r.rules.apply(
		put(t, policy.KindFilters, "admin", `{"paths": ["/chat/admin"]}`),
		put(t, policy.KindAPIs, "chat-admin", `{"service": "chat", "filters": ["admin"]}`),
		put(t, policy.KindACLs, "a", `{"api": "chat-admin", "consumers": ["root"]}`),
		put(t, policy.KindConsumers, "root", `{}`),
		put(t, policy.KindCredentials, keyHash("k1"), `{"consumer": "root"}`),
		put(t, policy.KindAPIs, "talk", `{"service": "chat"}`),
		put(t, policy.KindMappings, "map.example.org", `{"backends": ["service:chat"]}`),
		put(t, policy.KindMappings, "gone.example.org", `{"backends": ["service:gone"]}`),
		put(t, policy.KindACLs, "host", `{"api": "*.chat.example.com", "consumers": ["root"]}`),
	)
	tests := []struct {
		host, path, key string
		status          int
		saw             string // Host and path, and the prefix
		by, api         string
	}{
		{"chat.example.com", "/room", "", 200, "chat.example.com/room|", "registration", "chat"},
		{"CHAT.example.com.:80", "/room", "", 200, "CHAT.example.com.:80/room|", "registration", "chat"},
		{"chat.example.com", "/chat/room", "", 200, "chat.example.com/chat/room|", "registration", "chat"},
		{"chat.example.com", "/admin/x", "", 401, "", "registration", "chat-admin"},
		{"chat.example.com", "/admin/x", "k1", 200, "chat.example.com/admin/x|", "registration", "chat-admin"},
		{"chat.example.com", "/x/..;/admin", "k1", 400, "", "registration", "chat"},
		{"a.chat.example.com", "/room", "", 401, "", "registration", "*.chat.example.com"}, // rules of the claimed host hold, too
		{"a.chat.example.com", "/room", "k1", 200, "a.chat.example.com/room|", "registration", "chat"},
		{"a.b.chat.example.com", "/via2", "", 503, "", "segment", "via2"},
		{"down.example.com", "/chat/x", "", 503, "", "registration", "down"},
		{"map.example.org", "/admin/x", "", 200, "map.example.org/admin/x|", "host", "map.example.org"},
		{"gone.example.org", "/chat/x", "", 503, "", "host", "gone.example.org"},
		{"x", "/talk/room", "", 200, "x/room|/talk", "segment", "talk"},
		{"x", "/chat/admin/x", "", 401, "", "filter", "chat-admin"},
		{"x", "/chat/admin/x", "k1", 200, "x/admin/x|/chat", "filter", "chat-admin"},
		{"x", "/chat//admin/x", "k1", 400, "", "segment", "chat"},
		{"x", "/chat-admin/x", "k1", 503, "", "segment", "chat-admin"},
		{"x", "/via/room", "", 200, "x/room|/via", "segment", "chat"},
		{"x", "/via/admin", "", 401, "", "segment", "chat-admin"}, // middleware leads into a part
		{"x", "/via/admin", "k1", 200, "x/admin|/via", "segment", "chat-admin"},
		{"x", "/via//admin", "k1", 400, "", "segment", "chat"},
	}
	for _, tt := range tests {
		field := ""
		if tt.key != "" {
			field = "apikey: " + tt.key + "\r\n"
		}
		c := r.dial()
		c.send("GET " + tt.path + " HTTP/1.1\r\nHost: " + tt.host + "\r\n" + field + "\r\n")
		resp, body := c.answer("GET")
		if saw := resp.Header.Get("X-Saw"); resp.StatusCode != tt.status || saw != tt.saw {
			t.Errorf("%s%s %s: got %d %q %s, want %d %q", tt.host, tt.path, tt.key, resp.StatusCode, saw, body, tt.status, tt.saw)
		}
		q := &answer.Question{URL: "http://" + tt.host + tt.path}
		if tt.key != "" {
			q.Headers = [][2]string{{"apikey", tt.key}}
		}
		e, err := r.gw.Explain(q)
		if err != nil || e.Status != tt.status || e.Route == nil || e.Route.By != tt.by || e.Route.API != tt.api {
			t.Errorf("%s%s %s: explained as %+v, %+v, %v", tt.host, tt.path, tt.key, e, e.Route, err)
		}
	}
}

// TestACaseOfTheNameIsNoWayRoundAPart: E7, K2.
func TestACaseOfTheNameIsNoWayRoundAPart(t *testing.T) {
	r := newRig(t, nil)
	addr := r.backend(func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String()
	r.src.catalog.Store(resolver.NewFoldedCatalog(&resolver.Service{Name: "chat", Loaded: true, Instances: []*resolver.Instance{
		{ID: "a", Address: addr, Weight: 1, State: resolver.Passing}}}))
	r.rules.apply(
		put(t, policy.KindFilters, "admin", `{"paths": ["/chat/admin"]}`),
		put(t, policy.KindAPIs, "chat-admin", `{"service": "CHAT", "filters": ["admin"]}`),
		put(t, policy.KindFilters, "none", `{"methods": ["NONE"]}`),
		put(t, policy.KindACLs, "a", `{"api": "chat-admin", "filters": ["none"]}`),
		put(t, policy.KindAPIs, "other", `{"service": "Chat"}`))
	for path, want := range map[string]int{
		"/chat/x": 200, "/CHAT/x": 200, "/chat/admin": 403, "/Chat/admin": 403, "/CHAT/x/..;/admin": 400, "/other/x": 200, "/other/admin": 200,
	} {
		if resp, body := r.get(path); resp.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, resp.StatusCode, body, want)
		}
	}
}
