package http2

//lint:file-ignore SA1019 net/http does not say that a request was not processed (docs/decisions/0008)

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"

	"lictor/internal/crash"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// call is one request to an instance, as a connection that speaks the text of
// HTTP/1.1: the request's is written to it, the answer's read from it. One
// goroutine may read while another one writes.
type call struct {
	waiting // guarded by mu
	client  *Client
	reused  bool
	line    *line // nil: it has no place yet, or none any more
	need    need  // by which it has its place
	turns   int   // how often it was given to a connection
	wrote   atomic.Bool
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup // of what talks to the library

	mu     sync.Mutex
	login  bool // the request tries a login that belongs to its connection
	upload upload
	out    []byte // the answer as text: out[outAt:] was not read yet
	outAt  int
	err    error // why there is no more of the answer
	closed bool
}

// How much waits for its taker: of a request's body, of an answer's, and of the
// interim answers before it, the last of which may be longer.
const (
	holdMost    = 64 << 10
	holdAnswer  = 32 << 10
	holdInterim = 128 << 10
)

func newCall(c *Client) *call {
	k := &call{client: c}
	k.ctx, k.cancel = context.WithCancel(context.WithValue(context.Background(), callKey{}, k))
	k.cond.L = &k.mu
	k.upload.call = k
	return k
}

var (
	errCallText = errors.New("http2: the request is not the text of HTTP/1.1")
	errUpgrade  = errors.New("http2: an upgrade cannot go this way")
)

// Write implements net.Conn. The first call holds the head.
func (k *call) Write(p []byte) (int, error) {
	k.mu.Lock()
	begun := k.upload.begun
	k.mu.Unlock()
	n := 0
	if !begun {
		var err error
		if n, err = k.begin(p); err != nil {
			return 0, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.upload.write(p[n:]); err != nil {
		return n, err
	}
	if !begun {
		// What came with the head can be sent again.
		k.upload.whole = k.upload.done
		req := k.upload.req
		k.wg.Go(func() {
			defer crash.Contain("upstream request", func() { k.end(errCrashed) })
			k.exchange(req)
		})
	}
	return len(p), nil
}

// begin makes a request of the head that p begins with.
func (k *call) begin(p []byte) (int, error) {
	n := bytes.Index(p, []byte("\r\n\r\n")) + 4
	if n < 4 {
		return 0, errCallText
	}
	var head message.RequestHead
	head.LimitFields(n)                                    // none: it is lictor's own, with more fields than the client sent
	if err := head.Parse(bytes.Clone(p[:n])); err != nil { // the library keeps the strings
		return 0, err
	}
	if head.Upgrade != "" {
		return 0, errUpgrade
	}
	req := k.client.request(&head)
	k.login = head.BindsLogin()
	u := &k.upload
	u.begin(&head)
	if !u.done || u.framing == message.Chunked {
		req.Body, req.GetBody = u.body()
	}
	if u.framing == message.Chunked {
		req.ContentLength = -1
		req.Trailer = make(http.Header) // filled at the end of the body
		u.trailers = req.Trailer
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: k.interim, WroteHeaders: func() { k.wrote.Store(true) }}
	u.req = req.WithContext(httptrace.WithClientTrace(k.ctx, trace))
	u.begun = true
	return n, nil
}

// wants is what the request wants of its connection.
func (k *call) wants() need {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := need{after: k.need.after, login: k.login}
	if u := &k.upload; u.whole && len(u.last) == 0 { // trailers are no part of a body that is there
		n.body = u.from + int64(len(u.data))
	} else {
		n.streams = true
	}
	return n
}

// request turns a head into what the library wants.
func (c *Client) request(head *message.RequestHead) *http.Request {
	req := &http.Request{
		Method: head.Method, Host: head.Host, Proto: "HTTP/2.0", ProtoMajor: 2,
		URL:           &url.URL{Scheme: c.scheme, Host: c.cfg.Address, Opaque: head.Target},
		Header:        make(http.Header, len(head.Fields)+1),
		ContentLength: max(head.ContentLength, 0),
	}
	if strings.HasPrefix(head.Target, "//") { // alone it would be taken for a host, and any other way to say it reads and writes the path anew
		req.URL.Opaque = "//" + cmp.Or(head.Host, c.cfg.Address) + head.Target
	}
	req.Header["User-Agent"] = []string{""} // none of the library's
	for i := range head.Fields {
		f := &head.Fields[i]
		switch {
		case f.ID.HopByHop(), f.ID == message.FieldHost, f.ID == message.FieldContentLength:
		case f.ID == message.FieldUserAgent:
			req.Header["User-Agent"] = []string{f.Value}
		default:
			name := http.CanonicalHeaderKey(f.Name) // fields of one name stay in their order, however each is written
			req.Header[name] = append(req.Header[name], f.Value)
		}
	}
	if head.TETrailers {
		req.Header["Te"] = []string{"trailers"}
	}
	return req
}

// exchange sends the request and makes text of the answer.
func (k *call) exchange(req *http.Request) {
	resp, err := k.client.transport.RoundTrip(req)
	if err != nil {
		k.end(k.meaning(err))
		return
	}
	defer resp.Body.Close()
	bodiless := resp.StatusCode < 200 || resp.StatusCode == 204 || resp.StatusCode == 304 || req.Method == "HEAD"
	// Behind a body whose length is told there is no room for trailers in the text.
	chunked := !bodiless && (resp.ContentLength < 0 || len(resp.Trailer) > 0)
	text := appendAnswerHead(nil, resp, chunked)
	k.upload.forget()
	if err := k.put(text, nil); err != nil {
		return
	}
	if bodiless {
		k.end(io.EOF)
		return
	}
	k.end(k.relay(resp, chunked))
}

// relay makes text of the answer's body. It returns what the text ends with.
func (k *call) relay(resp *http.Response, chunked bool) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			var head []byte
			data := buf[:n]
			if chunked {
				head = message.AppendChunkHead(nil, n)
				data = append(data, "\r\n"...)
			}
			if err := k.put(head, data); err != nil {
				return err
			}
			buf = buf[:16<<10]
		}
		switch {
		case err == io.EOF && chunked:
			if err := k.put(appendTrailers(resp.Trailer), nil); err != nil {
				return err
			}
			return io.EOF
		case err != nil:
			return err
		}
	}
}

