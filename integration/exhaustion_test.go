//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// scarce is what a process has that is to be used up: memory and descriptors.
const scarce = "-v 4000000 -n 1024"

// TestClientsCannotUseUpTheProcess attacks a lictor that has little: it lives,
// its admin listener answers, and so does the gateway, for a calm client.
func TestClientsCannotUseUpTheProcess(t *testing.T) {
	byItself(t)
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(open.Close)
	silent := peerOf(t, func(net.Conn) {})
	slow := peerOf(t, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		buf := make([]byte, 16<<10)
		for range time.Tick(5 * time.Millisecond) {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	})
	rest := fmt.Sprintf("resolver \"static\" {\n services = {\n open = [%q]\n silent = [\"http://%s\"]\n slow = [\"http://%s\"]\n }\n}\n", open.URL, silent, slow)
	tests := []struct {
		name   string
		attack func(t *testing.T, l *lictorProcess, until time.Time)
	}{
		{"answers that nobody reads", func(t *testing.T, l *lictorProcess, until time.Time) {
			f := hostile(t, l)
			for i := range uint32(72) {
				f.request(2*i+1, true, "GET", "/open/")
			}
			var b bytes.Buffer
			fr := http2.NewFramer(&b, nil)
			for range 200 {
				fr.WriteData(1, false, []byte("x"))
				for range 8 {
					fr.WritePing(false, [8]byte{})
				}
			}
			for time.Now().Before(until) {
				f.nc.SetWriteDeadline(until)
				if _, err := f.nc.Write(b.Bytes()); err != nil {
					return
				}
			}
		}},
		{"an upload that the backend takes slowly", func(t *testing.T, l *lictorProcess, until time.Time) {
			f := hostile(t, l)
			f.request(1, false, "POST", "/slow/up")
			piece := make([]byte, 16<<10)
			window := 512<<10 - len(piece)
			for time.Now().Before(until) {
				for ; window >= len(piece); window -= len(piece) {
					f.WriteData(1, false, piece)
				}
				f.nc.SetReadDeadline(until)
				got, err := f.ReadFrame()
				if err != nil {
					return
				}
				if w, ok := got.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
					window += int(w.Increment)
				}
			}
		}},
		{"heads without a body", func(t *testing.T, l *lictorProcess, until time.Time) {
			for range 5 {
				f := hostile(t, l)
				for i := range uint32(250) {
					f.request(2*i+1, false, "POST", "/silent/x")
				}
			}
		}},
		{"connections", func(t *testing.T, l *lictorProcess, until time.Time) {
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			for range 2000 {
				c, err := from.Dial("tcp", l.Gateway)
				if err != nil || time.Now().After(until) {
					continue
				}
				t.Cleanup(func() { c.Close() })
				io.WriteString(c, "GET /silent/x HTTP/1.1\r\nHost: a\r\n\r\n")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := startLictor(t, lictorConfig{Rest: rest, Plain: true, Limits: scarce, Gateway: "timeout = \"1m\""})
			calm := &http.Client{Timeout: 5 * time.Second}
			ask := func(url string) error {
				resp, err := calm.Get(url)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != 200 {
					err = fmt.Errorf("%s: %s", url, resp.Status)
				}
				return err
			}
			if err := ask("http://" + l.Gateway + "/open/"); err != nil { // a connection that stays
				t.Fatal(err)
			}
			over := make(chan struct{})
			until := time.Now().Add(4 * time.Second)
			go func() { defer close(over); tt.attack(t, l, until) }()
			fresh := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			holds(t, time.Until(until), "a calm client and the admin listener are served", func() error {
				if n := resident(t, l); n > 256<<10 {
					return fmt.Errorf("%d kB of memory", n)
				}
				for _, path := range []string{"/healthz", "/metrics"} {
					resp, err := fresh.Get("http://" + l.Admin + path)
					if err != nil {
						return err
					}
					resp.Body.Close()
				}
				return ask("http://" + l.Gateway + "/open/")
			})
			<-over
			select {
			case <-l.exited:
				t.Fatal("the process ended")
			default:
			}
		})
	}
}

// peerOf serves connections that come with serve, until the test ends; they
// stay open.
func peerOf(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// resident is the memory of the process in kB.
func resident(t *testing.T, l *lictorProcess) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hostileClient writes what frames it likes.
type hostileClient struct {
	*http2.Framer
	nc net.Conn
}

func hostile(t *testing.T, l *lictorProcess) *hostileClient {
	t.Helper()
	nc, err := net.Dial("tcp", l.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return hostileOn(nc)
}

// hostileOn begins HTTP/2 on a connection.
func hostileOn(nc net.Conn) *hostileClient {
	io.WriteString(nc, http2.ClientPreface)
	f := &hostileClient{http2.NewFramer(nc, bufio.NewReader(nc)), nc}
	f.WriteSettings()
	return f
}

func (f *hostileClient) request(id uint32, end bool, method, path string) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", "a"}} {
		enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
}
