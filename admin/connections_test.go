package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// silent are what connections may be that send no request.
var silent = map[string]string{
	"that send nothing":              "",
	"whose head does not end":        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
	"that were answered and stay":    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"whose first line does not end":  "GET /heal",
	"that speak TLS, which is wrong": "\x16\x03\x01\x02\x00",
}

// TestSilentConnectionsKeepNobodyOut opens many more connections than there may
// be, and asks all along.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	for name, sent := range silent {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, Config{})
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- s.Run(ctx, ln) }()
			var all []net.Conn
			for i := range 5 * maxConnections {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, c)
				io.WriteString(c, sent)
				if i%maxConnections == 0 || i == 5*maxConnections-1 {
					askHealth(t, ln.Addr().String())
				}
			}
			cut := 0
			for _, c := range all[:3*maxConnections] { // the first ones gave way
				c.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.Copy(io.Discard, c); err == nil || !isTimeout(err) {
					cut++
				}
			}
			if cut != 3*maxConnections {
				t.Errorf("%d of the first %d connections were cut", cut, 3*maxConnections)
			}
			for _, c := range all {
				c.Close()
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func askHealth(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("got %v %v, want 200", resp, err)
	}
}

// TestWhoeverIsAnsweredDoesNotGiveWay has every connection wait for its answer when as
// many others come. These may give way to each other until they have asked.
func TestWhoeverIsAnsweredDoesNotGiveWay(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, maxConnections)
	s := newServer(t, Config{Routes: []Route{{Method: "GET", Path: "/wait", Handler: func(w http.ResponseWriter, _ *http.Request) {
		began <- struct{}{}
		<-release
		WriteJSON(w, 200, "done")
	}}}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, ln) }()
	answers := make(chan int, maxConnections)
	for range maxConnections {
		go func() {
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + ln.Addr().String() + "/wait")
			if err != nil {
				answers <- 0
				return
			}
			resp.Body.Close()
			answers <- resp.StatusCode
		}()
	}
	for range maxConnections {
		<-began
	}
	for range maxConnections {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	close(release)
	for range maxConnections {
		if status := <-answers; status != 200 {
			t.Errorf("got %d, want 200", status)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
