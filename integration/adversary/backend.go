package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"lictor/integration/port"
)

// backends opens all backends and returns the URL of each by its service's name,
// and under "consul" that of the Consul that lies.
func (l *lab) backends() (map[string]string, error) {
	urls := make(map[string]string)
	for name, serve := range map[string]func(net.Conn){
		"bad": hostile, "big": endless, "slow": slowH2, "badh2": hostileH2,
	} {
		ln, err := l.listen()
		if err != nil {
			return nil, err
		}
		go each(ln, serve)
		urls[name] = "http://" + ln.Addr().String()
		l.targets = append(l.targets, ln.Addr().String())
	}
	ln, err := l.listen()
	if err != nil {
		return nil, err
	}
	go each(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{l.cert}}), hostile) //nolint:gosec // all versions are welcome
	urls["badtls"] = "https://" + ln.Addr().String()
	l.targets = append(l.targets, ln.Addr().String())

	if ln, err = l.listen(); err != nil {
		return nil, err
	}
	go each(ln, func(c net.Conn) { time.Sleep(30 * time.Second) })
	urls["nobody"] = "http://" + ln.Addr().String() // takes connections and never answers

	if ln, err = l.listen(); err != nil {
		return nil, err
	}
	go func() { _ = newServer(http.HandlerFunc(lie)).Serve(ln) }() // it ends with its listener
	urls["consul"] = "http://" + ln.Addr().String()
	return urls, l.honestBackends(urls)
}

// honestBackends starts a process of its own for the backends that the calm
// client uses: the storm must not starve them.
func (l *lab) honestBackends(urls map[string]string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ports, err := port.Free(2)
	if err != nil {
		return err
	}
	for i, name := range []string{"calm", "grpc"} {
		address := fmt.Sprintf("127.0.0.1:%d", ports[i])
		urls[name] = "http://" + address
		cmd := exec.Command(self, "-honest", address)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		l.closers = append(l.closers, func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	return nil
}

// newServer speaks HTTP/1.1 and, in plain text, HTTP/2.
func newServer(handler http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: handler, Protocols: &protocols, ReadHeaderTimeout: time.Minute,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 5000}}
}

// serveHonest is the life of the process that honestBackends starts.
func serveHonest(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return newServer(http.HandlerFunc(honest)).Serve(ln)
}

func (l *lab) listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		l.closers = append(l.closers, func() { ln.Close() })
	}
	return ln, err
}

// each serves every connection of ln for a minute at most.
func each(ln net.Listener, serve func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// honest is a backend without fault: it answers with the last part of the path,
// sends an endless body for /big and sends back what comes for /echo.
func honest(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/big":
		// For HEAD there is no body, and what is written is dropped without an error.
		for piece := make([]byte, 1<<20); r.Method != http.MethodHead; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	case "/echo":
		piece := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(piece)
			if _, wrong := w.Write(piece[:n]); wrong != nil || err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // the next write tells
		}
	default:
		_, _ = io.Copy(io.Discard, r.Body)              // the answer does not depend on it
		_, _ = io.WriteString(w, path.Base(r.URL.Path)) // the client sees what is missing
	}
}

// endless answers every request with a body that goes on.
func endless(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return
	}
	piece := make([]byte, 64<<10)
	_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
	for err == nil {
		_, err = c.Write(piece)
	}
}

// poison is an answer that nobody asked for, with the time at which it was sent:
// one that comes while a request is on its way cannot be told from its answer.
func poison() string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(poisonMark)+stampDigits, poisonMark+stamp())
}

const (
	poisonMark  = "POISONED at "
	answerMark  = "answer at "
	stampDigits = 19
)

// stamp is the time in nanoseconds, always as many digits.
func stamp() string { return fmt.Sprintf("%0*d", stampDigits, time.Now().UnixNano()) }

// hostile answers HTTP/1.1 requests in every wrong way there is, and often in
// the right one, for a connection has to be kept to be poisoned.
func hostile(c net.Conn) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 4)) //nolint:gosec // choices
	reader := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if req.ContentLength > 0 {
			if _, err := io.CopyN(io.Discard, req.Body, min(req.ContentLength, 1<<20)); err != nil {
				return
			}
		}
		if !answer(c, r, req) {
			return
		}
	}
}

