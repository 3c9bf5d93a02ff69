package gateway

import (
	"net/http"
	"strings"
	"testing"

	"lictor/proxy/answer"
	"lictor/proxy/middleware"
)

// pageRig is a gateway with an error page, behind whose API closed nobody comes.
func pageRig(t *testing.T, rules ...middleware.Rule) *rig {
	t.Helper()
	page, err := answer.ParseErrorPage("e", "<p>{{.Status}} {{.Reason}} {{.RequestID}} {{.Message}}")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(s *Settings) { s.ErrorPage, s.Middleware, s.MaxFields = page, middleware.New(rules), 300 })
	r.backend(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(404)
	})
	return r
}

const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestRefusalsAreHTMLForBrowsers(t *testing.T) { // D27
	block := middleware.Rule{Name: "m", Match: middleware.Match{Paths: []string{"/svc/blocked"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 403, Message: "<no>"}}}
	typed := middleware.Rule{Name: "n", Match: middleware.Match{Paths: []string{"/svc/typed"}}, Effect: middleware.Effect{
		Block: &middleware.Block{Status: 403}, Response: &middleware.Edit{Set: []middleware.Field{{Name: "Content-Type", Value: "text/plain"}}},
	}}
	r := pageRig(t, block, typed)
	for _, c := range []struct {
		name, path, accept string
		status             int
		body, contentType  string
		vary               string
	}{
		{"a browser", "/", browser, 404, "<p>404 no_service ", "text/html; charset=utf-8", "Accept"},
		{"curl", "/", "Accept: */*", 404, `{"message": `, "application/json; charset=utf-8", "Accept"},
		{"who says nothing", "/", "X: y", 404, `{"message": `, "application/json; charset=utf-8", "Accept"},
		{"middleware's own answer", "/svc/blocked", browser, 403, "<p>403 middleware ", "text/html; charset=utf-8", "Accept"},
		{"middleware that says what type it is", "/svc/typed", browser, 403, `{"message": `, "text/plain", ""},
		{"an answer of the service", "/svc/x", browser, 404, "", "application/json", ""},
		{"a huge list", "/", "Accept: " + strings.Repeat("a/b;q=0.1,", 2000) + "text/html", 404, "<p>404", "text/html; charset=utf-8", "Accept"},
		{"gRPC", "/", browser + "\r\nContent-Type: application/grpc", 200, "", "application/grpc", ""},
	} {
		resp, body := r.get(c.path, c.accept)
		if resp.StatusCode != c.status || !strings.HasPrefix(body, c.body) || resp.Header.Get("Content-Type") != c.contentType || resp.Header.Get("Vary") != c.vary {
			t.Errorf("%s: got %d %v %q", c.name, resp.StatusCode, resp.Header, body)
		}
		if strings.Contains(body, "<no>") {
			t.Errorf("%s: the message is not escaped: %q", c.name, body)
		}
	}
}

// The head of HEAD is that of GET, byte for byte but for what is the request's own.
func TestHEADIsToldOfThePage(t *testing.T) {
	r := pageRig(t)
	_, page := r.get("/", browser)
	c := r.dial()
	c.send("HEAD / HTTP/1.1\r\nHost: gw.test\r\n" + browser + "\r\n\r\nGET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
	resp, body := c.answer("HEAD")
	if body != "" || resp.ContentLength != int64(len(page)) || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %d %v %q, and GET %d bytes", resp.StatusCode, resp.Header, body, len(page))
	}
	if resp, body := c.answer("GET"); resp.StatusCode != 404 || !strings.HasPrefix(body, "{") {
		t.Errorf("the next answer on the connection is %d %q", resp.StatusCode, body)
	}
}

// Of a head that cannot be read nothing is believed, its Accept neither.
func TestAHeadThatCannotBeReadIsAnsweredInJSON(t *testing.T) {
	r := pageRig(t)
	for _, head := range []string{"GET / HTTP/1.1\r\n" + browser + "\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n" + browser + "\r\nbad field\r\n\r\n"} {
		c := r.dial()
		c.send(head)
		if resp, body := c.answer("GET"); resp.StatusCode != 400 || !strings.HasPrefix(body, `{"message": `) {
			t.Errorf("%q: got %d %q", head, resp.StatusCode, body)
		}
	}
}
