package gateway

import (
	"strings"
	"testing"

	"lictor/internal/eventually"
	"lictor/policy"
)

// The size limit of the policy holds for what streams, and the tighter one wins.
func TestBodyLimitOfThePolicy(t *testing.T) { // P4
	r := newRig(t, func(s *Settings) { s.MaxBody = 2000 })
	rec := r.recorder()
	r.rules.apply(put(t, policy.KindPlugins, "size", `{"name": "request-size-limiting", "config": {"max_body": "1000B"}}`))
	half := "1f4\r\n" + strings.Repeat("x", 500) + "\r\n"
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"as long as the limit, by length", post + "Content-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000), 200},
		{"as long as the limit, in chunks", post + te + "\r\n" + half + half + "0\r\n\r\n", 200},
		{"one byte more, by length", post + "Content-Length: 1001\r\n\r\n" + strings.Repeat("x", 1001), 413},
		{"one byte more, in chunks", post + te + "\r\n" + half + half + "1\r\nx\r\n0\r\n\r\n", 413},
		{"one that would wait for 100", post + "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413},
	} {
		c := r.dial()
		c.send(tt.request)
		if resp, body := c.answerOr(t, "POST"); resp.StatusCode != tt.status || tt.status == 413 && !strings.Contains(body, `"body_too_large"`) {
			t.Errorf("%s: got %d %.80s, want %d", tt.name, resp.StatusCode, body, tt.status)
		}
		c.Close()
	}
	r.rules.apply(put(t, policy.KindPlugins, "size", `{"name": "request-size-limiting", "config": {"max_body": "1MB"}}`))
	c := r.dial()
	c.send(post + "Content-Length: 2001\r\n\r\n" + strings.Repeat("x", 2001))
	if resp, body := c.answerOr(t, "POST"); resp.StatusCode != 413 {
		t.Errorf("past max_body of the gateway: got %d %.80s", resp.StatusCode, body)
	}
	whole := 0
	eventually.True(t, "two whole bodies came to the backend", func() bool {
		for _, s := range rec.take() {
			if !s.broken {
				whole++
			}
		}
		return whole == 2
	})
}

// A limit in report mode tells of all bodies that it would refuse, also of those whose
// length is known at their end only.
func TestABodyLimitInReportModeTellsOfWhatStreams(t *testing.T) { // P4, X13
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.AccessLog = book.log })
	r.recorder()
	r.rules.apply(put(t, policy.KindPlugins, "size", `{"name": "request-size-limiting", "mode": "report", "config": {"max_body": "1000B"}}`))
	half := "1f4\r\n" + strings.Repeat("x", 500) + "\r\n"
	would := func() uint64 { return r.rules.Set().Hits()[0].Would }
	for _, tt := range []struct {
		name, request string
		would         string
	}{
		{"as long as the limit, by length", post + "Content-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000), ""},
		{"as long as the limit, in chunks", post + te + "\r\n" + half + half + "0\r\n\r\n", ""},
		{"one byte more, by length", post + "Content-Length: 1001\r\n\r\n" + strings.Repeat("x", 1001), "body_too_large"},
		{"one byte more, in chunks", post + te + "\r\n" + half + half + "1\r\nx\r\n0\r\n\r\n", "body_too_large"},
	} {
		before := would()
		c := r.dial()
		c.send(tt.request)
		if resp, body := c.answerOr(t, "POST"); resp.StatusCode != 200 {
			t.Errorf("%s: got %d %.80s", tt.name, resp.StatusCode, body)
		}
		c.Close()
		line := book.until(t, 1)[0]
		if says := strings.Contains(line, `"would": "body_too_large"`); says != (tt.would != "") {
			t.Errorf("%s: the line is %s, want that it would be %q", tt.name, line, tt.would)
		}
		if told := would() > before; told != (tt.would != "") {
			t.Errorf("%s: the rule counts it: %v", tt.name, told)
		}
	}
}

func TestTerminationAnswersInPlaceOfTheService(t *testing.T) { // P5
	r := newRig(t, nil)
	rec := r.recorder()
	for _, tt := range []struct{ name, config, request, body, contentType string }{
		{"with a message", `{"message": "Back at noon"}`, get, `{"message": "Back at noon", "reason": "terminated", "request_id": "`, "application/json; charset=utf-8"},
		{"with a page", `{"body": "<p>noon", "content_type": "text/html"}`, get, "<p>noon", "text/html"},
		{"HEAD, with a page", `{"body": "<p>noon", "content_type": "text/html"}`, strings.Replace(get, "GET", "HEAD", 1), "", "text/html"},
		{"gRPC, in its own terms", `{"message": "noon"}`, strings.Replace(get, "GET", "POST", 1) + "Content-Type: application/grpc\r\n", "", "application/grpc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.rules.apply(put(t, policy.KindPlugins, "t", `{"name": "request-termination", "config": `+tt.config+`}`))
			c := r.dial()
			defer c.Close()
			c.send(tt.request + "\r\n")
			method, _, _ := strings.Cut(tt.request, " ")
			resp, body := c.answerOr(t, method)
			if !strings.HasPrefix(body, tt.body) || tt.body == "" && body != "" || resp.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
			}
			if grpc := resp.Header.Get("Grpc-Message"); strings.HasPrefix(tt.name, "gRPC") && (resp.StatusCode != 200 || grpc != "noon") || grpc == "" && resp.StatusCode != 503 {
				t.Errorf("got %d, Grpc-Message %q", resp.StatusCode, grpc)
			}
		})
	}
	if all := rec.take(); len(all) > 0 {
		t.Errorf("the backend was asked: %+v", all)
	}
}
