package consul

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"lictor/internal/crash"
)

const (
	dialTime = 3 * time.Second
	idleTime = 90 * time.Second // after which a connection that nobody uses is closed

	freshConns = 3 // at most, of one client at the same time, each for one request

	// ProbeConns is how many connections a [Contact] has at most while Consul does
	// not answer: as many as it begins within the time that each of them has.
	ProbeConns = 8

	maxHeader = 256 << 10 // bytes of an answer's head
)

// A peer that is gone without a word is found by the kernel in some seconds:
// while a watch is silent by packets of the kernel's own, and while something of
// ours waits to be acknowledged by the time that it may wait.
const userTimeout = 5 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3}

// connect makes what requests are sent by. A request waits for a connection
// where there are as many as may be.
func (c *Client) connect(cfg Config, at Address) {
	kept, fresh, probe := c.transports(cfg, at)
	bounded := func(base http.RoundTripper, most int64, contact *Contact) *transport {
		return &transport{base: base, most: most, contact: contact, agent: fmt.Sprintf("%s/v1/agent/", at.Path)}
	}
	c.kept = bounded(kept, cfg.MaxAnswer, c.Contact)
	c.fresh = bounded(fresh, cfg.MaxAnswer, c.Contact)
	c.quiet = bounded(probe, MaxError, NewContact()) // a head alone does not say that Consul can work
	if c.streams != nil {
		c.many = bounded(c.streams, cfg.MaxAnswer, c.Contact)
	}
}

// transports returns connections that are kept, those that are made for one
// request each, and those of probes. Answers are not compressed, which costs an
// agent more than the bytes are worth.
func (c *Client) transports(cfg Config, at Address) (kept, fresh, probe http.RoundTripper) {
	if given := cfg.API.HttpClient; given != nil {
		return given.Transport, given.Transport, given.Transport
	}
	base := &http.Transport{
		Proxy:       http.ProxyFromEnvironment, // as consul/api has it
		DialContext: c.dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := c.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return c.shake(ctx, conn, address)
		},
		TLSHandshakeTimeout:    dialTime,
		DisableCompression:     true,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
	}
	if at.Socket != "" {
		base.Proxy = nil
	}
	_, material := c.identity.current()
	c.spoken.Store(material)
	atMost := func(conns int, keep bool) http.RoundTripper {
		t := base.Clone()
		t.MaxConnsPerHost, t.MaxIdleConnsPerHost, t.DisableKeepAlives = conns, conns, !keep
		r := new(renewable)
		r.by.Store(t)
		r.renew(material)
		return r
	}
	return atMost(cfg.Conns, true), atMost(singles(cfg.Conns), false), atMost(cmp.Or(cfg.Probes, ProbeConns), false)
}

// renewable are connections that can be begun anew: those of before serve no further
// request, and end with the one that they have.
type renewable struct {
	by atomic.Pointer[http.Transport]
}

// RoundTrip implements [http.RoundTripper].
func (r *renewable) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.by.Load().RoundTrip(req)
}

// CloseIdleConnections closes those that no request uses.
func (r *renewable) CloseIdleConnections() { r.by.Load().CloseIdleConnections() }

// renew begins anew, by other certificates. They are told to the transport for a proxy on
// the way, behind which it speaks TLS itself.
func (r *renewable) renew(material *tls.Config) {
	next := r.by.Load().Clone()
	next.TLSClientConfig = material.Clone()
	r.by.Swap(next).CloseIdleConnections() // and nobody asks by it any more, so that it keeps no other one
}

// dial connects to the address, or to the agent's socket where it is reached by one.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.socket != "" {
		network, address = "unix", c.socket
	}
	return c.Contact.dial(ctx, network, address)
}

// dialStreams makes a connection for streams. With a proxy on the way there are none.
func (c *Client) dialStreams(ctx context.Context) (net.Conn, error) {
	to := &http.Request{URL: &url.URL{Scheme: c.api.Scheme, Host: c.api.Address}}
	if proxy, err := http.ProxyFromEnvironment(to); c.socket == "" && (proxy != nil || err != nil) {
		return nil, errPlain
	}
	conn, err := c.dial(ctx, "tcp", c.api.Address)
	if err != nil {
		return nil, err
	}
	return c.shake(ctx, conn, c.api.Address, http2.NextProtoTLS, "http/1.1")
}

// shake makes the handshake of TLS, by the certificates as they are now, and offers
// the protocols to be spoken.
func (c *Client) shake(ctx context.Context, conn net.Conn, address string, protocols ...string) (net.Conn, error) {
	_, material := c.identity.current()
	material = material.Clone()
	material.NextProtos = protocols
	if material.ServerName == "" {
		material.ServerName = address // there is no port in the name that stands for a socket
		if host, _, err := net.SplitHostPort(address); err == nil {
			material.ServerName = host
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	secured := tls.Client(conn, material)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error counts
		return nil, err
	}
	return secured, nil
}

// dial connects. An attempt that hangs when somebody else hears Consul is made
// again at once: the kernel would send its next packet seconds later.
func (c *Contact) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime, KeepAliveConfig: keepAlive, Control: func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) {
			// A unix socket does not know it, and does not need it.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
		})
	}}
	heard := c.waiting()
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	crash.Go("consul dial", func() {
		select {
		case <-heard:
			cancel()
		case <-attempt.Done():
		}
	}, nil)
	conn, err := d.DialContext(attempt, network, address)
	if err != nil && attempt.Err() != nil && ctx.Err() == nil {
		return d.DialContext(ctx, network, address)
	}
	return conn, err
}

// transport bounds what an answer may hold and tells the contact of it. It is used
// without an [http.Client], which would take the token along to where a redirect
// leads, and has each query that waits hold more.
type transport struct {
	base    http.RoundTripper
	most    int64
	contact *Contact
	agent   string // with which paths begin that the agent answers without the servers
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	return t.judge(req, resp, err)
}

// judge is RoundTrip for what came of a request.
func (t *transport) judge(req *http.Request, resp *http.Response, err error) (*http.Response, error) {
	if err != nil {
		if !errors.Is(req.Context().Err(), context.Canceled) && !saysNothing(err) {
			t.contact.Failed()
		}
		return nil, err
	}
	switch {
	case strings.HasPrefix(req.URL.Path, t.agent): // which answers by itself, also where there is no leader
	case resp.StatusCode >= 500:
		t.contact.Failed()
	default:
		t.contact.Heard()
	}
	most := t.most
	if resp.StatusCode != http.StatusOK {
		most = MaxError
	}
	if resp.ContentLength > most {
		_ = resp.Body.Close() // nothing of it is wanted
		return nil, tooLarge(most)
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: most, most: most}
	return resp, nil
}

// saysNothing reports whether an error says nothing about whether Consul answers.
func saysNothing(err error) bool {
	return errors.Is(err, errPlain) || errors.Is(err, errBusy) || errors.Is(err, errAgain) || errors.Is(err, ErrPanic)
}

// CloseIdleConnections closes those that no request uses.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func tooLarge(most int64) error {
	return fmt.Errorf("consul's answer is larger than %d bytes", most)
}

// boundedBody fails past its bound.
type boundedBody struct {
	io.ReadCloser
	left, most int64
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		// There may be just as much as is allowed: only one more byte is too many.
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, tooLarge(b.most)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
