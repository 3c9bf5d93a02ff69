package redirect

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
)

const (
	challengePath     = "/.well-known/acme-challenge/"
	challengePatience = 5 * time.Second
	challengeMost     = 4 << 10 // bytes of an answer; a key authorization has about a hundred
)

// challenge has a request answered that asks for the proof of a host, and reports
// whether it was.
func (s *Server) challenge(x *request) bool {
	head := x.c.Request()
	token, ok := strings.CutPrefix(head.OriginForm(), challengePath)
	if s.cfg.Challenge == nil || !ok || head.Method != http.MethodGet || !isToken(token) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), challengePatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, challengePath+token, nil)
	if err != nil {
		return false
	}
	// What the request's memory holds ends with it, and the handler may keep something.
	req.Host, req.URL = strings.Clone(head.Host), &url.URL{Path: challengePath + strings.Clone(token)}
	req.RequestURI, req.RemoteAddr = req.URL.Path, x.c.RemoteAddr().String()
	out := &reply{fields: make(http.Header), status: http.StatusOK}
	if !s.cfg.Challenge(out, req) {
		return false
	}
	text := message.AppendStatusLine(x.c.Scratch(), out.status)
	text = append(text, "Content-Type: text/plain\r\n"...)
	s.answer(x, out.status, answer.Refusal{}, message.AppendLength(text, int64(out.body.Len())), out.body.Bytes())
	return true
}

// isToken reports whether s can be a token of an authority: base64url (RFC 8555 8.3).
func isToken(s string) bool {
	return s != "" && len(s) <= 256 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// reply keeps what a handler answers. Of its fields none is sent.
type reply struct {
	fields http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (r *reply) Header() http.Header { return r.fields }

// WriteHeader implements [http.ResponseWriter].
func (r *reply) WriteHeader(status int) { r.status = status }

// Write implements [http.ResponseWriter]. What is too long fails.
func (r *reply) Write(p []byte) (int, error) {
	if r.body.Len()+len(p) > challengeMost {
		return 0, http.ErrContentLength
	}
	return r.body.Write(p)
}
