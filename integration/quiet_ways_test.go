//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// quietWay is what is said on a connection before nothing happens on it any more.
type quietWay struct {
	name   string
	share  int    // one of how many connections are of this kind
	ends   int    // that lictor has: 2 where it keeps a connection to the backend for it
	egress bool   // through the forward proxy, by CONNECT
	alpn   string // with TLS
	begin  func(c *quietClient) error
	again  func(c *quietClient) error // uses it once more
}

var quietWays = []quietWay{
	{name: "idle", share: 1, ends: 1, alpn: "http/1.1", begin: (*quietClient).get, again: (*quietClient).get},
	{name: "WebSocket", share: 5, ends: 2, alpn: "http/1.1", begin: (*quietClient).upgrade, again: (*quietClient).echo},
	{name: "tunnel", share: 5, ends: 2, egress: true, begin: (*quietClient).connect, again: (*quietClient).echo},
	{name: "slow events", share: 5, ends: 2, alpn: "http/1.1", begin: (*quietClient).listen, again: (*quietClient).event},
	{name: "HTTP 2", share: 5, ends: 1, alpn: "h2", begin: (*quietClient).get2, again: (*quietClient).get2},
}

// quietClient is the client's end of a connection.
type quietClient struct {
	nc      net.Conn
	number  int64
	backend *quietBackend
	h2      *hostileClient // nil until it is used
	stream  uint32         // the next one
}

func newQuietClient(nc net.Conn, b *quietBed, number int64) *quietClient {
	if b.ca != nil {
		nc = tls.Client(nc, &tls.Config{RootCAs: b.ca.Pool(), ServerName: "localhost", NextProtos: []string{b.alpn}})
	}
	return &quietClient{nc: nc, number: number, backend: b.backend, stream: 1}
}

// exchange says something and reads until the answer ends with what it should.
func (c *quietClient) exchange(say, end string) error {
	if _, err := io.WriteString(c.nc, say); err != nil {
		return err
	}
	return c.hear(end)
}

func (c *quietClient) hear(end string) error {
	var got []byte
	buf := make([]byte, 1024)
	for !bytes.HasSuffix(got, []byte(end)) {
		n, err := c.nc.Read(buf)
		if err != nil {
			return fmt.Errorf("%q instead of %q: %w", got, end, err)
		}
		got = append(got, buf[:n]...)
	}
	return nil
}

func (c *quietClient) get() error {
	return c.exchange("GET /svc/x HTTP/1.1\r\nHost: gw.test\r\n\r\n", "\r\n\r\nok")
}

func (c *quietClient) upgrade() error {
	if err := c.exchange("GET /svc/x HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", "\r\n\r\n"); err != nil {
		return err
	}
	return c.echo()
}

func (c *quietClient) connect() error {
	if err := c.exchange(fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", c.backend.addr), "\r\n\r\n"); err != nil {
		return err
	}
	return c.exchange("ECHO\r\n\r\n", "echo")
}

func (c *quietClient) echo() error { return c.exchange("a message", "a message") }

func (c *quietClient) listen() error {
	return c.exchange(fmt.Sprintf("GET /svc/%d HTTP/1.1\r\nHost: gw.test\r\nAccept: text/event-stream\r\n\r\n", c.number), "\n\n\r\n")
}

func (c *quietClient) event() error {
	listener, _ := c.backend.listeners.Load(fmt.Sprint(c.number))
	io.WriteString(listener.(net.Conn), anEvent)
	return c.hear("\n\n\r\n")
}

const anEvent = "9\r\ndata: 1\n\n\r\n"

func (c *quietClient) get2() error {
	if c.h2 == nil {
		c.h2 = hostileOn(c.nc)
	}
	c.h2.request(c.stream, true, "GET", "/svc/x")
	c.stream += 2
	for {
		f, err := c.h2.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.h2.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return fmt.Errorf("%v instead of an answer", f)
		case *http2.DataFrame:
			if f.StreamEnded() {
				return nil
			}
		}
	}
}

// quietBackend answers, echoes what comes on connections that are not HTTP's any more,
// and sends events when it is told to.
type quietBackend struct {
	addr      string
	listeners sync.Map // connections by the number of their client
}

func startQuietBackend(t *testing.T) *quietBackend {
	t.Helper()
	own := net.ListenConfig{KeepAlive: -1}
	l, err := own.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &quietBackend{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return b
}

func (b *quietBackend) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		if verb, err := in.Peek(4); err == nil && string(verb) == "ECHO" {
			in.Discard(len("ECHO\r\n\r\n"))
			io.WriteString(c, "echo")
			io.Copy(struct{ io.Writer }{c}, in) // no pipe for each, which is two descriptors
			return
		}
		req, err := http.ReadRequest(in)
		switch {
		case err != nil:
			return
		case req.Header.Get("Upgrade") != "":
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n")
			io.Copy(struct{ io.Writer }{c}, in) // no pipe for each, which is two descriptors
			return
		case req.Header.Get("Accept") == "text/event-stream":
			b.listeners.Store(strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/svc"), "/"), c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"+anEvent)
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}
}
