package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestOnlyThisMachinesPrograms sends to a listener without a token what pages
// can make a browser send, and what programs send.
func TestOnlyThisMachinesPrograms(t *testing.T) {
	const json, form = "application/json", "application/x-www-form-urlencoded"
	tests := []struct {
		name   string
		method string
		host   string
		header []string
		reason string // "" = it is let in
	}{
		{"a program by address", "GET", "127.0.0.1:8001", nil, ""},
		{"a program by another loopback address", "GET", "127.8.9.10", nil, ""},
		{"a program by IPv6", "GET", "[::1]:8001", nil, ""},
		{"a program by a mapped address", "GET", "[::ffff:127.0.0.1]:8001", nil, ""},
		{"a program by localhost on any port", "GET", "LocalHost:1", nil, ""},
		{"a program that posts a form", "POST", "localhost", []string{"Content-Type", form}, ""},
		{"a program that posts JSON", "POST", "localhost", []string{"Content-Type", json}, ""},
		{"a person who typed the address", "GET", "localhost:8001", []string{"Sec-Fetch-Site", "none"}, ""},
		{"a page of its own", "POST", "localhost:8001", []string{"Origin", "http://localhost:8001", "Sec-Fetch-Site", "same-origin", "Content-Type", json}, ""},
		{"a page of its own on port 80", "GET", "localhost:80", []string{"Origin", "http://localhost"}, ""},

		{"a rebound name", "GET", "rebind.evil.example:8001", nil, "forbidden_host"},
		{"a rebound name, to write", "PUT", "rebind.evil.example", []string{"Origin", "http://rebind.evil.example", "Sec-Fetch-Site", "same-origin"}, "forbidden_host"},
		{"no Host", "GET", "", nil, "forbidden_host"},
		{"a name that begins with localhost", "GET", "localhost.evil.example", nil, "forbidden_host"},
		{"a name that begins with an address", "GET", "127.0.0.1.evil.example", nil, "forbidden_host"},
		{"a name below localhost", "GET", "evil.localhost", nil, "forbidden_host"},
		{"a name in front of localhost", "GET", "evil@localhost", nil, "forbidden_host"},
		{"the address of all interfaces", "GET", "0.0.0.0:8001", nil, "forbidden_host"},
		{"the address of all interfaces, IPv6", "GET", "[::]:8001", nil, "forbidden_host"},
		{"an address of another machine", "GET", "10.0.0.7:8001", nil, "forbidden_host"},
		{"a short spelling, which programs do not use", "GET", "127.1:8001", nil, "forbidden_host"},
		{"another origin", "POST", "localhost:8001", []string{"Origin", "https://evil.example", "Content-Type", json}, "forbidden_origin"},
		{"another origin that only reads", "GET", "localhost:8001", []string{"Origin", "https://evil.example"}, "forbidden_origin"},
		{"another port of this machine", "POST", "localhost:8001", []string{"Origin", "http://localhost:3000", "Content-Type", json}, "forbidden_origin"},
		{"another scheme", "POST", "localhost:8001", []string{"Origin", "https://localhost:8001", "Content-Type", json}, "forbidden_origin"},
		{"the other name of this machine", "POST", "localhost:8001", []string{"Origin", "http://127.0.0.1:8001", "Content-Type", json}, "forbidden_origin"},
		{"an origin that hides", "POST", "localhost:8001", []string{"Origin", "null", "Content-Type", json}, "forbidden_origin"},
		{"an empty origin", "POST", "localhost:8001", []string{"Origin", "", "Content-Type", json}, "forbidden_origin"},
		{"two origins", "POST", "localhost:8001", []string{"Origin", "http://localhost:8001", "Origin", "https://evil.example"}, "forbidden_origin"},
		{"a cross-site image", "GET", "localhost:8001", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, "forbidden_origin"},
		{"a page of the same site", "GET", "localhost:8001", []string{"Sec-Fetch-Site", "same-site"}, "forbidden_origin"},
		{"what browsers may yet say", "GET", "localhost:8001", []string{"Sec-Fetch-Site", "other-site"}, "forbidden_origin"},
		{"a form in a browser", "POST", "localhost:8001", []string{"Origin", "http://localhost:8001", "Content-Type", form}, "forbidden_origin"},
		{"text in a browser", "POST", "localhost:8001", []string{"Sec-Fetch-Mode", "no-cors", "Content-Type", "text/plain"}, "forbidden_origin"},
		{"a body of no type in a browser", "POST", "localhost:8001", []string{"Sec-Fetch-Site", "none"}, "forbidden_origin"},
		{"a form in parts in a browser", "PATCH", "localhost:8001", []string{"Sec-Fetch-Site", "same-origin", "Content-Type", "multipart/form-data; boundary=x"}, "forbidden_origin"},
	}
	route := func(method string) Route {
		return Route{Method: method, Path: "/take", Handler: func(w http.ResponseWriter, r *http.Request) { WriteJSON(w, 200, "in") }}
	}
	routes := []Route{route("GET"), route("POST"), route("PUT"), route("PATCH")}
	open := newServer(t, Config{Routes: routes})
	guarded := newServer(t, Config{Routes: routes, Access: full("secret")})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send := func(s *Server, path string, header ...string) *http.Response {
				body := http.NoBody
				r := httptest.NewRequest(tt.method, path, body)
				if tt.method != "GET" {
					r = httptest.NewRequest(tt.method, path, strings.NewReader("{}"))
				}
				r.Host = tt.host
				for _, h := range [][]string{tt.header, header} {
					for i := 0; i < len(h); i += 2 {
						r.Header.Add(h[i], h[i+1])
					}
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w.Result()
			}
			for _, path := range []string{"/take", "/healthz"} {
				resp := send(open, path)
				switch {
				case tt.reason != "":
					wantError(t, resp, 403, tt.reason)
				case resp.StatusCode == 403:
					t.Errorf("%s: got 403", path)
				}
				if resp.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Error("other origins may read the answer")
				}
			}
			// With a token nothing of this matters: no page knows it.
			if resp := send(guarded, "/take", "X-Admin-Token", "secret"); resp.StatusCode != 200 {
				t.Errorf("with the token: got %d, want 200", resp.StatusCode)
			}
		})
	}
}

func TestHostMeansNothingOnAUnixSocket(t *testing.T) {
	s := newServer(t, Config{})
	r := httptest.NewRequest("GET", "/status", nil)
	r.Host = "admin"
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.UnixAddr{Net: "unix", Name: "/run/lictor.sock"})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(ctx))
	if w.Code != 200 {
		t.Errorf("got %d, want 200", w.Code)
	}
}

func TestTheOriginHasTheSchemeOfTheListener(t *testing.T) {
	for origin, want := range map[string]bool{"https://localhost:8001": true, "http://localhost:8001": false} {
		r := httptest.NewRequest("GET", "/status", nil)
		r.Host, r.TLS = "localhost:8001", &tls.ConnectionState{}
		r.Header.Set("Origin", origin)
		if got := sameOrigin(r); got != want {
			t.Errorf("%s: got %v, want %v", origin, got, want)
		}
	}
}
