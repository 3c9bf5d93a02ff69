package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/eventually"
	"lictor/resolver"
)

// h2peer is an instance of HTTP/2 that does what a test says, frame by frame.
type h2peer struct {
	*http2.Framer
	c      net.Conn
	number int // of the connection, from 1
	enc    *hpack.Encoder
	block  bytes.Buffer
}

// h2peerBackend serves svc by a script for each request: the stream, and what
// it is the how-many-th of, over all connections. A false return ends the connection.
// accepts is called before the first word to each.
func (r *rig) h2peerBackend(settings []http2.Setting, script func(p *h2peer, id uint32, n int) bool, accepts ...func()) (requests, conns *atomic.Int64) {
	r.t.Helper()
	requests, conns = new(atomic.Int64), new(atomic.Int64)
	l := listen(r.t)
	serveRaw(r.t, l, func(c net.Conn, in *bufio.Reader) {
		p := &h2peer{Framer: http2.NewFramer(c, in), c: c, number: int(conns.Add(1))}
		p.enc = hpack.NewEncoder(&p.block)
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(in, preface); err != nil {
			return
		}
		for _, f := range accepts {
			f()
		}
		p.WriteSettings(settings...)
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					p.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !f.IsAck() {
					p.WritePing(true, f.Data)
				}
			case *http2.HeadersFrame:
				if !script(p, f.StreamID, int(requests.Add(1))) {
					return
				}
			}
		}
	})
	r.serve(&resolver.Instance{ID: "one", Address: l.Addr().String(), Protocol: resolver.H2C})
	return requests, conns
}

// head sends HEADERS with fields in pairs.
func (p *h2peer) head(id uint32, last bool, fields ...string) {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: last})
}

// long is head for a block that needs several frames, of an answer that goes on.
func (p *h2peer) long(id uint32, fields ...string) {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	const most = 16 << 10
	block := p.block.Bytes()
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:most]})
	for block = block[most:]; len(block) > most; block = block[most:] {
		p.WriteContinuation(id, false, block[:most])
	}
	p.WriteContinuation(id, true, block)
}

// ok answers with 200 and a body.
func (p *h2peer) ok(id uint32) bool {
	p.head(id, false, ":status", "200")
	p.WriteData(id, true, []byte("ok"))
	return true
}

// read reads frames until one is what the test waits for.
func (p *h2peer) read(is func(http2.Frame) bool) bool {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return false
		}
		if is(f) {
			return true
		}
	}
}

