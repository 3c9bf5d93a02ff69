package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lictor/policy"
)

// corsBackend answers with fields of CORS of its own, in the head and in trailers.
func corsBackend(vary string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, in *bufio.Reader) {
		for {
			head, err := readHead(in)
			if err != nil {
				return
			}
			own := "Access-Control-Allow-Origin: https://own.example\r\naccess_control_allow_credentials: true\r\nAccess-Control-Allow-Methods: BACKEND\r\n"
			if vary != "" {
				own += "Vary: " + vary + "\r\n"
			}
			if strings.Contains(head, "Upgrade: x") {
				fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n%s\r\n", own)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n2\r\nok\r\n0\r\nAccess-Control-Allow-Origin: *\r\nX-End: 1\r\n\r\n", own)
		}
	}
}

const (
	keyed    = `{"name": "key-auth"}`
	named    = `{"name": "cors", "config": {"origins": ["https://a.example"], "credentials": true, "exposed_headers": ["X-One", "X-Two"], "max_age": 600, "private_network": true}}`
	fromA    = "Origin: https://a.example\r\n"
	fromB    = "Origin: https://b.example\r\n"
	asksPut  = "Access-Control-Request-Method: PUT\r\n"
	allowsA  = "Access-Control-Allow-Origin: https://a.example|Access-Control-Allow-Credentials: true|"
	exposes  = "Access-Control-Expose-Headers: X-One, X-Two|"
	permits  = "Access-Control-Allow-Methods: GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS, TRACE, CONNECT|"
	ages     = "Access-Control-Max-Age: 600|"
	corsVary = "Vary: Origin|"
)

// toldOf are the fields of an answer that speak of CORS, in a fixed order.
func toldOf(h http.Header) string {
	var b strings.Builder
	for _, name := range []string{"Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Max-Age", "Allow-Private-Network", "Expose-Headers"} {
		for _, v := range h["Access-Control-"+name] {
			fmt.Fprintf(&b, "Access-Control-%s: %s|", name, v)
		}
	}
	for _, v := range h["Vary"] {
		b.WriteString("Vary: " + v + "|")
	}
	for name := range h {
		if strings.Contains(name, "_") {
			b.WriteString(name)
		}
	}
	return b.String()
}

func TestEveryAnswerTellsBrowsers(t *testing.T) { // P1
	for _, tt := range []struct {
		name, request string
		vary          string // of the backend
		status        int
		want          string
	}{
		{"an answer of the service", get + fromA, "", 200, allowsA + exposes + corsVary},
		{"for another origin", get + fromB, "", 200, corsVary},
		{"for no origin", get, "", 200, corsVary},
		{"the service's Vary stays", get + fromA, "Accept", 200, allowsA + exposes + "Vary: Accept|" + corsVary},
		{"one that names Origin is enough", get + fromA, "Accept, ORIGIN", 200, allowsA + exposes + "Vary: Accept, ORIGIN|"},
		{"as is one for all", get + fromA, "*", 200, allowsA + exposes + "Vary: *|"},
		{"a changed protocol", get + fromA + "Connection: Upgrade\r\nUpgrade: x\r\n", "", 101, allowsA + exposes + corsVary},
		{"401", strings.Replace(get, "/svc", "/shut", 1) + fromA, "", 401, allowsA + exposes + corsVary},
		{"401 for another origin", strings.Replace(get, "/svc", "/shut", 1) + fromB, "", 401, corsVary},
		{"403", strings.Replace(get, "/svc", "/svc/black", 1) + fromA, "", 403, allowsA + exposes + corsVary},
		{"413", post + "Content-Length: 1001\r\n" + fromA, "", 413, allowsA + exposes + corsVary},
		{"429", strings.Replace(get, "/svc", "/used", 1) + fromA, "", 429, allowsA + exposes + corsVary},
		{"503", strings.Replace(get, "/svc", "/nosuch", 1) + fromA, "", 503, allowsA + exposes + corsVary},
		{"404, of what names no service", strings.Replace(get, "/svc", "/", 1) + fromA, "", 404, allowsA + exposes + corsVary},
		{"400, of a path that cannot be read", strings.Replace(get, "/svc", "/%zz", 1) + fromA, "", 400, allowsA + exposes + corsVary},
		{"400, of a host that cannot be read", "GET /svc/x HTTP/1.1\r\nHost: a..b\r\n" + fromA, "", 400, allowsA + exposes + corsVary},
		{"a call of gRPC", strings.Replace(get, "GET /svc", "POST /shut", 1) + "Content-Type: application/grpc\r\n" + fromA, "", 200, allowsA + exposes + corsVary},
		{"a preflight", strings.Replace(get, "GET /svc", "OPTIONS /shut", 1) + fromA + asksPut, "", 204, allowsA + permits + ages + corsVary + "Vary: Access-Control-Request-Headers|"},
		{"one that looks like a call of gRPC", strings.Replace(get, "GET", "OPTIONS", 1) + "Content-Type: application/grpc\r\n" + fromB + asksPut, "", 204, corsVary},
		{"one that asks for fields", strings.Replace(get, "GET", "OPTIONS", 1) + fromA + asksPut + "Access-Control-Request-Headers: x-a, x-b\r\nAccess-Control-Request-Private-Network: true\r\n", "", 204,
			allowsA + permits + "Access-Control-Allow-Headers: x-a, x-b|" + ages + "Access-Control-Allow-Private-Network: true|" + corsVary + "Vary: Access-Control-Request-Headers|"},
		{"one that asks for none", strings.Replace(get, "GET", "OPTIONS", 1) + fromA + asksPut + "Access-Control-Request-Headers: <b>\r\n", "", 204,
			allowsA + permits + ages + corsVary + "Vary: Access-Control-Request-Headers|"},
		{"one of another origin", strings.Replace(get, "GET", "OPTIONS", 1) + fromB + asksPut, "", 204, corsVary},
		{"one that goes on", strings.Replace(get, "GET /svc", "OPTIONS /svc/go", 1) + fromA + asksPut, "Accept", 200, allowsA + "Access-Control-Allow-Methods: BACKEND|Vary: Accept|" + corsVary},
		{"one that goes on, of another origin", strings.Replace(get, "GET /svc", "OPTIONS /svc/go", 1) + fromB + asksPut, "", 200, "Access-Control-Allow-Methods: BACKEND|" + corsVary},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.rawBackend(corsBackend(tt.vary))
			r.rules.apply(put(t, policy.KindPlugins, "c", named), put(t, policy.KindPlugins, "key", keyed), put(t, policy.KindPluginMappings, "1", `{"api": "shut", "plugins": ["key"]}`),
				put(t, policy.KindPlugins, "size", `{"name": "request-size-limiting", "config": {"max_body": "1000B"}}`),
				put(t, policy.KindPlugins, "limit", `{"name": "rate-limiting", "config": {"year": 1}}`), put(t, policy.KindPluginMappings, "2", `{"api": "used", "plugins": ["limit"]}`),
				put(t, policy.KindAPIs, "used", `{"service": "svc"}`),
				put(t, policy.KindPlugins, "go", strings.Replace(named, `"max_age": 600`, `"preflight_continue": true`, 1)),
				put(t, policy.KindPluginMappings, "3", `{"plugins": ["go"], "filters": ["go"]}`), put(t, policy.KindFilters, "go", `{"paths": ["/svc/go"]}`),
				put(t, policy.KindBlacklist, "b", "/svc/black\n"))
			c := r.dial()
			if tt.status == 429 {
				c.send(tt.request + "\r\n")
				c.answer("GET")
			}
			c.send(tt.request + "\r\n")
			method, _, _ := strings.Cut(tt.request, " ")
			resp, _ := c.answerOr(t, method)
			if told := toldOf(resp.Header); resp.StatusCode != tt.status || told != tt.want {
				t.Errorf("got %d\n     %s\nwant %d\n     %s", resp.StatusCode, told, tt.status, tt.want)
			}
			if resp.StatusCode == 200 && len(resp.Trailer) > 0 && resp.Trailer.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("a trailer of the service passed: %v", resp.Trailer)
			}
		})
	}
}

