package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// builtin are messages to mutate where there is no corpus.
var builtin = []string{
	"GET {U}/calm/x HTTP/1.1\r\nHost: {H}\r\n\r\n",
	"POST {U}/bad/x HTTP/1.1\r\nHost: {H}\r\nContent-Length: 5\r\n\r\nhello",
	"POST {U}/bad/x HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
	"GET {U}/bad/x HTTP/1.1\r\nHost: {H}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	"POST {U}/nobody/x HTTP/1.1\r\nHost: {H}\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
	"PUT {U}/slow/x HTTP/1.1\r\nHost: {H}\r\nContent-Type: application/grpc\r\nContent-Length: 9\r\n\r\n123456789",
	"HEAD {U}/badtls/x HTTP/1.1\r\nHost: {H}\r\n\r\nGET {U}/badtls/y HTTP/1.1\r\nHost: {H}\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: {H}\r\nMax-Forwards: 0\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}

// corpusMessages reads the hostile messages in dir; a file that is none is passed over.
func corpusMessages(dir string) (list []string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var doc struct {
			Cases []struct{ Payload string }
		}
		if json.Unmarshal(text, &doc) != nil {
			continue
		}
		for _, c := range doc.Cases {
			raw := make([]byte, 0, len(c.Payload))
			for _, code := range c.Payload {
				raw = append(raw, byte(code))
			}
			list = append(list, string(raw))
		}
	}
	return list
}

// message is a request, mutated some of the time.
func (s *storming) message(r *rand.Rand, base string) []byte {
	list := builtin
	if more := s.corpus(); len(more) > 0 && r.IntN(3) > 0 {
		list = more
	}
	m := []byte(strings.NewReplacer("{U}", base, "{H}", "a").Replace(list[r.IntN(len(list))]))
	for range r.IntN(4) {
		m = mutate(r, m)
	}
	return m
}

var corpusOnce sync.Once
var corpusList []string

func (s *storming) corpus() []string {
	corpusOnce.Do(func() { corpusList = corpusMessages(s.options.corpus) })
	return corpusList
}

// tokens are what parsers stumble over.
var tokens = []string{"\r\n", "\n", "\r", "\x00", " ", "\t", ":", ";", "%", "%2e%2e/", "%00", "..;/", "chunked", "Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\n",
	"Content-Length: 99999999999999999999\r\n", "0\r\n\r\n", "ffffffffffffffff\r\n", "Connection: close, Host\r\n", "Host: b\r\n", "X: \xff\xfe\r\n", "Upgrade: h2c\r\n", "Expect: 100-continue\r\n", "Cookie: a=b\r\n"}

func mutate(r *rand.Rand, m []byte) []byte {
	if len(m) == 0 {
		return m
	}
	at := r.IntN(len(m))
	switch r.IntN(7) {
	case 0: // cut
		return m[:at]
	case 1: // another byte
		m = bytes.Clone(m)
		m[at] = byte(r.Uint32())
		return m
	case 2: // a piece twice
		end := at + r.IntN(len(m)-at)
		return append(bytes.Clone(m[:end]), m[at:]...)
	case 3: // a piece very often
		return append(append(bytes.Clone(m[:at]), bytes.Repeat(m[at:min(len(m), at+1+r.IntN(12))], 1+r.IntN(5000))...), m[at:]...)
	case 4: // a piece left out
		return append(bytes.Clone(m[:at]), m[min(len(m), at+1+r.IntN(20)):]...)
	default:
		return append(append(bytes.Clone(m[:at]), tokens[r.IntN(len(tokens))]...), m[at:]...)
	}
}

// h1messages sends mutated messages, several on a connection, whole or in
// pieces, and reads in some way.
func (s *storming) h1messages(ctx context.Context, r *rand.Rand) {
	c, err := s.dial(ctx, r, r.IntN(4) == 0, "http/1.1")
	if err != nil {
		return
	}
	defer hangUp(r, c)
	reading, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	go reads(reading, rand.New(rand.NewPCG(r.Uint64(), 2)), c) //nolint:gosec // choices
	for range 1 + r.IntN(6) {
		m := s.message(r, "")
		for len(m) > 0 {
			n := len(m)
			if r.IntN(3) == 0 {
				n = 1 + r.IntN(len(m))
			}
			if _, err := c.Write(m[:n]); err != nil {
				return
			}
			m = m[n:]
		}
		if !pause(ctx, time.Duration(r.IntN(40))*time.Millisecond) {
			return
		}
	}
}

// h1stalls stops at some byte of a message and waits for whoever gives up first.
func (s *storming) h1stalls(ctx context.Context, r *rand.Rand) {
	c, err := s.dial(ctx, r, r.IntN(4) == 0, "http/1.1")
	if err != nil {
		return
	}
	defer hangUp(r, c)
	m := s.message(r, "")
	if len(m) == 0 {
		return
	}
	if _, err := c.Write(m[:r.IntN(len(m)+1)]); err == nil {
		_ = c.SetReadDeadline(time.Now().Add(time.Duration(r.IntN(3000)) * time.Millisecond))
		discard(c)
	}
}

