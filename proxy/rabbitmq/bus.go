// Package rabbitmq carries requests to workers behind a RabbitMQ broker and
// their answers back (D11-D17).
//
// [Bus.Call] publishes one request and waits for its answer. It never waits
// longer than the request's time limit, whatever the broker, the network or
// the client library does: no goroutine of a request ever calls into the
// library, and every library call that could block for ever is watched by a
// timer that closes the TCP connection under it.
//
// Three rules keep requests apart:
//
//   - Answers come in on a channel of their own, on which nothing is published.
//   - Every exchange has a publish channel of its own (a lane), so that what the
//     broker thinks of one exchange never costs a request of another its answer.
//   - Answers, returned messages and failures find their request by correlation
//     id or by its place in the lane, never by the order of arrival.
//
// The package knows nothing of HTTP's wire: it takes and gives fields and bytes.
package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/internal/secret"
)

// Config is what a [Bus] needs. URL and Log are required.
type Config struct {
	URL          string        // amqp:// or amqps://, with user, password and virtual host
	Timeout      time.Duration // of a request without a deadline of its own; 0 = 15 s
	MaxBody      int           // bytes of a request body; 0 = 8 MiB
	MaxInFlight  int           // requests that may wait for answers at once; 0 = 10,000
	MaxReply     int           // bytes of a reply's body; 0 = 8 MiB
	MaxExchanges int           // exchanges that are remembered, the absent ones too; 0 = 1,024
	Log          hclog.Logger

	url secret.Text // what URL was: check moves it here
}

// Request is one request for the bus. Call copies its strings; Body must not
// be changed after Call was called, not even when it has returned.
type Request struct {
	Exchange string    // first path segment
	Method   string    // HTTP method
	Path     string    // the path behind the first segment, undecoded: "/bar/baz"
	Query    string    // without "?"
	Fields   []Field   // in order, hop-by-hop ones already meaningless here and dropped
	Body     []byte    // the whole body
	Deadline time.Time // zero = now + Config.Timeout
}

// Field is one header field.
type Field struct{ Name, Value string }

// Reply is a worker's answer.
type Reply struct {
	Status int     // 200..599
	Fields []Field // sorted by name; Content-Type among them, Content-Length never
	Body   []byte
}

// Error is a request that got no answer, in the terms of X4 and X5.
type Error struct {
	Status     int
	Reason     string
	RetryAfter bool   // no worker can have seen the request, so it may be repeated
	Err        error  // for the log
	Message    string // for the client, where the reason alone would not say what is true; else ""
}

