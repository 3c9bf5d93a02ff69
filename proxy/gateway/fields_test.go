package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"lictor/resolver"
)

// A request may have as many fields as the settings say, and lictor adds its own: whatever
// the instance speaks, and however the body comes.
func TestAsManyFieldsAsMayBePassToEveryInstance(t *testing.T) {
	const most = 1000
	fields := strings.Repeat("X-Many: 1\r\n", most-3)
	for _, protocol := range []resolver.Protocol{resolver.HTTP1, resolver.H2C} {
		for name, size := range map[string]int{"no body": 0, "a body with the head": 2, "a body that comes later": 100_000} {
			t.Run(fmt.Sprint(protocol, ", ", name), func(t *testing.T) {
				r := newRig(t, func(s *Settings) { s.MaxFields = most })
				r.h2cBackend(protocol, func(w http.ResponseWriter, q *http.Request) {
					n, _ := io.Copy(io.Discard, q.Body)
					fmt.Fprint(w, len(q.Header["X-Many"]), " ", n)
				})
				c := r.dial()
				c.send(fmt.Sprintf("POST /svc/ HTTP/1.1\r\nHost: gw.test\r\n%sContent-Length: %d\r\n\r\n", fields, size) + strings.Repeat("x", size))
				if resp, body := c.answer("POST"); resp.StatusCode != 200 || body != fmt.Sprint(most-3, " ", size) {
					t.Errorf("got %d %q, want %d fields and %d bytes", resp.StatusCode, body, most-3, size)
				}
				if n := r.ejectedCount(); n != 0 {
					t.Errorf("%d are ejected", n)
				}
			})
		}
	}
}
