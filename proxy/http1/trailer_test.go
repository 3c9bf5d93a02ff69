package http1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// What a Connection field lists is between two neighbours, in the trailers as in the head
// (RFC 9110 7.6.1), whether they come at once or when the answer has moved.
func TestTrailersThatConnectionListsDoNotPass(t *testing.T) {
	for _, moves := range []bool{false, true} {
		t.Run(fmt.Sprintf("an answer that moves: %t", moves), func(t *testing.T) {
			more := make(chan struct{})
			seen := make(chan http.Header, 1)
			_, c := restless(t, func(c net.Conn, in *bufio.Reader) {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				seen <- req.Trailer
				io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-near\r\n\r\n2\r\nok\r\n")
				if moves {
					<-more
				}
				io.WriteString(c, "0\r\nX_Near: 1\r\nX-Far: 1\r\n\r\n")
			})
			io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x-near\r\n\r\n1\r\nx\r\n0\r\nX-Near: 1\r\nX-Far: 1\r\n\r\n")
			if got := <-seen; len(got) != 1 || got.Get("X-Far") != "1" {
				t.Errorf("the upstream got %v, want X-Far alone", got)
			}
			if moves {
				moved(t)
				close(more)
			}
			text, _ := io.ReadAll(io.LimitReader(c, int64(len("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Far: 1\r\n\r\n"))))
			if !strings.HasSuffix(string(text), "ok\r\n0\r\nX-Far: 1\r\n\r\n") {
				t.Errorf("the client got %q, want X-Far alone", text)
			}
		})
	}
}