// TestInstanceOfHTTP2MayDoAnything has an instance end requests in every way,
// and looks at what the client sees and how often the request was sent (D3, D20).
func TestInstanceOfHTTP2MayDoAnything(t *testing.T) {
	tests := []struct {
		name     string
		method   string
		settings []http2.Setting
		script   func(p *h2peer, id uint32, n int) bool
		status   int    // 0: the answer is broken
		body     string // of a 200
		sent     int    // how often the instance saw a request; 0: at most four times
	}{
		{"a refused stream was not processed and is sent again", "POST", nil, func(p *h2peer, id uint32, n int) bool {
			if n == 1 {
				return p.WriteRSTStream(id, http2.ErrCodeRefusedStream) == nil
			}
			return p.ok(id)
		}, 200, "ok", 2},
		{"an instance that refuses for ever is given up", "POST", nil, func(p *h2peer, id uint32, _ int) bool {
			return p.WriteRSTStream(id, http2.ErrCodeRefusedStream) == nil
		}, 503, "", 0},
		{"GOAWAY says that the request was not processed", "POST", nil, func(p *h2peer, id uint32, n int) bool {
			if n == 1 {
				p.WriteGoAway(0, http2.ErrCodeNo, nil)
				return p.read(func(http2.Frame) bool { return false })
			}
			return p.ok(id)
		}, 200, "ok", 2},
		{"GOAWAY lets the request end that it took", "POST", nil, func(p *h2peer, id uint32, n int) bool {
			p.WriteGoAway(id, http2.ErrCodeNo, nil)
			return p.ok(id)
		}, 200, "ok", 1},
		{"an instance that leaves for ever is given up", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.WriteGoAway(0, http2.ErrCodeNo, nil)
			return false
		}, 503, "", 0},
		{"a connection that ends without an answer may have been acted on", "POST", nil, func(p *h2peer, id uint32, n int) bool {
			return false
		}, 502, "", 1},
		{"a stream that breaks before its answer may have been acted on", "POST", nil, func(p *h2peer, id uint32, n int) bool {
			return p.WriteRSTStream(id, http2.ErrCodeInternal) == nil
		}, 502, "", 1},
		{"a stream that breaks in its answer", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, false, ":status", "200")
			p.WriteData(id, false, []byte("half"))
			return p.WriteRSTStream(id, http2.ErrCodeInternal) == nil
		}, 0, "", 1},
		{"a connection that ends in an answer", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, false, ":status", "200")
			p.WriteData(id, false, []byte("half"))
			return false
		}, 0, "", 1},
		{"an answer that is shorter than it says", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, false, ":status", "200", "content-length", "5")
			return p.WriteData(id, true, []byte("half")) == nil
		}, 0, "", 1},
		{"an interim answer", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, false, ":status", "103", "link", "</a>")
			return p.ok(id)
		}, 200, "ok", 1},
		{"trailers behind a length", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, false, ":status", "200", "content-length", "2", "trailer", "x-end")
			p.WriteData(id, false, []byte("ok"))
			p.head(id, true, "x-end", "done")
			return true
		}, 200, "ok", 1},
		{"a line break in a field", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, true, ":status", "200", "x-a", "b\r\nset-cookie: c")
			return true
		}, 502, "", 1},
		{"a space in a field's name", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, true, ":status", "200", "x a", "b")
			return true
		}, 502, "", 1},
		{"a status that is none", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, true, ":status", "20x")
			return true
		}, 502, "", 1},
		{"no answer to HEAD but its head", "HEAD", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, true, ":status", "200", "content-length", "5")
			return true
		}, 200, "", 1},
		{"no content", "GET", nil, func(p *h2peer, id uint32, n int) bool {
			p.head(id, true, ":status", "204")
			return true
		}, 204, "", 1},
		{"frames that are none", "POST", nil, func(p *h2peer, id uint32, n int) bool {
			p.WriteRawFrame(http2.FrameData, 0, 0, []byte("on stream 0"))
			return p.read(func(http2.Frame) bool { return false })
		}, 502, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			requests, _ := r.h2peerBackend(tt.settings, tt.script)
			c := r.dial()
			fmt.Fprintf(c, "%s /svc/ HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 0\r\n\r\n", tt.method)
			status, body, whole := readWhole(c.in, tt.method)
			if !whole {
				status = 0
			}
			if status != tt.status || tt.status == 200 && body != tt.body {
				t.Errorf("got %d %q, want %d %q", status, body, tt.status, tt.body)
			}
			if n := int(requests.Load()); n != tt.sent && (tt.sent > 0 || n > 4) {
				t.Errorf("the instance saw %d requests, want %d", n, tt.sent)
			}
		})
	}
}

// readWhole reads the final answer, and reports whether it is complete.
func readWhole(in *bufio.Reader, method string) (status int, body string, whole bool) {
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return 0, "", false
		}
		if resp.StatusCode < 200 {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err == nil
	}
}

// TestInstanceOfHTTP2AnswersBeforeTheBodyEnded gets a large upload and answers
// after its first bytes, and wants no more (RFC 9113 8.1).
func TestInstanceOfHTTP2AnswersBeforeTheBodyEnded(t *testing.T) {
	r := newRig(t, nil)
	r.h2peerBackend(nil, func(p *h2peer, id uint32, n int) bool {
		p.read(func(f http2.Frame) bool { return f.Header().Type == http2.FrameData })
		p.head(id, false, ":status", "413")
		p.WriteData(id, true, []byte("too large"))
		p.WriteRSTStream(id, http2.ErrCodeNo)
		return true
	})
	c := r.dial()
	wg := new(sync.WaitGroup)
	defer wg.Wait()
	wg.Go(func() {
		fmt.Fprintf(c, "POST /svc/ HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n", 100<<20)
		part := []byte(strings.Repeat("x", 64<<10))
		for {
			if _, err := c.Write(part); err != nil {
				return
			}
		}
	})
	status, body, whole := readWhole(c.in, "POST")
	c.Close()
	if status != 413 || body != "too large" || !whole {
		t.Errorf("got %d %q, whole %v", status, body, whole)
	}
}

