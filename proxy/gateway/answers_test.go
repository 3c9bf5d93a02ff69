package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const ok2 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// What an upstream answers, whatever it is, reaches the client that asked,
// whole or visibly cut, and never the client that asks next.
func TestAnswersOfOddUpstreams(t *testing.T) {
	poison := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	many := strings.Repeat("X: y\r\n", 1100)
	tests := []struct {
		name, method, answer string
		then                 string // "", "close", "reset", "late: TEXT"
		status               int
		body                 string // "cut" = its end is missing
	}{
		{"plain", "GET", ok2, "", 200, "ok"},
		{"bytes behind the answer", "GET", ok2 + "garbage", "", 200, "ok"},
		{"a second answer behind it", "GET", ok2 + poison, "", 200, "ok"},
		{"a second answer a moment later", "GET", ok2, "late: " + poison, 200, "ok"},
		{"a chunked answer and a second one", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\n0\r\n\r\n" + poison, "", 200, "ok"},
		{"a chunked answer and a later one", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\n0\r\n\r\n", "late: " + poison, 200, "ok"},
		{"an empty answer and a second one", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + poison, "", 200, ""},
		{"HEAD with a body", "HEAD", ok2, "", 200, ""},
		{"HEAD with a late body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n", "late: " + poison, 200, ""},
		{"HEAD with a chunked body", "HEAD", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\n0\r\n\r\n", "", 200, ""},
		{"204 with a body", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 46\r\n\r\n" + poison, "", 204, ""},
		{"204 with a late body", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "late: " + poison, 204, ""},
		{"304 with a body", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 46\r\n\r\n" + poison, "", 304, ""},
		{"304 with a late chunked body", "GET", "HTTP/1.1 304 Not Modified\r\n" + te + "\r\n", "late: 0\r\n\r\n" + poison, 304, ""},
		{"HTTP/1.0 that keeps the connection", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "", 200, "ok"},
		{"HTTP/1.0 until the end", "GET", "HTTP/1.0 200 OK\r\n\r\nok", "close", 200, "ok"},
		{"HTTP/1.1 until the end", "GET", "HTTP/1.1 200 OK\r\n\r\nok", "close", 200, "ok"},
		{"until the end, by a reset", "GET", "HTTP/1.1 200 OK\r\n\r\nok", "reset", 200, "cut"},
		{"equal lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "", 200, "ok"},
		{"lengths that differ", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "", 502, "bad_gateway"},
		{"a length and chunks", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + te + "\r\n0\r\n\r\n", "", 502, "bad_gateway"},
		{"an unknown coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "close", 502, "bad_gateway"},
		{"a folded field", "GET", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n", "", 502, "bad_gateway"},
		{"bare LFs beside CR LF", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\n\nok", "", 502, "bad_gateway"},
		{"NUL in a field", "GET", "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n", "", 502, "bad_gateway"},
		{"a head past the limit", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 70<<10) + "\r\n\r\n", "", 502, "bad_gateway"},
		{"too many fields", "GET", "HTTP/1.1 200 OK\r\n" + many + "Content-Length: 0\r\n\r\n", "", 502, "bad_gateway"},
		{"a large head", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 40<<10) + "\r\nContent-Length: 2\r\n\r\nok", "", 200, "ok"},
		{"no answer, its side closed", "GET", "", "close", 502, "bad_gateway"},
		{"no answer, reset", "GET", "", "reset", 502, "bad_gateway"},
		{"a body cut by a reset", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", "reset", 200, "cut"},
		{"a large body cut by a reset", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000), "reset", 200, "cut"},
		{"chunks cut by a reset", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n5\r\nhello\r\n", "reset", 200, "cut"},
		{"a bad chunk", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\nzz\r\n", "", 200, "cut"},
		{"a bad chunk a moment later", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\n", "late: zz\r\n", 200, "cut"},
		{"trailers past the limit", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\n0\r\n" + strings.Repeat("X: y\r\n", 3000) + "\r\n", "", 200, "cut"},
		{"a trailer with a line break", "GET", "HTTP/1.1 200 OK\r\n" + te + "\r\n2\r\nok\r\n0\r\nX: y\n\r\n", "", 200, "cut"},
		{"101 without a question", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "", 502, "bad_gateway"},
		{"a status out of range", "GET", "HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n", "", 502, "bad_gateway"},
		{"a status of two digits", "GET", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "", 502, "bad_gateway"},
		{"HTTP/2", "GET", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", 502, "bad_gateway"},
	}
	r := newRig(t, nil)
	var answer, then atomic.Value
	late := make(chan struct{}, 1)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if req.URL.Path != "/odd" {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.URL.Path), req.URL.Path)
				continue
			}
			do := then.Load().(string) // before the client may go on
			io.WriteString(c, answer.Load().(string))
			switch do {
			case "":
			case "close":
				return
			case "reset":
				time.Sleep(30 * time.Millisecond) // for what was sent to be read
				c.(*net.TCPConn).SetLinger(0)
				return
			default:
				time.Sleep(5 * time.Millisecond) // it is late
				io.WriteString(c, strings.TrimPrefix(do, "late: "))
				late <- struct{}{}
			}
		}
	})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer.Store(tt.answer)
			then.Store(tt.then)
			c := r.dial()
			defer c.Close()
			c.send(tt.method + " /svc/odd HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(c.in, &http.Request{Method: tt.method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if tt.body == "cut" {
				if err == nil {
					t.Errorf("read %q with a clean end", body)
				}
			} else if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) || tt.body == "" && len(body) > 0 {
				t.Errorf("got %d %q %v, want %d %q", resp.StatusCode, body, err, tt.status, tt.body)
			}
			if strings.HasPrefix(tt.then, "late") {
				<-late
			}
			next := fmt.Sprintf("/next-%d", i)
			for range 2 {
				if resp, body := r.get("/svc" + next); resp.StatusCode != 200 || body != next {
					t.Errorf("the next client got %d %q", resp.StatusCode, body)
				}
			}
			if tt.body != "cut" && !resp.Close {
				c.send("GET /svc" + next + "-same HTTP/1.1\r\nHost: x\r\n\r\n")
				if resp, body := c.answerOr(t, "GET"); resp.StatusCode != 200 || body != next+"-same" {
					t.Errorf("the same client got %d %q", resp.StatusCode, body)
				}
			}
		})
	}
}

// A client of HTTP/1.0 sees that a body without a length was cut.
func TestCutIsVisibleInHTTP10(t *testing.T) {
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n"+te+"\r\n5\r\nhello\r\n")
	})
	c := r.dial()
	c.send("GET /svc/ HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(c.in); err == nil {
		t.Errorf("read %q with a clean end", b)
	}
}

// D4: interim answers are relayed, the client's body waits for them, and an
// upstream that misuses them is bounded.
func TestExpectations(t *testing.T) {
	t.Parallel()
	const expect = "POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	const cont, hints = "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	const echo = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	tests := []struct {
		name    string
		request string
		before  string // what the upstream says before it reads the body
		reads   bool   // it reads the body and echoes it
		waits   bool   // the client waits for 100
		want    string // the client's statuses
	}{
		{"100, then the body", expect, cont, true, true, "100 200"},
		{"the upstream never says 100", expect, "", true, false, "200"},
		{"a final answer instead", expect, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", false, true, "417"},
		{"a refusal that closes", expect, "HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", false, true, "403"},
		{"several interim answers", expect, hints + cont + "HTTP/1.1 102 Processing\r\n\r\n", true, true, "103 100 102 200"},
		{"interim answers without end", expect, strings.Repeat(hints, 2000), true, true, strings.Repeat("103 ", 64) + "502"},
		{"nothing at all", expect, "", false, true, "504"},
		{"HTTP/1.0 knows no interim answers", "POST /svc/ HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", hints, true, false, "200"},
		{"a body that came with the head", expect + "hello", "", true, false, "200"},
		{"100 that nobody asked for", "POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", cont, true, false, "100 200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) {
				if tt.want == "504" {
					s.Timeout = 500 * time.Millisecond
				}
			})
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, tt.before)
				body := make([]byte, 5)
				if _, err := io.ReadFull(in, body); err == nil && tt.reads {
					io.WriteString(c, echo+string(body))
				}
				in.ReadByte()
			})
			c := r.dial()
			c.send(tt.request)
			if !tt.waits && !strings.HasSuffix(tt.request, "hello") {
				c.send("hello")
			}
			var got []string
			for len(got) == 0 || got[len(got)-1][0] == '1' {
				resp, body := c.answerOr(t, "POST")
				got = append(got, fmt.Sprint(resp.StatusCode))
				switch {
				case resp.StatusCode == 100 && tt.waits:
					c.send("hello")
				case resp.StatusCode == 200 && body != "hello":
					t.Errorf("echo is %q", body)
				case resp.StatusCode > 200 && !resp.Close:
					t.Errorf("%d does not close, and the body may come or not", resp.StatusCode)
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

// D20: a 101 is a tunnel only to a protocol that was asked for.
func TestSwitchingProtocols(t *testing.T) {
	const ask = "GET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	tests := []struct {
		name, request, answer string
		status                int
	}{
		{"asked for", ask, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n", 101},
		{"after interim answers", ask, "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 101},
		{"to another protocol", ask, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 502},
		{"to no protocol", ask, "HTTP/1.1 101 S\r\n\r\n", 502},
		{"not named in Connection", ask, "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", 502},
		{"by HTTP/1.0", ask, "HTTP/1.0 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 502},
		{"asked for by HTTP/1.0", strings.Replace(ask, "HTTP/1.1", "HTTP/1.0", 1), "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 502},
		{"declined", ask, ok2, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, tt.answer)
				io.Copy(c, in)
			})
			c := r.dial()
			c.send(tt.request)
			status := 103
			for status == 103 {
				resp, err := http.ReadResponse(c.in, nil)
				if err != nil {
					t.Fatal(err)
				}
				status = resp.StatusCode
				if status != 101 {
					io.Copy(io.Discard, resp.Body)
				}
			}
			if status != tt.status {
				t.Fatalf("got %d, want %d", status, tt.status)
			}
			if status == 101 {
				c.send("ping")
				echo := make([]byte, 4)
				if _, err := io.ReadFull(c.in, echo); err != nil || string(echo) != "ping" {
					t.Errorf("%q %v", echo, err)
				}
			}
		})
	}
}
