// Package echo is a service to try lictor with: it answers with what it was
// asked. "lictor run -dev" and the demo serve it; nothing else does.
package echo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lictor/internal/pace"
)

// maxBody bounds how much of a request body is repeated.
const maxBody = 1 << 20

// answer is what a request looked like here.
type answer struct {
	Instance string            `json:"instance"`
	Method   string            `json:"method"`
	Host     string            `json:"host"`
	Path     string            `json:"path"`    // as received, with the query
	Headers  map[string]string `json:"headers"` // several of one name with a comma between
	Body     string            `json:"body"`
}

// Handler answers as the instance of that name:
//
//	/slow?seconds=2    late (default 1, at most 60)
//	/stream?events=5   server-sent events, one a second (default 10, at most 3600)
//	anything else      with the request as JSON
func Handler(instance string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			slow(w, r, instance)
		case "/stream":
			stream(w, r, instance)
		default:
			repeat(w, r, instance)
		}
	})
}

func repeat(w http.ResponseWriter, r *http.Request, instance string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	headers := make(map[string]string)
	for name, values := range r.Header {
		headers[name] = strings.Join(values, ", ")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	_ = out.Encode(answer{ // the client may have gone: nobody to tell
		Instance: instance, Method: r.Method, Host: r.Host, Path: r.RequestURI, Headers: headers, Body: string(body),
	})
}

func slow(w http.ResponseWriter, r *http.Request, instance string) {
	if wait(r, time.Duration(number(r, "seconds", 1, 60))*time.Second) {
		repeat(w, r, instance)
	}
}

func stream(w http.ResponseWriter, r *http.Request, instance string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	for i := range number(r, "events", 10, 3600) {
		if i > 0 && !wait(r, time.Second) {
			return
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s at %s\n\n", i+1, instance, time.Now().Format(time.TimeOnly)); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
	}
}

// wait reports whether the client is still there after d.
func wait(r *http.Request, d time.Duration) bool {
	return pace.Sleep(r.Context(), d) == nil
}

// number reads a number of the query, usual if there is none, at most most.
func number(r *http.Request, name string, usual, most int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 0 {
		return usual
	}
	return min(n, most)
}
