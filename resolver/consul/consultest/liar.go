// Package consultest is a Consul that lies, for tests: what an agent that is
// broken, overtaken or not Consul at all may answer.
package consultest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The one service that a Liar knows while it tells the truth.
const (
	Service = "shop"
	Address = "127.0.0.1:9"
)

// Liar answers as an agent does that knows one service, until it is told to lie.
// It implements [http.Handler].
type Liar struct {
	mu    sync.Mutex // guards what follows
	index uint64
	lie   http.HandlerFunc // nil: the truth
	woken chan struct{}    // closed when the lie changes
	told  int              // answers that were lies
	names []string         // further services, without instances
}

// New returns a Liar that tells the truth.
func New() *Liar { return &Liar{index: 100, woken: make(chan struct{})} }

// Tell has every query answered by lie from now on, those that wait as well;
// nil is the truth.
func (l *Liar) Tell(lie http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie, l.told = lie, 0
	l.index++
	close(l.woken)
	l.woken = make(chan struct{})
}

// Register makes a further service known.
func (l *Liar) Register(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
	l.index++
	close(l.woken)
	l.woken = make(chan struct{})
}

// Told returns how many answers were lies since the last Tell.
func (l *Liar) Told() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

func (l *Liar) count() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told++
}

// ServeHTTP implements [http.Handler].
func (l *Liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for {
		l.mu.Lock()
		lie, index, names, woken := l.lie, l.index, l.names, l.woken
		l.mu.Unlock()
		if lie != nil {
			defer l.count()
			lie(w, r)
			return
		}
		asked, _ := strconv.ParseUint(r.FormValue("index"), 10, 64)
		wait, _ := time.ParseDuration(r.FormValue("wait"))
		if asked == 0 || asked < index || wait == 0 {
			truth(w, r, index, names)
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(wait):
			truth(w, r, index, names)
			return
		case <-woken:
		}
	}
}

// entry is one element of a health answer.
func entry(node, id, service, host, port string) string {
	return fmt.Sprintf(`{"Node":{"Node":%q,"Address":"127.0.0.1"},"Service":{"ID":%q,"Service":%q,"Address":%s,"Port":%s,"Weights":{"Passing":1,"Warning":1}},`+
		`"Checks":[{"CheckID":"serfHealth","Status":"passing","Output":"alive"}]}`, node, id, service, host, port)
}

var honest = entry("n", "a", Service, `"127.0.0.1"`, "9")

func truth(w http.ResponseWriter, r *http.Request, index uint64, names []string) {
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	filter := r.FormValue("filter")
	switch path := r.URL.Path; {
	case path == "/v1/status/leader":
		fmt.Fprint(w, `"127.0.0.1:8300"`)
	case path == "/v1/catalog/services" && (filter == "" || filter == `ServiceKind == ""`):
		fmt.Fprintf(w, `{%q:[],"consul":[]`, Service)
		for _, name := range names {
			fmt.Fprintf(w, `,%q:[]`, name)
		}
		fmt.Fprint(w, "}")
	case path == "/v1/catalog/services":
		fmt.Fprint(w, `{}`)
	case path == "/v1/health/service/"+Service:
		fmt.Fprint(w, "["+honest+"]")
	case strings.HasPrefix(path, "/v1/kv/"):
		w.WriteHeader(http.StatusNotFound)
	default:
		fmt.Fprint(w, `[]`)
	}
}
