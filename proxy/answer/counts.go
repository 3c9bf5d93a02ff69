package answer

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/policy"
)

// Buckets are those of durations of requests, in seconds.
var Buckets = [...]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// Counts are the requests of one listener and what became of them (contract 6).
// Labels have bounded values: services that exist, APIs that are known, reasons,
// status classes; consumers up to a number.
type Counts struct {
	requests  *Rows[Classes]
	denied    *prometheus.CounterVec
	responses *prometheus.CounterVec // by exact status; nil unless wanted
	byWhom    *prometheus.CounterVec // by consumer; nil unless wanted
	apis      names
	consumers names
	listener  string
}

// Detail is what is counted besides. Its zero value is nothing.
type Detail struct {
	Codes     bool // answers by their exact status
	Consumers int  // requests by consumer, of so many; the others are one
}

// About says whose a request was, for the counts. Its strings may be parts of the
// request, but for Service.
type About struct {
	Service  string // a name that exists, or ""
	API      string // a name that the policy or a resolver knows, or ""
	Consumer string // "" = nobody who is known
}

// NewCounts makes the counts of a listener and registers them with r, unless
// that is nil. Listeners share their series: the second finds those of the first.
func NewCounts(r prometheus.Registerer, listener string, more Detail) (*Counts, error) {
	c := &Counts{listener: listener, apis: names{most: maxAPIs}, consumers: names{most: more.Consumers}}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"listener"}, labels...))
	}
	c.requests = NewClasses("lictor_requests_total", "Requests answered, by status class.", "listener", "service")
	c.denied = vec("lictor_denied_total", "Requests that lictor refused.", "service", "api", "reason", "mode")
	all := []**prometheus.CounterVec{&c.denied}
	if more.Codes {
		c.responses = vec("lictor_responses_total", "Requests answered, by status.", "service", "code")
		all = append(all, &c.responses)
	}
	if more.Consumers > 0 {
		c.byWhom = vec("lictor_consumer_requests_total", "Requests of consumers, by status class and why they were refused.", "consumer", "code", "reason")
		all = append(all, &c.byWhom)
	}
	if r == nil {
		return c, nil
	}
	for _, v := range all {
		if err := share(r, v); err != nil {
			return nil, err
		}
	}
	return c, share(r, &c.requests)
}

// share registers v, or makes it the one of the same name that another listener has
// registered before.
func share[C prometheus.Collector](r prometheus.Registerer, v *C) error {
	err := r.Register(*v)
	if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if there, ok := twice.ExistingCollector.(C); ok {
			*v = there
			return nil
		}
	}
	return err
}

// Classes counts requests of one service by status class; 0 where no answer was sent.
type Classes [6]atomic.Uint64

var classNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Service returns the counters of a service, "" for requests that belong to none.
// They are looked up once and kept, so that counting is an atomic add.
func (c *Counts) Service(name string) *Classes { return c.requests.Of(c.listener, name) }

// Count counts an answer of the status, or none where r says that nobody was there
// to be answered.
func (of *Classes) Count(status int, r Reason) { of[class(status, r)].Add(1) }

func class(status int, r Reason) int {
	class := status / 100
	if r == ClientLeft || class < 1 || class > 5 {
		return 0
	}
	return class
}

// Forget drops the counters of a service that is gone.
func (c *Counts) Forget(name string) {
	c.requests.Forget(name)
	for _, v := range []*prometheus.CounterVec{c.denied, c.responses} {
		if v != nil {
			v.DeletePartialMatch(prometheus.Labels{"service": name})
		}
	}
}

// Count counts a request that is over, whose it was, and why it was refused, if it
// was.
func (c *Counts) Count(of *Classes, about About, status int, r Reason) {
	of.Count(status, r)
	if r != ReasonNone && r != ClientLeft {
		c.refused(about, string(r), "enforce")
	}
	if c.responses != nil {
		c.responses.WithLabelValues(c.listener, about.Service, code(status, r)).Inc()
	}
	if c.byWhom != nil && about.Consumer != "" {
		c.byWhom.WithLabelValues(c.listener, c.consumers.label(about.Consumer), classNames[class(status, r)], string(r)).Inc()
	}
}

// Would counts what a rule in report mode would have refused (X13).
func (c *Counts) Would(about About, r policy.Reason) { c.refused(about, string(r), "report") }

func (c *Counts) refused(about About, reason, mode string) {
	c.denied.WithLabelValues(c.listener, about.Service, c.apis.label(about.API), reason, mode).Inc()
}

// code is the exact status of an answer as a label.
func code(status int, r Reason) string {
	if class(status, r) == 0 {
		return classNames[0]
	}
	return codes[status-100]
}

// codes are the texts of 100 to 599.
var codes = func() (all [500]string) {
	for i := range all {
		all[i] = strconv.Itoa(100 + i)
	}
	return all
}()

// maxAPIs is how many APIs refusals are told apart by.
const maxAPIs = 4096

// overflow is the label of all names past a bound.
const overflow = "other"

// names keeps those that became labels, so that their number is bounded and none of
// them is a part of a request.
type names struct {
	most int

	mu    sync.RWMutex // guards known
	known map[string]string
}

// label returns the label of a name: itself, or overflow where there are as many.
func (n *names) label(name string) string {
	if name == "" {
		return ""
	}
	n.mu.RLock()
	own, ok := n.known[name]
	full := len(n.known) >= n.most
	n.mu.RUnlock()
	switch {
	case ok:
		return own
	case full:
		return overflow
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if own, ok := n.known[name]; ok {
		return own
	}
	if len(n.known) >= n.most {
		return overflow
	}
	if n.known == nil {
		n.known = make(map[string]string)
	}
	own = strings.Clone(name)
	n.known[own] = own
	return own
}
