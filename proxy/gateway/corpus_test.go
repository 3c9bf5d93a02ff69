package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lictor/internal/eventually"
)

// payload is a message of a corpus; its code points are bytes.
type payload struct {
	ID      string
	Payload string
	Tier    string
}

// corpus reads the payloads in the directory of LICTOR_CORPUS, or of
// shared/corpus beside the checkout. Without one the payloads are those of the
// committed table, so that the test is never empty.
func corpus(t *testing.T) []payload {
	t.Helper()
	dir := os.Getenv("LICTOR_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "corpus")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []payload
	for _, file := range files {
		all = append(all, readCorpus(t, file)...)
	}
	if len(all) == 0 {
		for _, tt := range smuggleCases {
			all = append(all, payload{ID: tt.name, Payload: tt.payload})
		}
	}
	return all
}

func readCorpus(t *testing.T, file string) []payload {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Cases []payload }
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for i := range c.Cases {
		p := &c.Cases[i]
		if p.Tier == "te-line" { // a Transfer-Encoding line only: the body ends in two places if somebody reads it
			p.Payload = "POST {U}/a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 6\r\n" + p.Payload + "\r\n\r\n0\r\n\r\nX"
		}
		p.Payload = strings.NewReplacer("{U}", "/svc", "{H}", "gw.test").Replace(p.Payload)
		p.Payload = latin1(p.Payload)
	}
	return c.Cases
}

// latin1 turns code points into bytes.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// line is what the access log says of a request, as far as a backend can know it.
type line struct {
	ID      string `json:"request_id"`
	Method  string `json:"method"`
	Status  int    `json:"status"`
	BytesIn int    `json:"bytes_in"`
	Service string `json:"service"`
	Path    string `json:"path"`
	Reason  string `json:"reason"`
}

func parseLines(t *testing.T, lines []string) map[string]line {
	t.Helper()
	by := make(map[string]line)
	for _, s := range lines {
		var l line
		if err := json.Unmarshal([]byte(s), &l); err != nil {
			t.Fatalf("log line %q: %v", s, err)
		}
		by[l.ID] = l
	}
	return by
}

// Every payload of the corpus is refused, or the backend reads the requests
// that lictor decided on and no other; and nothing of it is left for the next
// client, whose request goes over the same upstream connection.
func TestCorpus(t *testing.T) {
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(c *Config) { c.AccessLog = book.log })
	rec := r.recorder()
	next := r.dial()
	before := map[string]line{} // what was decided on earlier payloads
	for i, p := range corpus(t) {
		t.Run(p.ID, func(t *testing.T) {
			answers := exchangeAll(t, r, p.Payload)
			marker := "/marker-" + strconv.Itoa(i)
			next.send("GET /svc" + marker + " HTTP/1.1\r\nHost: x\r\n\r\n")
			if resp, body := next.answerOr(t, "GET"); resp.StatusCode != 200 || body != "GET "+marker {
				t.Fatalf("the next client got %d %q", resp.StatusCode, body)
			}
			decided := parseLines(t, book.until(t, 1))
			read := slices.DeleteFunc(rec.take(), func(s seen) bool {
				// The backend may notice late that a body was cut.
				l, known := before[s.id]
				return known && s.broken && l.Status != 200
			})
			at := slices.IndexFunc(read, func(s seen) bool { return s.uri == marker })
			if at < 0 || slices.ContainsFunc(read[at+1:], func(s seen) bool { return !s.broken }) {
				t.Fatalf("the backend saw %v, want the marker behind all that is whole", read)
			}
			maps.Copy(before, decided)
			sameReading(t, decided, slices.Delete(read, at, at+1), answers)
		})
	}
}

// exchangeAll sends s, ends its side and reads what comes. It returns how many
// answers of the backend came.
func exchangeAll(t *testing.T, r *rig, s string) (answers int) {
	t.Helper()
	c := r.dial()
	defer c.Close()
	io.WriteString(c, s) // a refusal may come before its end
	c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	for {
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil {
			return answers
		}
		if resp.StatusCode == 200 {
			answers++
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return answers
		}
	}
}

// sameReading checks that what the backend read is what the log says.
func sameReading(t *testing.T, decided map[string]line, read []seen, answers int) {
	t.Helper()
	whole := 0
	for _, s := range read {
		l, ok := decided[s.id]
		delete(decided, s.id)
		switch {
		case !ok:
			t.Errorf("the backend saw %v, which lictor knows nothing of", s)
		case l.Method != s.method || l.Service != "svc":
			t.Errorf("the backend saw %v, lictor decided on %+v", s, l)
		case s.broken && l.Status == 200:
			t.Errorf("the backend saw %v, lictor took it for whole: %+v", s, l)
		case !s.broken && l.Status == 200 && l.BytesIn != len(s.body):
			t.Errorf("the backend saw %d bytes of body, lictor %d", len(s.body), l.BytesIn)
		case !s.broken:
			whole++
		}
	}
	if answers > whole {
		t.Errorf("%d answers to %d requests", answers, whole)
	}
}

// A body that turns out bad after its request went on is never whole for the
// backend, and its connection is never used again.
func TestBodiesThatTurnBadLater(t *testing.T) {
	tests := []struct {
		name, head, rest, want string
	}{
		{"a bad chunk size", te, "xyz\r\n", "400"},
		{"data that does not end with its chunk", te, "2\r\nabc\r\n", "400"},
		{"a bare LF", te, "2\nab", "400"},
		{"a bad trailer", te, "0\r\nX : y\r\n\r\n", "400"},
		{"trailers without end", te, "0\r\n" + strings.Repeat("X: y\r\n", 12000), "431"},
		{"extensions without end", te, "1;" + strings.Repeat("a", 300) + "\r\n", "400"},
		{"the client leaves in a chunk", te, "5\r\nab", ""},
		{"the client leaves before the end", "Content-Length: 10\r\n", "abc", ""},
	}
	r := newRig(t, nil)
	rec := r.recorder()
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			defer c.Close()
			c.send(post + tt.head + "\r\n")
			eventually.True(t, "the head went on", func() bool { active, _ := r.gw.upstream.Connections("svc"); return active > 0 })
			c.send(tt.rest)
			if tt.want == "" {
				c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				if b, err := io.ReadAll(c.in); len(b) > 0 {
					t.Errorf("got %q %v", b, err)
				}
			} else if resp, body := c.answerOr(t, "POST"); fmt.Sprint(resp.StatusCode) != tt.want || !resp.Close {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			marker := "/after-" + strconv.Itoa(i)
			if _, body := r.get("/svc" + marker); body != "GET "+marker {
				t.Errorf("next: %q", body)
			}
			for _, s := range rec.take() {
				if s.uri != marker && !s.broken {
					t.Errorf("the backend took it for whole: %v", s)
				}
			}
		})
	}
}
