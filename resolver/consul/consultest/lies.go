package consultest

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// Lie is a kind of answer that no Consul should give.
type Lie struct {
	Name   string
	Answer http.HandlerFunc
}

// Lies returns all of them. Each call returns new ones, for some remember.
func Lies() []Lie {
	var count atomic.Uint64
	lies := []Lie{
		{"nothing at all, the connection ends", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"the connection ends in the middle", func(w http.ResponseWriter, _ *http.Request) {
			head(w, 900)
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `[{"Node"`) // the peer may be gone
			panic(http.ErrAbortHandler)
		}},
		{"an endless list", func(w http.ResponseWriter, r *http.Request) {
			head(w, 900)
			endless(w, r, "[", strings.Repeat(honest+",", 100))
		}},
		{"an endless list of nothing", func(w http.ResponseWriter, r *http.Request) {
			head(w, 900)
			endless(w, r, "[", strings.Repeat("{},", 1000))
		}},
		{"an endless object", func(w http.ResponseWriter, r *http.Request) {
			head(w, 900)
			endless(w, r, "{", strings.Repeat(`"a":[],`, 1000))
		}},
		{"an endless string", func(w http.ResponseWriter, r *http.Request) {
			head(w, 900)
			endless(w, r, `"`, strings.Repeat("x", 4096))
		}},
		{"an endless error", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			endless(w, r, "", strings.Repeat("x", 4096))
		}},
		{"an endless refusal", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			endless(w, r, "", strings.Repeat("x", 4096))
		}},
		{"an enormous head", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set("X-"+strconv.Itoa(i), strings.Repeat("x", 1000))
			}
			head(w, 900)
		}},
		{"very deep nesting", body(900, strings.Repeat("[", 1<<20))},
		{"deep objects in an element", body(900, "["+strings.Repeat(`{"Service":`, 100_000)+strings.Repeat("}", 100_000)+"]")},
		{"the same index at once", body(900, "[]")},
		{"the largest index", body(math.MaxUint64, "["+honest+"]")},
		{"an index that falls", func(w http.ResponseWriter, r *http.Request) { body(1<<40-count.Add(1), "["+honest+"]")(w, r) }},
		{"an index that jumps", func(w http.ResponseWriter, r *http.Request) {
			n := count.Add(1)
			body([]uint64{1, 1 << 50, 0, n, math.MaxUint64}[n%5], "["+honest+"]")(w, r)
		}},
		{"an index of 0", body(0, "["+honest+"]")},
		{"no index", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "["+honest+"]") }},
		{"an index that is no number", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "many")
			fmt.Fprint(w, "["+honest+"]")
		}},
		{"the same instance many times", body(900, "["+strings.TrimSuffix(strings.Repeat(honest+",", 5000), ",")+"]")},
		{"instances of other services", body(900, "["+entry("n", "b", "Shop", `"10.9.9.9"`, "80")+","+entry("n", "c", "", `"10.9.9.9"`, "80")+","+entry("n", "d", "consul", `"10.9.9.9"`, "80")+"]")},
		{"addresses that are none", body(900, "["+entry("n", "b", Service, `"http://10.9.9.9"`, "80")+","+entry("n", "c", Service, `"10.9.9.9:80"`, "80")+","+
			entry("n", "d", Service, `"0.0.0.0"`, "80")+","+entry("n", "e", Service, `"10.9.9.9"`, "0")+","+entry("n", "f", Service, `"10.9.9.9"`, "-1")+"]")},
		{"a port beyond all numbers", body(900, "["+entry("n", "b", Service, `"10.9.9.9"`, "99999999999999999999999")+"]")},
		{"numbers where texts belong", body(900, "["+entry("n", "b", Service, "7", "80")+"]")},
		{"texts where numbers belong", body(900, "["+entry("n", "b", Service, `"10.9.9.9"`, `"80"`)+"]")},
		{"null", body(900, "null")},
		{"nulls", body(900, `[null,null,{"Node":null,"Service":null,"Checks":null},{"Service":{"Service":"shop","Weights":null,"Meta":null}}]`)},
		{"a list where an object belongs, and the other way round", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/catalog/services" {
				body(900, `["shop"]`)(w, r)
			} else {
				body(900, `{"shop":[]}`)(w, r)
			}
		}},
		{"half of an answer", body(900, "["+honest[:len(honest)/2])},
		{"two answers", body(900, "["+honest+"]["+honest+"]")},
		{"a web page", body(900, "<!doctype html><title>It works!</title>")},
		{"a byte order mark and rubbish", body(900, "\xef\xbb\xbf\x00\xff\xfe")},
		{"nothing in the body", body(900, "")},
		{"all empty", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/catalog/services" {
				body(900, "{}")(w, r)
			} else {
				body(900, "[]")(w, r)
			}
		}},
		{"too many services", func(w http.ResponseWriter, r *http.Request) {
			head(w, 900)
			text := []byte("{")
			for i := range 300_000 {
				text = strconv.AppendInt(append(text, '"'), int64(i), 10)
				text = append(text, `":[],`...)
			}
			_, _ = w.Write(append(text, `"z":[]}`...)) // the peer may be gone
		}},
	}
	for _, status := range []int{204, 301, 302, 307, 308, 400, 403, 404, 429, 500, 503} {
		lies = append(lies, Lie{fmt.Sprintf("the status %d", status), func(w http.ResponseWriter, _ *http.Request) {
			head(w, 900)
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(status)
		}})
	}
	return lies
}

func head(w http.ResponseWriter, index uint64) {
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	w.Header().Set("Content-Type", "application/json")
}

func body(index uint64, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		head(w, index)
		_, _ = io.WriteString(w, text) // the peer may be gone
	}
}

// endless writes first, and then more until the peer has had enough.
func endless(w http.ResponseWriter, r *http.Request, first, more string) {
	_, err := io.WriteString(w, first)
	for err == nil && r.Context().Err() == nil {
		_, err = io.WriteString(w, more)
	}
}
