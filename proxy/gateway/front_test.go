package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// Where the gateway limits, the limits that a client is told are its own.
func TestRateLimitFieldsOfTheServiceAreReplaced(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, name := range []string{"X-RateLimit-Limit-Minute", "X-RateLimit-Remaining", "x-rate-limit-reset", "X_RateLimit_Limit", "RateLimit-Limit", "RateLimit", "RateLimit-Policy", "ratelimit.reset"} {
			h[name] = []string{"backend"}
		}
		h.Set("X-RateLimiter", "stays")
		h.Set("Retry-After", "77")
		h.Set("Trailer", "X-RateLimit-Remaining-Second")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		h.Set("X-RateLimit-Remaining-Second", "backend")
	})
	resp, _ := r.get("/svc/")
	if fmt.Sprint(resp.Header["Ratelimit"], resp.Header["X-Ratelimit-Remaining"], resp.Header["Ratelimit-Policy"]) != "[backend] [backend] [backend]" {
		t.Errorf("without a limit of the gateway they do not pass: %v", resp.Header)
	}
	r.rules.apply(put(t, policy.KindPlugins, "p", `{"id": "p", "name": "rate-limiting", "config": {"minute": 100}}`))
	resp, _ = r.get("/svc/")
	for name, values := range resp.Header {
		if strings.Contains(fmt.Sprint(values), "backend") {
			t.Errorf("%s is the backend's: %q", name, values)
		}
	}
	if v := resp.Header["X-Ratelimit-Limit-Minute"]; len(v) != 1 || v[0] != "100" {
		t.Errorf("the own limit is %q", v)
	}
	if resp.Header.Get("Retry-After") != "77" || resp.Header.Get("X-RateLimiter") != "stays" || len(resp.Trailer) > 0 && resp.Trailer.Get("X-RateLimit-Remaining-Second") != "" {
		t.Errorf("got %v, trailers %v", resp.Header, resp.Trailer)
	}
}

// A gRPC client is refused in its own terms; logs and metrics keep the reason.
func TestRefusalsOfGRPC(t *testing.T) {
	r := newRig(t, func(s *Settings) {
		s.Middleware = middleware.New([]middleware.Rule{{Name: "m", Match: middleware.Match{Paths: []string{"/svc/closed"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 403, Message: "100% zu für heute"}}}})
	})
	r.src.set(resolver.Options{}, "127.0.0.1:1")
	tests := []struct{ name, target, media, status, message, answered string }{
		{"no service", "/", "application/grpc", "12", refuseNoService.Message, "application/grpc"},
		{"an unknown one", "/nosuch/x", "application/grpc+proto", "14", "Unknown service", "application/grpc+proto"},
		{"an instance that is away", "/svc/x", "APPLICATION/gRPC", "14", "No instance could be reached", "APPLICATION/gRPC"},
		{"a middleware, with a message that needs escapes", "/svc/closed", "application/grpc; charset=x", "7", "100% zu für heute", "application/grpc"},
		{"gRPC-Web", "/nosuch/x", "application/grpc-web+proto", "14", "Unknown service", "application/grpc-web+proto"},
		{"a type that only begins alike is JSON", "/nosuch/x", "application/grpcx", "", "", "application/json; charset=utf-8"},
		{"other requests get JSON", "/nosuch/x", "text/plain", "", "", "application/json; charset=utf-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := r.get(tt.target, "Content-Type: "+tt.media)
			h := resp.Header
			message, err := url.PathUnescape(h.Get("Grpc-Message"))
			if err != nil || h.Get("Grpc-Status") != tt.status || message != tt.message || h.Get("Content-Type") != tt.answered {
				t.Errorf("got %d %v %q", resp.StatusCode, h, body)
			}
			if grpc := tt.status != ""; grpc != (resp.StatusCode == 200) || grpc != (body == "") {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
		})
	}
}