// Error returns the reason and its cause.
func (e *Error) Error() string { return e.Reason + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func unreachable(err error) *Error {
	return &Error{Status: 503, Reason: "unreachable", RetryAfter: true, Err: err}
}
func timedOut(err error) *Error  { return &Error{Status: 504, Reason: "timeout", Err: err} }
func replyLost(err error) *Error { return &Error{Status: 502, Reason: "reply_lost", Err: err} }

// overloaded refuses a request for want of room; text is for log and client.
func overloaded(text string) *Error {
	return &Error{Status: 503, Reason: "overloaded", RetryAfter: true, Err: errors.New(text), Message: strings.ToUpper(text[:1]) + text[1:]}
}

func tooLarge(err error) *Error { return &Error{Status: 413, Reason: "body_too_large", Err: err} }

// patience is how long the broker may take for one step of the protocol
// before the connection is given up.
const patience = 5 * time.Second

var (
	errNotConnected = errors.New("not connected to the broker")
	errBlocked      = errors.New("the broker accepts no messages (connection.blocked)")
	errNoAnswer     = errors.New("no answer in time")
)

// Bus is the connection to one broker. Run keeps it up; Call may be used from
// any number of goroutines, at any time.
type Bus struct {
	cfg   atomic.Pointer[Config]
	renew chan struct{} // tells Run of another cfg
	log   hclog.Logger
	stats counters

	link    atomic.Pointer[link]    // nil while there is no connection
	mu      sync.Mutex              // guards newest and changes of link
	newest  int                     // number of the newest keeper whose link was in use
	attempt atomic.Pointer[attempt] // the newest; nil before the first
	tried   chan struct{}           // closed when the first attempt to connect is over
	once    sync.Once               // closes tried

	suspicions   suspicions
	channelLimit atomic.Int32 // channels that the user may have, as far as the broker told; 0 = not known
}

// New checks cfg and returns a Bus that is not connected yet.
func New(cfg Config) (*Bus, error) {
	if cfg.Log == nil {
		return nil, errors.New("rabbitmq: Log is required")
	}
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	b := &Bus{renew: make(chan struct{}, 1), log: cfg.Log, tried: make(chan struct{})}
	b.cfg.Store(checked)
	return b, nil
}

// check returns cfg with its defaults filled in.
func (cfg Config) check() (*Config, error) {
	if _, err := amqp.ParseURI(cfg.URL); err != nil {
		// The text of the cause may contain the URL, and that the password.
		return nil, errors.New("rabbitmq: URL is not a valid amqp:// or amqps:// URL")
	}
	if cfg.Timeout < 0 || cfg.MaxBody < 0 || cfg.MaxReply < 0 || cfg.MaxInFlight < 0 || cfg.MaxExchanges < 0 {
		return nil, errors.New("rabbitmq: Timeout, MaxBody, MaxReply, MaxInFlight and MaxExchanges must not be negative")
	}
	cfg.url, cfg.URL = secret.New(cfg.URL), ""
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 8<<20)
	cfg.MaxReply = cmp.Or(cfg.MaxReply, 8<<20)
	cfg.MaxInFlight = cmp.Or(cfg.MaxInFlight, 10_000)
	cfg.MaxExchanges = cmp.Or(cfg.MaxExchanges, 1024)
	return &cfg, nil
}

// address is the broker's host:port; the URL was checked.
func (cfg *Config) address() string {
	uri, _ := amqp.ParseURI(cfg.url.Reveal())
	return net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
}

func (b *Bus) config() *Config { return b.cfg.Load() }

// Prepare checks another configuration; put replaces it, but for its Log. Requests that
// wait keep the connection they are on: with another URL the new connection is made
// first, and the old one ends once nobody waits on it.
func (b *Bus) Prepare(cfg Config) (put func(), err error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return func() {
		b.cfg.Store(checked)
		b.suspicions.forget()
		b.channelLimit.Store(0)
		select {
		case b.renew <- struct{}{}:
		default: // Run will look anyway
		}
	}, nil
}

// Address returns the broker's host:port.
func (b *Bus) Address() string { return b.config().address() }

// Tried is closed when the first attempt to connect is over, however it went.
func (b *Bus) Tried() <-chan struct{} { return b.tried }

// limits are timers that do not run.
var limits = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// Call sends r to its exchange and returns the answer. Its error is an
// [*Error], or ctx's own if the caller went away. It keeps neither ctx nor r, but for
// the body.
func (b *Bus) Call(ctx context.Context, r *Request) (*Reply, error) {
	if r.Exchange == "" || strings.HasPrefix(r.Exchange, "amq.") {
		return nil, &Error{Status: 404, Reason: "no_service", Err: fmt.Errorf("the exchange %q is the broker's own", r.Exchange)}
	}
	cfg := b.config()
	if len(r.Body) > cfg.MaxBody {
		return nil, tooLarge(fmt.Errorf("the body has %d bytes, at most %d are carried", len(r.Body), cfg.MaxBody))
	}
	now := time.Now()
	c, failure := newCall(r, now)
	if failure != nil {
		return nil, failure
	}
	c.deadline = r.Deadline
	if c.deadline.IsZero() {
		c.deadline = now.Add(cfg.Timeout)
	}
	l := b.link.Load()
	if l == nil {
		l = b.await(ctx, c.deadline)
	}
	if l == nil {
		err := unreachable(errNotConnected)
		b.stats.count(err)
		return nil, err
	}
	limit := limits.Get().(*time.Timer)
	limit.Reset(time.Until(c.deadline))
	d, err := l.call(ctx, c, limit.C)
	limit.Stop() // after which no time of the past is in it
	limits.Put(limit)
	b.stats.count(err)
	if err != nil {
		return nil, err
	}
	return decodeReply(d)
}