// answer sends one answer of some shape and reports whether the connection is
// kept.
func answer(c net.Conn, r *rand.Rand, req *http.Request) bool {
	body := answerMark + stamp() + " to " + path.Base(req.URL.Path)
	right := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
	if req.Method != http.MethodHead {
		right += body
	}
	say := func(text string) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
	latePoison := func() bool {
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		return say(poison())
	}
	switch r.IntN(26) {
	case 0: // surplus at once
		return say(right + poison())
	case 1, 2: // surplus later
		return say(right) && latePoison()
	case 3: // a body for HEAD
		if req.Method != http.MethodHead {
			return say(right)
		}
		return say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(poison()))) && latePoison()
	case 4:
		return say("HTTP/1.1 204 No Content\r\n\r\n") && latePoison()
	case 5:
		return say("HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n") && latePoison()
	case 6:
		return say(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)) && latePoison()
	case 7: // cut at some byte
		say(right[:r.IntN(len(right))])
		return false
	case 8:
		b := make([]byte, r.IntN(3000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		say(string(b))
		return false
	case 9: // interim answers without number
		return say(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 1+r.IntN(3000)) + right)
	case 10:
		return say("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", r.IntN(100_000)) + "\r\n")
	case 11:
		return say("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("b", r.IntN(200_000)) + "\r\nContent-Length: 0\r\n\r\n")
	case 12: // nothing, for a while
		time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
		return false
	case 13:
		return false
	case 14:
		return say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 8\r\n\r\n" + poisonMark)
	case 15:
		say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", r.IntN(100_000)) + "\r\nhello\r\nffffffffffffffffff\r\n")
		return false
	case 16:
		return say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X-T: y\r\n", r.IntN(20_000)) + "\r\n")
	case 17:
		return say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n" + poison())
	case 18: // a status that is none
		return say(fmt.Sprintf("HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n", r.IntN(1100)))
	default:
		return say(right)
	}
}

// lying is set while the Consul lies: a start needs a good answer.
var lying atomic.Bool

// lie is a Consul that cannot be believed: it answers late, wrongly, without an
// end, or not at all.
func lie(w http.ResponseWriter, r *http.Request) {
	if !lying.Load() {
		w.Header().Set("X-Consul-Index", "7")
		if r.FormValue("index") == "7" {
			_ = pause(r.Context(), time.Second)
		}
		text := "[]"
		if r.URL.Path == "/v1/catalog/services" {
			text = `{"consul":[]}`
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		_, _ = io.WriteString(w, text)
		return
	}
	index := []string{"0", "1", "-5", "18446744073709551615", "x", fmt.Sprint(rand.Uint32())}[rand.IntN(6)]
	w.Header().Set("X-Consul-Index", index)
	ctx, end := context.WithTimeout(r.Context(), time.Second)
	defer end()
	switch rand.IntN(9) {
	case 0:
		<-ctx.Done()
	case 1:
		w.WriteHeader([]int{301, 400, 403, 404, 429, 500, 503}[rand.IntN(7)])
		_, _ = io.WriteString(w, strings.Repeat("no ", rand.IntN(10_000)))
	case 2:
		_, _ = io.WriteString(w, `{"consul":["a"],"ghost":[],"`+strings.Repeat("n", rand.IntN(5000))+`":null}`)
	case 3:
		_, _ = io.WriteString(w, strings.Repeat("[", rand.IntN(100_000)))
	case 4: // without an end, for a second
		piece := []byte(`{"` + strings.Repeat("s", 32<<10) + `":[],`)
		for ctx.Err() == nil {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	case 5:
		panic(http.ErrAbortHandler) // in the middle
	case 6:
		_, _ = io.WriteString(w, `[{"Node":null,"Service":{"Service":"ghost","Port":-1,"Address":"`+strings.Repeat("x", 300)+`"},"Checks":[null]}]`)
	default:
		_, _ = io.WriteString(w, "{}")
	}
}
