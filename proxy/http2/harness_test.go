package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// handler answers with what it saw of the request: the path tells how.
type handler struct {
	served, refused, gone atomic.Int64
	done                  atomic.Pointer[func()] // is called at the end of each exchange; nil: nothing is
}

func (h *handler) Done(*http1.Conn) {
	if done := h.done.Load(); done != nil {
		(*done)()
	}
}

func (h *handler) Serve(c *http1.Conn) {
	h.served.Add(1)
	req := c.Request()
	if req.Target == "/panic" {
		panic("as the test wants it")
	}
	if req.Target == "/panic/half" {
		_ = c.Answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"))
		panic("as the test wants it")
	}
	if req.Target == "/hold" { // until the client leaves
		left := make(chan struct{})
		stop := c.OnGone(func(error) { close(left) })
		<-left
		stop()
		h.gone.Add(1)
		return
	}
	if req.Target == "/opened" { // the answer ends when the request does
		_ = c.Answer([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"))
	}
	var body bytes.Buffer
	buf := make([]byte, 1000)
	for {
		n, err := c.ReadBody(buf)
		body.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			h.gone.Add(1)
			return
		}
	}
	if req.Target == "/opened" {
		_ = c.Answer([]byte("0\r\n\r\n"))
		return
	}
	if _, kind, ok := strings.Cut(req.Target, "/"); ok && strings.Contains(kind, "/") {
		kind, size, _ := strings.Cut(kind, "/")
		n, _ := strconv.Atoi(size)
		replyWith(c, kind, n)
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s %s\n", req.Method, req.Target, req.Host)
	for _, f := range req.Fields {
		fmt.Fprintf(&text, "%s: %s\n", f.Name, f.Value)
	}
	text.Write(body.Bytes())
	for _, f := range c.Trailers() {
		fmt.Fprintf(&text, "\n%s: %s", f.Name, f.Value)
	}
	reply(c, "200 OK", []byte(text.String()))
}

// exes is what large bodies are made of, once: the race detector looks at each byte
// that is written.
var exes = bytes.Repeat([]byte("x"), 8<<20)

// replyWith sends an answer with n bytes in its body, head, trailers or interim answers.
func replyWith(c *http1.Conn, kind string, n int) {
	switch kind {
	case "large":
		reply(c, "200 OK", exes[:n])
	case "drops": // n frames of a byte
		_ = c.Answer([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
		for range n {
			_ = c.Answer([]byte("1\r\nx\r\n"))
		}
		_ = c.Answer([]byte("0\r\n\r\n"))
	case "heads":
		_ = c.Answer([]byte("HTTP/1.1 200 OK\r\n" + filler(n) + "Content-Length: 0\r\n\r\n"))
	case "trailers":
		_ = c.Answer([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + filler(n) + "\r\n"))
	case "interim":
		for range 64 {
			if c.WriteInterim([]byte("HTTP/1.1 103 Early Hints\r\n"+filler(n)+"\r\n")) != nil {
				return
			}
		}
		reply(c, "200 OK", nil)
	}
}

func (h *handler) Refuse(c *http1.Conn, err *message.ParseError) {
	h.refused.Add(1)
	reply(c, strconv.Itoa(err.Status)+" Bad", []byte(err.Reason))
}

func reply(c *http1.Conn, status string, body []byte) {
	head := "HTTP/1.1 " + status + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nConnection: close\r\n\r\n"
	if c.Request().Method == "HEAD" {
		body = nil
	}
	if len(body) < maxFrame {
		_ = c.Answer(append([]byte(head), body...)) // a client that left
	} else if c.Answer([]byte(head)) == nil {
		_ = c.Answer(body)
	}
}

func (h *handler) Lasting(*http1.Conn)                                {}
func (h *handler) KeepTrailer(*http1.Conn, *message.Field, bool) bool { return true }

// testLimits are those of a test of what does not go by time.
func testLimits() http1.Limits {
	return http1.Limits{Idle: time.Minute, Header: time.Minute, Stream: time.Minute, MaxHeader: 8 << 10}
}

// peer is a client that speaks frames.
type peer struct {
	t      *testing.T
	nc     net.Conn
	fr     *http2.Framer
	enc    *hpack.Encoder
	block  bytes.Buffer
	server *Server
	h1     *http1.Server
	h      *handler
	mute   bool          // outcome writes nothing
	data   *atomic.Int64 // bytes of answers that came, in a bubble
}

// dial starts a server and connects to it; it is up to the test to say hello.
func dial(t *testing.T, edit func(*http1.Limits)) *peer {
	t.Helper()
	lim := testLimits()
	if edit != nil {
		edit(&lim)
	}
	p := &peer{t: t, h: new(handler)}
	p.h1 = http1.NewServer(p.h, lim)
	p.server = NewServer(p.h1)
	p.h1.SetHTTP2(p.server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.h1.Serve(l, new(http1.Entrance)); err != nil {
			t.Error(err)
		}
	})
	if p.nc, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		p.nc.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.h1.Shutdown(ctx); err != nil {
			t.Errorf("the server did not end: %v", err)
		}
		wg.Wait()
	})
	p.nc.SetDeadline(time.Now().Add(2 * time.Minute))
	p.fr = http2.NewFramer(p.nc, p.nc)
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	return p
}

// hello is dial and what a connection begins with.
func hello(t *testing.T, edit func(*http1.Limits)) *peer {
	t.Helper()
	p := dial(t, edit)
	p.greet()
	return p
}

func (p *peer) greet() {
	io.WriteString(p.nc, http2.ClientPreface)
	p.fr.WriteSettings()
}

// head encodes a header block of alternating names and values.
func (p *peer) head(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return p.block.Bytes()
}

// request opens a stream with the usual pseudo-headers.
func (p *peer) request(id uint32, end bool, path string, more ...string) {
	p.headers(id, end, append([]string{":method", "GET", ":scheme", "http", ":path", path, ":authority", "gw.test"}, more...)...)
}

func (p *peer) headers(id uint32, end bool, pairs ...string) {
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(pairs...), EndStream: end, EndHeaders: true})
}

// outcome is how a stream or the connection ended.
type outcome struct {
	status string
	body   string
	reset  http2.ErrCode // of the stream
	away   http2.ErrCode // of the connection
	how    string        // "answer", "reset", "away", "closed"
}

func (o outcome) String() string {
	switch o.how {
	case "answer":
		return o.status
	case "reset":
		return "reset " + o.reset.String()
	case "away":
		return "away " + o.away.String()
	}
	return o.how
}

// outcome reads until the stream, or the connection, ended. It takes what
// windows it needs.
func (p *peer) outcome(id uint32) outcome {
	var o outcome
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			o.how = "closed"
			return o
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && !p.mute {
				p.fr.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() && !p.mute {
				p.fr.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				o.how, o.away = "away", f.ErrCode
				return o
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				o.how, o.reset = "reset", f.ErrCode
				return o
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				o.status = f.PseudoValue("status")
				if o.how = "answer"; f.StreamEnded() {
					return o
				}
			}
		case *http2.DataFrame:
			if n := uint32(len(f.Data())); n > 0 && !p.mute {
				p.fr.WriteWindowUpdate(0, n)
			}
			if f.StreamID == id {
				o.body += string(f.Data())
				if f.StreamEnded() {
					return o
				}
				if len(f.Data()) > 0 && !p.mute {
					p.fr.WriteWindowUpdate(id, uint32(len(f.Data())))
				}
			}
		}
	}
}

// alive reports whether the connection still serves a new stream.
func (p *peer) alive(id uint32) bool {
	p.request(id, true, "/alive")
	return p.outcome(id).status == "200"
}