// h1pipeline sends cheap requests without an end and reads nothing.
func (s *storming) h1pipeline(ctx context.Context, r *rand.Rand) {
	c, err := s.dial(ctx, r, false)
	if err != nil {
		return
	}
	defer c.Close()
	path := []string{"/none", "/calm/x", "/calm/closed", "/bad/x"}[r.IntN(4)]
	blob := bytes.Repeat(fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", []string{"GET", "HEAD"}[r.IntN(2)], path), 200)
	end := time.Now().Add(floodSpan)
	for sent := 0; sent < floodBytes && time.Now().Before(end) && ctx.Err() == nil; {
		n, err := c.Write(blob)
		if sent += n; err != nil {
			return
		}
	}
}

// forward sends messages to the forward proxy, tunnels to hostile backends
// among them.
func (s *storming) forward(ctx context.Context, r *rand.Rand) {
	c, err := s.dialAt(ctx, r, s.lab.egress)
	if err != nil {
		return
	}
	defer hangUp(r, c)
	reading, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	go reads(reading, rand.New(rand.NewPCG(r.Uint64(), 3)), c) //nolint:gosec // choices
	target := s.lab.targets[r.IntN(len(s.lab.targets))]
	if r.IntN(3) == 0 {
		_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target) // what follows fails as well
	}
	for range 1 + r.IntN(4) {
		if _, err := c.Write(s.message(r, "http://"+target)); err != nil || !pause(ctx, time.Duration(r.IntN(40))*time.Millisecond) {
			return
		}
	}
}

// slowReader asks for an answer without end and takes little or nothing of it.
func (s *storming) slowReader(ctx context.Context, r *rand.Rand) {
	c, err := s.dial(ctx, r, false)
	if err != nil {
		return
	}
	defer c.Close()
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(4096) // a hint
	}
	kind := []string{"", "Content-Type: application/grpc\r\n"}[r.IntN(2)]
	path := []string{"/grpc/big", "/big/x", "/badh2/big"}[r.IntN(3)]
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, kind); err == nil {
		_, _ = io.CopyN(io.Discard, c, int64(r.IntN(4096))) // then nothing
		<-ctx.Done()
	}
}

// stuckUpload sends a body whose answer it never reads.
func (s *storming) stuckUpload(ctx context.Context, r *rand.Rand) {
	c, err := s.dial(ctx, r, false)
	if err != nil {
		return
	}
	defer c.Close()
	path := []string{"/grpc/echo", "/slow/up", "/nobody/up"}[r.IntN(3)]
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 100000000\r\n\r\n", path); err != nil {
		return
	}
	body := make([]byte, 64<<10)
	for range 400 {
		if _, err := c.Write(body); err != nil {
			return
		}
	}
	<-ctx.Done()
}

// truth asks the hostile backends as an honest client does, and looks whether an
// answer belongs to another request, or to none.
func (s *storming) truth(ctx context.Context, r *rand.Rand) {
	secure := r.IntN(4) == 0
	c := calmClient(secure, false)
	defer c.CloseIdleConnections()
	base := "http://" + s.lab.plain.gateway
	if secure {
		base = "https://" + s.lab.secure.gateway
	}
	for range 12 {
		if r.IntN(2) == 0 && !pause(ctx, margin+margin/2) { // let surplus bytes lie
			return
		}
		token := fmt.Sprintf("t%d", r.Uint64())
		method := []string{"GET", "GET", "GET", "HEAD"}[r.IntN(4)]
		req, err := http.NewRequestWithContext(ctx, method, base+[]string{"/bad/", "/badtls/"}[r.IntN(2)]+token, nil)
		if err != nil {
			return
		}
		began := time.Now()
		resp, err := c.Do(req)
		if err != nil {
			continue // what was cut is no lie
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // cut is no lie either
		resp.Body.Close()
		if sentBefore(body, poisonMark, began) {
			s.found("an answer that nobody asked for reached a client")
		}
		if sentBefore(body, answerMark, began) {
			s.found("an answer reached another client than the one who asked")
		}
	}
}

// margin is more than a busy machine lets pass between a stamp and its sending.
const margin = 500 * time.Millisecond

// sentBefore reports whether a body holds a mark with a time well before a
// request began: then the bytes lay on the connection when it was reused.
func sentBefore(body []byte, mark string, began time.Time) bool {
	_, rest, ok := bytes.Cut(body, []byte(mark))
	if !ok || len(rest) < stampDigits {
		return false
	}
	at, err := strconv.ParseInt(string(rest[:stampDigits]), 10, 64)
	return err == nil && time.Unix(0, at).Add(margin).Before(began)
}

// documents writes odd policy documents of a kind that can close nothing.
func (s *storming) documents(ctx context.Context, r *rand.Rand) {
	file := filepath.Join(s.lab.policy, "consumers", fmt.Sprintf("x%d", r.IntN(20)))
	n := 1 << r.IntN(18)
	text := []string{
		fmt.Sprintf(`{"%s":[%s1]}`, strings.Repeat("a", n), strings.Repeat("1,", n/2)),
		strings.Repeat("[", n), strings.Repeat("{\"a\":", n), "x = " + strings.Repeat("(", n),
		`name = "` + strings.Repeat("$${", n) + `"`, "name = <<-E\n" + strings.Repeat(" x\n", n) + "E\n",
		strings.Repeat("a1 = 1\n", n), strings.Repeat("a {}\n", n), `{"custom_id":"` + strings.Repeat("%%{", n) + `"}`,
	}[r.IntN(9)]
	m := []byte(text)
	for range r.IntN(3) {
		m = mutate(r, m)
	}
	if err := os.WriteFile(file+".new", m, 0o644); err == nil {
		_ = os.Rename(file+".new", file) // the next round writes another
	}
	_ = pause(ctx, 300*time.Millisecond)
}