// meaning says by which error the data plane knows what happened.
func (k *call) meaning(err error) error {
	if k.line != nil && k.line.wire.pulse.Dead() {
		return socket.ErrVanished
	}
	_, away := errors.AsType[*unreachable](err)
	refused, ok := errors.AsType[http2.StreamError](err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.upload.whole && (away || ok && refused.Code == http2.ErrCodeRefusedStream) {
		return http1.ErrUnprocessed
	}
	return err
}

// put appends text for the reader, once there is room.
func (k *call) put(parts ...[]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.out)-k.outAt >= holdAnswer && !k.closed {
		k.cond.Wait()
	}
	return k.append(parts...)
}

// append appends text for the reader. k.mu is held.
func (k *call) append(parts ...[]byte) error {
	if k.closed {
		return net.ErrClosed
	}
	if k.outAt > len(k.out)/2 { // what was read makes room, also if its end is never met
		k.out, k.outAt = k.out[:copy(k.out, k.out[k.outAt:])], 0
	}
	for _, p := range parts {
		k.out = append(k.out, p...)
	}
	k.cond.Broadcast()
	return nil
}

func (k *call) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	k.cond.Broadcast()
}

var errInterim = errors.New("http2: more interim answers than the client reads")

// interim passes a 1xx answer on. It is the reader of the connection that asks,
// for which all who share it wait: what finds no room ends its own request.
func (k *call) interim(status int, header textproto.MIMEHeader) error {
	resp := &http.Response{StatusCode: status, Header: http.Header(header)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.out)-k.outAt >= holdInterim {
		return errInterim
	}
	return k.append(appendAnswerHead(nil, resp, false))
}

// Reused tells http1.Pool whether the call shares a connection that was there before.
func (k *call) Reused() bool { return k.reused }

// Read implements net.Conn.
func (k *call) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if n := copy(p, k.out[k.outAt:]); n > 0 {
			if k.outAt += n; k.outAt == len(k.out) {
				k.out, k.outAt = k.out[:0], 0
			}
			k.cond.Broadcast()
			return n, nil
		}
		switch {
		case k.closed:
			return 0, net.ErrClosed
		case k.err != nil:
			return 0, k.err
		}
		if err := k.wait(reader); err != nil {
			return 0, err
		}
	}
}

// Close implements net.Conn. A request that was not answered is taken back.
func (k *call) Close() error {
	k.mu.Lock()
	k.closed = true
	k.cond.Broadcast()
	k.stopTimers()
	k.mu.Unlock()
	k.cancel()
	k.wg.Wait()
	k.client.leave(k)
	return nil
}

// LocalAddr implements net.Conn.
func (k *call) LocalAddr() net.Addr { return nil }

// RemoteAddr implements net.Conn.
func (k *call) RemoteAddr() net.Addr { return nil }