func TestBrowsersAreToldByHTTP2(t *testing.T) { // P1
	r := newRig(t, nil)
	r.rawBackend(corsBackend("Accept"))
	r.rules.apply(put(t, policy.KindPlugins, "c", named), put(t, policy.KindPlugins, "key", keyed), put(t, policy.KindPluginMappings, "1", `{"api": "shut", "plugins": ["key"]}`))
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/svc/x", allowsA + exposes + "Vary: Accept|" + corsVary},
		{"GET", "/shut/x", allowsA + exposes + corsVary},
		{"OPTIONS", "/shut/x", allowsA + permits + ages + corsVary + "Vary: Access-Control-Request-Headers|"},
	} {
		req, err := http.NewRequest(tt.method, "http://"+r.addr+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://a.example")
		req.Header.Set("Access-Control-Request-Method", "PUT")
		resp, err := r.h2cClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		if told := toldOf(resp.Header); told != tt.want || resp.ProtoMajor != 2 || len(resp.Trailer["Access-Control-Allow-Origin"]) > 0 {
			t.Errorf("%s %s: got %d %s, trailers %v, want %s", tt.method, tt.path, resp.StatusCode, told, resp.Trailer, tt.want)
		}
	}
}

// Without a plugin, and with one in report mode, what the service says stands.
func TestTheServiceSpeaksForItselfWithoutCORS(t *testing.T) { // P1, X13
	r := newRig(t, nil)
	r.rawBackend(corsBackend(""))
	for _, mode := range []string{"", `"mode": "report", `} {
		if mode != "" {
			r.rules.apply(put(t, policy.KindPlugins, "c", strings.Replace(named, "{", "{"+mode, 1)))
		}
		resp, _ := r.get("/svc/x", "Origin: https://b.example")
		if told := toldOf(resp.Header); !strings.HasPrefix(told, "Access-Control-Allow-Origin: https://own.example|Access-Control-Allow-Methods: BACKEND|") {
			t.Errorf("got %s", told)
		}
	}
}

func TestVaryIsRead(t *testing.T) { // P1
	for head, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nVary: Origin\r\n": true, "HTTP/1.1 200 OK\r\nvary:accept , origin\r\n": true, "HTTP/1.1 200 OK\r\nVARY: *\r\n": true,
		"HTTP/1.1 200 OK\r\nVary: Accept\r\nVary: Origin\r\n": true, "HTTP/1.1 200 OK\r\nVary: X-Origin\r\n": false, "HTTP/1.1 200 OK\r\nX-Vary: Origin\r\n": false,
		"HTTP/1.1 200 OK\r\nVary: Accept\r\nX: Origin\r\n": false, "": false, "HTTP/1.1 200 Vary: Origin\r\n": false,
	} {
		if got := varies([]byte(head), "Origin"); got != want {
			t.Errorf("%q: got %v", head, got)
		}
	}
	if slices.ContainsFunc([]string{"x-a", "x-a, x-b", "X-A\t,x-b"}, func(s string) bool { return !isNameList(s) }) {
		t.Error("a list of names is none")
	}
	if slices.ContainsFunc([]string{"", "x a", "a,,b", "a;b", "<b>"}, isNameList) {
		t.Error("what is no list of names is one")
	}
}
