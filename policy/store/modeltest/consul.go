package modeltest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lictor/policy/store"
)

// Consul is the Consul, of the tests' own or a real one, that things happen to.
// Keys are below policy/.
type Consul interface {
	Put(key, value string)
	Remove(key string)
	RemoveAll(prefix string)
	Value(key string) (value string, there bool)

	// Forget makes Consul lose its memory.
	Forget()

	// SetFault makes every request of the store go to fault, where it returns
	// something; nil = Consul is healthy.
	SetFault(fault Fault)

	// Lose makes Consul do what the next writes ask for, or not, and lose the answer.
	Lose(done bool, times int)

	// Open returns a store on it that keeps its last good policy in data.
	Open(data string, split bool) store.Store

	// Pass lets some time pass, as long as it may be.
	Pass(d time.Duration)

	// Settle returns when the store has seen what there is now, in a time in which
	// Consul is healthy; d is how long that takes at most.
	Settle(s store.Store, d time.Duration)

	// Patience is how long a write may wait to be seen.
	Patience() time.Duration
}

// Fault answers a request in the place of Consul; nil, nil = it does not.
type Fault func(*http.Request) (*http.Response, error)

// Respond makes an answer of Consul; index 0 = it has none.
func Respond(status int, index uint64, body string) *http.Response {
	h := http.Header{}
	if index > 0 {
		h.Set("X-Consul-Index", strconv.FormatUint(index, 10))
	}
	h.Set("X-Consul-Default-Acl-Policy", "allow")
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Header: h, Body: io.NopCloser(strings.NewReader(body)),
	}
}
