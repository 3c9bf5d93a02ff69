package waiting

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var usual = Config{Quiet: 4 * time.Second, Word: 6 * time.Second, Idle: 90 * time.Second, MaxHeader: 4 << 10}

// far is the other end of a connection, which says what a test has it say.
type far struct {
	*http2.Framer // writes
	t             *testing.T
	conn          net.Conn
	out           *hpack.Encoder
	block         bytes.Buffer

	mu     sync.Mutex
	frames []http2.Frame // that came
	deaf   bool          // it reads no more
	listen sync.Cond
}

// pair is a connection that was opened, to a peer that grants so many requests.
func pair(t *testing.T, grants uint32) (*Conn, *far) {
	t.Helper()
	near, end := net.Pipe()
	f := &far{t: t, conn: end, Framer: http2.NewFramer(end, nil)}
	f.listen.L, f.out = &f.mu, hpack.NewEncoder(&f.block)
	go f.read()
	t.Cleanup(func() { end.Close(); f.hears(true) })
	go func() {
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: grants}) // Open says what is wrong
		_ = f.WritePing(true, [8]byte{})
	}()
	c, err := Open(t.Context(), near, usual)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, f
}

func (f *far) read() {
	if _, err := io.ReadFull(f.conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	from := http2.NewFramer(nil, f.conn)
	from.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f.mu.Lock()
		for f.deaf {
			f.listen.Wait()
		}
		f.mu.Unlock()
		frame, err := from.ReadFrame()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.frames = append(f.frames, frame)
		f.mu.Unlock()
	}
}

func (f *far) hears(does bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = !does
	f.listen.Broadcast()
}

// came returns the frames of one kind that came by now.
func came[F http2.Frame](f *far) (all []F) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, frame := range f.frames {
		if of, is := frame.(F); is {
			all = append(all, of)
		}
	}
	return all
}

// head sends a head of fields, by pairs.
func (f *far) head(stream uint32, end bool, fields ...string) {
	f.t.Helper()
	f.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = f.out.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	block := f.block.Bytes()
	first := block[:min(len(block), maxFrame)]
	f.say(f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(first) == len(block), EndStream: end}))
	if rest := block[len(first):]; len(rest) > 0 {
		f.say(f.WriteContinuation(stream, true, rest))
	}
}

func (f *far) data(stream uint32, end bool, size int) {
	f.t.Helper()
	for first := true; first || size > 0; first = false {
		n := min(size, maxFrame)
		size -= n
		f.say(f.WriteData(stream, end && size == 0, bytes.Repeat([]byte("x"), n)))
	}
}

func (f *far) say(err error) {
	f.t.Helper()
	synctest.Wait()
	if err != nil {
		f.t.Log("the peer is not heard: ", err)
	}
}

// asked is a request that was sent.
type asked struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	times  int // that it was answered or failed
	resp   *http.Response
	err    error
}

// ask sends a request, which it may as there is a place for it.
func ask(t *testing.T, c *Conn, path string) *asked {
	t.Helper()
	if !c.Reserve() {
		t.Fatal("there is no place")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://consul:8501"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", "secret")
	a := &asked{cancel: cancel}
	c.Send(req, func(resp *http.Response, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.times++
		a.resp, a.err = resp, err
	})
	synctest.Wait()
	return a
}

// came returns how often something came of it, and what.
func (a *asked) came() (times int, resp *http.Response, err error) {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times, a.resp, a.err
}

// read reads the answer, which has begun.
func (a *asked) read(t *testing.T) (int, error) {
	t.Helper()
	_, resp, err := a.came()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	return int(n), err
}
