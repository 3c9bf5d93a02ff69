package message

import (
	"net/http"
	"testing"
)

func TestStatusLinesReadAsNetHTTPNamesThem(t *testing.T) {
	renamed := map[int]string{413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"} // by RFC 9110
	for status := 100; status < 600; status++ {
		reason := http.StatusText(status)
		if r := renamed[status]; r != "" {
			reason = r
		}
		line := string(AppendStatusLine(nil, status))
		if got := line[len("HTTP/1.1 200 "):]; got != reason+"\r\n" {
			t.Errorf("%d: got %q, want %q", status, line, reason)
		}
		var h ResponseHead
		if err := h.Parse([]byte(line+"\r\n"), "GET"); err != nil || h.Status != status {
			t.Errorf("%q reads as %d, %v", line, h.Status, err)
		}
	}
	if got := string(AppendStatusLine(nil, 799)); got != "HTTP/1.1 799 \r\n" {
		t.Errorf("got %q, want a status line without a reason", got)
	}
}

func TestNoDataIsNoChunk(t *testing.T) {
	if got := string(AppendChunk([]byte("x"), nil)); got != "x" {
		t.Errorf("got %q: an empty chunk would end the body", got)
	}
}

func TestWrittenMessagesReadBack(t *testing.T) {
	b := AppendStatusLine(nil, 200)
	b = AppendField(b, "Transfer-Encoding", "chunked")
	b = AppendField(b, "X-Empty", "")
	b = append(b, "\r\n"...)
	b = AppendChunk(b, []byte("hello, chunked world"))
	b = AppendLastChunk(b, []Field{{Name: "X-Sum", Value: "1"}})
	if got, want := readResponse(string(b), "GET"), `200 X-Empty="" chunked "hello, chunked world" X-Sum="1"`; got != want {
		t.Errorf("%q\n got %s\nwant %s", b, got, want)
	}
}