// TestClientThatLeavesResetsItsStream ends only its own stream, within a moment (D5).
func TestClientThatLeavesResetsItsStream(t *testing.T) {
	r := newRig(t, nil)
	reset := make(chan http2.ErrCode, 1)
	_, conns := r.h2peerBackend(nil, func(p *h2peer, id uint32, n int) bool {
		if n > 1 {
			return p.ok(id)
		}
		p.head(id, false, ":status", "200")
		p.WriteData(id, false, []byte("half"))
		return p.read(func(f http2.Frame) bool {
			if f, ok := f.(*http2.RSTStreamFrame); ok {
				reset <- f.ErrCode
				return true
			}
			return false
		})
	})
	c := r.dial()
	c.send("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
	if _, err := c.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case code := <-reset:
		if code != http2.ErrCodeCancel {
			t.Errorf("reset with %v", code)
		}
	case <-time.After(soon):
		t.Fatal("the stream was not reset")
	}
	if _, body := r.get("/svc/"); body != "ok" || conns.Load() != 1 {
		t.Errorf("got %q, on %d connections", body, conns.Load())
	}
}

// TestInstanceThatTakesOneStreamAtATime gets many requests at once (RFC 9113 5.1.2).
func TestInstanceThatTakesOneStreamAtATime(t *testing.T) {
	r := newRig(t, nil)
	r.h2peerBackend([]http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(p *h2peer, id uint32, n int) bool {
		runtime.Gosched() // others come
		return p.ok(id)
	})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 8 {
				resp, err := http.Get("http://" + r.addr + "/svc/")
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
					t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
				}
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

// TestManyWhoWaitForAPlaceEjectNobody has an instance that takes one stream at a time get
// more requests than connections can be made in their time: it can be reached all along.
func TestManyWhoWaitForAPlaceEjectNobody(t *testing.T) {
	const asked = 30
	r := newRig(t, func(s *Settings) { s.ConnectTimeout = time.Second })
	end := make(chan struct{})
	_, conns := r.h2peerBackend([]http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(p *h2peer, id uint32, n int) bool {
		<-end
		return p.ok(id)
	}, func() { time.Sleep(150 * time.Millisecond) }) // it is far away
	statuses := make(chan string, asked)
	for range asked {
		c := r.dial()
		c.send("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
		go func() {
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				statuses <- err.Error()
				return
			}
			body, _ := io.ReadAll(resp.Body)
			statuses <- fmt.Sprint(resp.StatusCode, strings.Contains(string(body), "overloaded"))
		}()
	}
	first := <-statuses
	if n := r.ejectedCount(); n != 0 || first != "503 true" {
		t.Errorf("one that found no place on %d connections got %q, and %d are ejected, want 503 overloaded and none", conns.Load(), first, n)
	}
	close(end)
	for range asked - 1 {
		if got := <-statuses; got != "200 false" && got != "503 true" {
			t.Errorf("got %q, want an answer, or 503 overloaded", got)
		}
	}
}

// TestConnectionThatEndsWhileIdleCostsNoRequest closes it after each answer,
// without a word; also what is not safe to send twice gets its answer.
func TestConnectionThatEndsWhileIdleCostsNoRequest(t *testing.T) {
	r := newRig(t, nil)
	_, conns := r.h2peerBackend(nil, func(p *h2peer, id uint32, n int) bool {
		p.ok(id)
		return false
	})
	for i := range 5 {
		resp, err := http.Post("http://"+r.addr+"/svc/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "ok" {
			t.Errorf("request %d: got %d %q", i, resp.StatusCode, body)
		}
		eventually.True(t, "the end has arrived", func() bool {
			active, idle := r.gw.upstream.Connections("svc")
			return active+idle == 0
		})
	}
	if n := conns.Load(); n != 5 {
		t.Errorf("%d connections", n)
	}
}
