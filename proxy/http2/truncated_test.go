package http2

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"lictor/proxy/http1"
)

// TestBodyThatWasDroppedIsNeverWhole drops what waits of a body whose end came
// already: whoever reads it must not take what they got for all of it.
func TestBodyThatWasDroppedIsNeverWhole(t *testing.T) {
	tests := []struct {
		name string
		drop func(c *conn, st *stream)
	}{
		{"by the client", func(c *conn, st *stream) {
			c.mu.Lock()
			defer c.mu.Unlock()
			st.end(errReset)
		}},
		{"as too much waits", func(c *conn, _ *stream) {
			c.srv.uploads.Add(maxUploads)
			c.srv.relieve()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			go io.Copy(io.Discard, b)
			c := newConn(NewServer(http1.NewServer(new(handler), testLimits())), a, new(http1.Peer), nil)
			defer a.Close()
			c.srv.conns.Add(c)
			st := newStream(c, 1)
			c.streams[1] = st
			come := func(data string, last bool) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.hold(int64(len(data)))
				st.in.write([]byte(data))
				st.ended = last
			}
			st.text = append(st.text, "PUT / HTTP/1.1\r\nHost: gw.test\r\n"...)
			st.complete()
			come("the beginning", false)
			req, err := http.ReadRequest(bufio.NewReaderSize(st, 16))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("the beginning"))
			if _, err := io.ReadFull(req.Body, got); err != nil {
				t.Fatal(err)
			}
			come(" and the end", true)
			tt.drop(c, st)
			if rest, err := io.ReadAll(req.Body); err == nil {
				t.Errorf("the body ends with %q and %q, and looks whole", got, rest)
			}
		})
	}
}
