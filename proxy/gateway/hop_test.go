package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lictor/proxy/rabbitmq"
	"lictor/resolver"
)

// endHere are fields that travel with one connection, and some that Connection
// lists, in any spelling.
var endHere = []string{"Keep-Alive: here", "Proxy-Connection: here", "TE: here", "Proxy-Authorization: here", "Proxy-Authenticate: here",
	"X-Listed: here", "x_listed: here", "Proxy_Connection: here", "Connection: X-Listed, Via, keep-alive"}

// Whatever carries a request, and whatever brings the answer, fields of one
// connection stay on it, and those that stay are the same everywhere.
func TestFieldsOfAConnectionStayOnIt(t *testing.T) {
	ways := []struct {
		name string
		rig  func(t *testing.T, got chan<- string) *rig
	}{
		{"to HTTP/1.1", func(t *testing.T, got chan<- string) *rig {
			r := newRig(t, nil)
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				head, _ := readHead(in)
				got <- head
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+strings.Join(endHere, "\r\n")+"\r\nX-Stays: 1\r\n\r\n")
			})
			return r
		}},
		{"to HTTP/2", func(t *testing.T, got chan<- string) *rig {
			r := newRig(t, nil)
			r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
				var head strings.Builder
				_ = q.Header.Write(&head)
				got <- head.String()
				w.Header().Set("Proxy-Authenticate", "here")
				w.Header().Set("X-Stays", "1")
			})
			return r
		}},
		{"over the bus", func(t *testing.T, got chan<- string) *rig {
			return newBusRig(t, &fakeBus{answer: func(_ context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error) {
				var head string
				for _, f := range r.Fields {
					head += f.Name + ": " + f.Value + "\r\n"
				}
				got <- head
				reply := &rabbitmq.Reply{Status: 200, Fields: []rabbitmq.Field{{Name: "X-Stays", Value: "1"}}}
				for _, line := range endHere[:5] { // the bus has read Connection
					name, value, _ := strings.Cut(line, ": ")
					reply.Fields = append(reply.Fields, rabbitmq.Field{Name: name, Value: value})
				}
				return reply, nil
			}}, nil, nil)
		}},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			got := make(chan string, 1)
			r := way.rig(t, got)
			path := "/svc/x"
			if way.name == "over the bus" {
				path = "/orders/x"
			}
			resp, _ := r.get(path, append(endHere, "X-Stays: 1")...)
			if head := <-got; strings.Contains(head, "here") || !strings.Contains(head, "X-Stays") {
				t.Errorf("the backend got\n%s", head)
			}
			var head strings.Builder
			_ = resp.Header.Write(&head)
			if strings.Contains(head.String(), "here") || resp.Header.Get("X-Stays") == "" {
				t.Errorf("the client got\n%s", &head)
			}
		})
	}
}

// The names of such fields stand in package message alone: a list beside it is one
// that is forgotten when another name joins.
func TestNamesOfHopByHopFieldsStandOnce(t *testing.T) {
	name := regexp.MustCompile(`(?i)"(keep-alive|proxy-connection)"|message\.Field(KeepAlive|ProxyConnection)\b`)
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := name.Find(text); found != nil {
			t.Errorf("%s has %s", file, found)
		}
	}
}
