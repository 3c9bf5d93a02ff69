package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
)

// The backend is this program again, as a process of its own: what it needs is
// accounted to nobody. It answers as fast as the kernel lets it, with a body
// made beforehand, and trusts that requests are well-formed: they come from us.

const (
	backendCommand = "backend"

	// A reverse proxy may strip the service's name, so only the end of a path counts.
	service    = "bench"
	smallPath  = "/" + service + "/small"
	middlePath = "/" + service + "/middle"
	bigPath    = "/" + service + "/big"

	smallSize  = 1 << 10
	middleSize = 64 << 10
	bigSize    = 1 << 20
)

func answer(size int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"+
		"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	return append([]byte(head), bytes.Repeat([]byte("x"), size)...)
}

var smallAnswer, middleAnswer, bigAnswer = answer(smallSize), answer(middleSize), answer(bigSize)

// serveBackend answers requests at address for as long as the process lives.
func serveBackend(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return serveAll(l)
}

func serveAll(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			serveConn(c) // ends when the proxy closes
		}()
	}
}

func serveConn(c net.Conn) error {
	in, n := make([]byte, 64<<10), 0
	for {
		end := bytes.Index(in[:n], []byte("\r\n\r\n"))
		if end < 0 {
			k, err := c.Read(in[n:])
			if err != nil {
				return err
			}
			n += k
			continue
		}
		head := in[:end+2]
		reply := smallAnswer
		switch path, _, _ := bytes.Cut(head, []byte(" HTTP/1.1\r\n")); {
		case bytes.HasSuffix(path, []byte("/middle")):
			reply = middleAnswer
		case bytes.HasSuffix(path, []byte("/big")):
			reply = bigAnswer
		}
		body := contentLength(head)
		n = copy(in, in[end+4:n])
		for body > n {
			body -= n
			k, err := c.Read(in)
			if err != nil {
				return err
			}
			n = k
		}
		n = copy(in, in[body:n])
		if _, err := c.Write(reply); err != nil {
			return err
		}
	}
}

// contentLength is the length of the body of a request with that head.
func contentLength(head []byte) int {
	if bytes.HasPrefix(head, []byte("GET ")) {
		return 0
	}
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if textproto.CanonicalMIMEHeaderKey(string(name)) == "Content-Length" {
			n, _ := strconv.Atoi(string(bytes.TrimSpace(value)))
			return n
		}
	}
	return 0
}

// startBackend starts the backend.
func (b *bed) startBackend(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	p, err := b.start("backend", b.others, b.programs[backendCommand], backendCommand, address)
	if err != nil {
		return err
	}
	b.started = append(b.started, p)
	b.backend = address
	return p.answers(ctx, address)
}