// RFC 9110 7.6.2: a TRACE or OPTIONS that nobody may pass on is answered here,
// one that is passed on says one less; to other methods the field says nothing.
func TestMaxForwards(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "backend %q", req.Header["Max-Forwards"])
	})
	tests := []struct{ name, method, fields, want string }{
		{"none left of OPTIONS", "OPTIONS", "Max-Forwards: 0\r\n", ""},
		{"none left of TRACE shows the request without its secrets", "TRACE", "Max-Forwards: 0\r\nX-A: 1\r\nCookie: s=1\r\nAuthorization: s\r\napikey: s\r\n", "TRACE /svc/x HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX-A: 1\r\n\r\n"},
		{"one less of OPTIONS", "OPTIONS", "max-forwards: 7\r\n", `backend ["6"]`},
		{"the least of several", "TRACE", "Max-Forwards: 9\r\nMax-Forwards: 3\r\n", `backend ["2"]`},
		{"a large one", "OPTIONS", "Max-Forwards: 99999999999999999999999\r\n", `backend ["18446744073709551614"]`},
		{"what is no number is no limit", "OPTIONS", "Max-Forwards: -1\r\n", `backend ["-1"]`},
		{"none is none", "OPTIONS", "", `backend []`},
		{"other methods are passed on as they are", "GET", "Max-Forwards: 0\r\n", `backend ["0"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			c.send(tt.method + " /svc/x?q=1 HTTP/1.1\r\nHost: h\r\n" + tt.fields + "\r\n")
			if resp, body := c.answer(tt.method); resp.StatusCode != 200 || body != tt.want {
				t.Errorf("got %d %q, want %q", resp.StatusCode, body, tt.want)
			}
		})
	}
	c := r.dial()
	c.send("TRACE /nosuch/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 1\r\n\r\n")
	if resp, _ := c.answer("TRACE"); resp.StatusCode != 503 {
		t.Errorf("for an unknown service: got %d", resp.StatusCode)
	}
}

// What middleware sets, removes or blocks by a field's name it does in every
// spelling that a backend takes for that name, behind the body as well.
func TestMiddlewareGoesByEverySpelling(t *testing.T) {
	r := newRig(t, func(s *Settings) {
		block := middleware.Effect{Block: &middleware.Block{Status: 403}}
		s.Middleware = middleware.New([]middleware.Rule{
			{Name: "edit", Effect: middleware.Effect{Request: &middleware.Edit{Set: []middleware.Field{{Name: "X-Tenant", Value: "public"}}, Remove: []string{"X-Debug"}}}},
			{Name: "method", Match: middleware.Match{Methods: []string{"DELETE"}}, Effect: block},
			{Name: "field", Match: middleware.Match{Headers: []middleware.HeaderPattern{{Name: "X-Evil"}}}, Effect: block},
		})
	})
	seen := make(chan string, 1)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		head, err := readHead(in)
		if err != nil {
			return
		}
		rest := ""
		for strings.Contains(head, "chunked") && !strings.HasSuffix(rest, "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			rest += line
		}
		seen <- head + rest
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	c := r.dial()
	c.send("POST /svc/ HTTP/1.1\r\nHost: h\r\nX_Tenant: evil\r\nX.Tenant: evil\r\nx-tenant: evil\r\nX_Debug: evil\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"1\r\nx\r\n0\r\nX_Tenant: evil\r\nX.Debug: evil\r\nX-Lictor-Explain: evil\r\nX_Lictor_Explain: evil\r\nX-Sum: 1\r\n\r\n")
	c.answer("POST")
	if got := <-seen; strings.Contains(got, "evil") || !strings.Contains(got, "X-Tenant: public\r\n") || !strings.Contains(got, "X-Sum: 1") {
		t.Errorf("the backend got %q", got)
	}
	for _, request := range []string{"delete /svc/ HTTP/1.1\r\n", "DelEte /svc/ HTTP/1.1\r\n", "GET /svc/ HTTP/1.1\r\nX_Evil: 1\r\n"} {
		c := r.dial()
		c.send(request + "Host: h\r\n\r\n")
		if resp, _ := c.answer("GET"); resp.StatusCode != 403 {
			t.Errorf("%q got %d", request, resp.StatusCode)
		}
	}
}

// An empty Host is one that nobody needs (RFC 9112 3.2), and an empty port is
// none (RFC 3986 3.2.3).
func TestEmptyHostAndPort(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, req.Host, " ", req.Header["X-Forwarded-Host"], " ", req.Header.Get("Forwarded"))
	})
	addr := s.Listener.Addr().String()
	for request, want := range map[string]string{
		"GET /svc/ HTTP/1.1\r\nHost:\r\n\r\n":                               addr + " [] for=127.0.0.1;proto=http",
		"GET /svc/ HTTP/1.1\r\nHost: example.com:\r\n\r\n":                  `example.com [example.com] for=127.0.0.1;proto=http;host="example.com"`,
		"GET /svc/ HTTP/1.1\r\nHost: [::1]:\r\n\r\n":                        `[::1] [[::1]] for=127.0.0.1;proto=http;host="[::1]"`,
		"GET http://example.com:/svc/ HTTP/1.1\r\nHost: other:\r\n\r\n":     `example.com [example.com] for=127.0.0.1;proto=http;host="example.com"`,
		"GET http://example.com:81/svc/ HTTP/1.1\r\nHost: other:82\r\n\r\n": `example.com:81 [example.com:81] for=127.0.0.1;proto=http;host="example.com:81"`,
	} {
		c := r.dial()
		c.send(request)
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != want {
			t.Errorf("%q: got %d %q, want %q", request, resp.StatusCode, body, want)
		}
	}
}

// By HTTP/2 the refusal of a gRPC call is one frame of fields that ends the
// stream, as gRPC's "Trailers-Only" wants it.
func TestRefusalsOfGRPCByHTTP2(t *testing.T) {
	r := newRig(t, nil)
	req, err := http.NewRequest("POST", "http://"+r.addr+"/pkg.Service/Method", strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := r.h2cClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if h := resp.Header; resp.StatusCode != 200 || h.Get("Grpc-Status") != "14" || h.Get("Grpc-Message") != "Unknown service" || h.Get("Content-Type") != "application/grpc" ||
		resp.ContentLength != 0 || len(body) > 0 || err != nil || len(resp.Trailer) > 0 {
		t.Errorf("got %d %v %q %v", resp.StatusCode, resp.Header, body, err)
	}
}
