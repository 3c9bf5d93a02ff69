package answer

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/policy"
)

// Buckets are those of durations of requests, in seconds.
var Buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// Counts are the requests of one listener and what became of them (contract 6).
// Labels have bounded values: services that exist, reasons, status classes.
type Counts struct {
	requests *prometheus.CounterVec
	denied   *prometheus.CounterVec
	listener string
}

// NewCounts makes the counts of a listener and registers them with r, unless
// that is nil. Listeners share their series: the second finds those of the first.
func NewCounts(r prometheus.Registerer, listener string) (*Counts, error) {
	c := &Counts{listener: listener}
	c.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_requests_total", Help: "Requests answered, by status class."}, []string{"listener", "service", "code"})
	c.denied = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lictor_denied_total", Help: "Requests that lictor refused."}, []string{"listener", "reason", "mode"})
	if r == nil {
		return c, nil
	}
	var err error
	if c.requests, err = shared(r, c.requests); err != nil {
		return nil, err
	}
	c.denied, err = shared(r, c.denied)
	return c, err
}

// shared registers v, or returns the one of the same name that another listener
// has registered before.
func shared(r prometheus.Registerer, v *prometheus.CounterVec) (*prometheus.CounterVec, error) {
	err := r.Register(v)
	if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if there, ok := twice.ExistingCollector.(*prometheus.CounterVec); ok {
			return there, nil
		}
	}
	return v, err
}

// Classes counts requests of one service by status class; 0 where no answer was sent.
type Classes [6]prometheus.Counter

var classNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Service returns the counters of a service, "" for requests that belong to none.
// They are looked up once and kept, so that counting is an atomic add.
func (c *Counts) Service(name string) Classes {
	return ClassesOf(c.requests, c.listener, name)
}

// ClassesOf returns the counters in v of the labels, of which the status class is
// the last.
func ClassesOf(v *prometheus.CounterVec, labels ...string) (of Classes) {
	for i, class := range classNames {
		of[i] = v.WithLabelValues(append(labels[:len(labels):len(labels)], class)...)
	}
	return of
}

// Count counts an answer of the status, or none where r says that nobody was there
// to be answered.
func (of *Classes) Count(status int, r Reason) {
	class := status / 100
	if r == ClientLeft || class < 1 || class > 5 {
		class = 0
	}
	of[class].Inc()
}

// Forget drops the counters of a service that is gone.
func (c *Counts) Forget(name string) {
	c.requests.DeletePartialMatch(prometheus.Labels{"service": name})
}

// Count counts a request that is over, and why it was refused, if it was.
func (c *Counts) Count(of *Classes, status int, r Reason) {
	of.Count(status, r)
	if r != ReasonNone && r != ClientLeft {
		c.denied.WithLabelValues(c.listener, string(r), "enforce").Inc()
	}
}

// Would counts what a rule in report mode would have refused (X13).
func (c *Counts) Would(r policy.Reason) {
	c.denied.WithLabelValues(c.listener, string(r), "report").Inc()
}
