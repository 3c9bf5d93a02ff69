// Package redirect is the listener for clients that come by plain HTTP where TLS
// is spoken: it tells them the same URL with https, and nothing else. No request
// that comes here reaches a service.
package redirect

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/internal/uri"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// Name is what the listener is called in logs, metrics and status.
const Name = "redirect"

// Config is what a Server is made of. Log is required.
type Config struct {
	Settings  Settings
	Entrance  *http1.Entrance // what comes before a request; of TLS there is none here. nil: nothing comes
	Log       hclog.Logger
	Metrics   prometheus.Registerer // nil: none are kept
	AccessLog *answer.AccessLog     // nil: none is written

	// Client returns whose request a connection brings, for the log. nil: the socket's
	// peer, as of a request whose head cannot be read.
	Client func(*http1.Conn) netip.Addr

	// Challenge answers GET below /.well-known/acme-challenge/, by which an
	// authority sees that a host is ours (RFC 8555 8.3), and reports whether it
	// did; where not, the request is redirected like any other. It runs in the
	// connection's goroutine, and its request's context ends after 5 s. Of what it
	// answers, 4 KiB are sent at most. nil: nothing is answered there.
	Challenge func(http.ResponseWriter, *http.Request) bool
}

// Settings are what a reload may change.
type Settings struct {
	Port      uint16        // that https is at; 443 is left out of the URL
	Header    time.Duration // to read a request head, and to write an answer
	MaxHeader int           // bytes of a request head
	MaxFields int           // of a request head; 0: message.MaxFields
	Admission http1.Admission
}

func (s *Settings) limits() http1.Limits {
	return http1.Limits{Idle: s.Header, Header: s.Header, Stream: s.Header, Admission: s.Admission, MaxHeader: s.MaxHeader, MaxFields: s.MaxFields}
}

// Server redirects. Any goroutine may call its methods.
type Server struct {
	cfg      Config
	settings atomic.Pointer[Settings]
	server   *http1.Server
	counts   *answer.Counts
	classes  *answer.Classes
}

// New returns a server, which serves once Run is called. An error is one of the
// metrics, or a Config without a Log.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		return nil, errors.New("redirect: Log is required")
	}
	cfg.Entrance = cmp.Or(cfg.Entrance, new(http1.Entrance))
	s := &Server{cfg: cfg}
	s.settings.Store(&cfg.Settings)
	s.server = http1.NewServer(s, cfg.Settings.limits())
	var err error
	if s.counts, err = answer.NewCounts(cfg.Metrics, Name, answer.Detail{}); err != nil {
		return nil, err
	}
	s.classes = s.counts.Service("")
	return s, nil
}

// Update replaces the settings.
func (s *Server) Update(next Settings) {
	s.settings.Store(&next)
	s.server.SetLimits(next.limits())
}

// Run serves l until ctx ends, then closes l and returns when the answers under
// way were sent, within the time for a head. An error is one of l.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		defer crash.Contain("redirect", nil)
		l.Close()
	})
	defer stop()
	err := s.server.Serve(l, s.cfg.Entrance)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.settings.Load().Header)
	defer cancel()
	if s.server.Shutdown(drain) != nil {
		s.cfg.Log.Warn("clients were cut that did not take the answer in time")
	}
	return err
}

// request is one request while it is answered.
type request struct {
	c      *http1.Conn
	client netip.Addr
	began  time.Time
	id     string
}

func begin(c *http1.Conn) *request {
	c.Close() // who follows the answer needs another connection anyway
	return &request{c: c, client: c.RemoteAddr().Addr(), began: time.Now(), id: string(answer.AppendHex(nil, rand.Uint64(), rand.Uint64()))}
}

// Done implements [http1.Handler]: Serve leaves nothing to be done.
func (s *Server) Done(*http1.Conn) {}

// Serve implements [http1.Handler].
func (s *Server) Serve(c *http1.Conn) {
	x := begin(c)
	if s.cfg.Client != nil {
		x.client = s.cfg.Client(c)
	}
	c.SettleBody()
	if s.challenge(x) {
		return
	}
	to, err := target(c.Request(), s.settings.Load().Port)
	if err != nil {
		s.refuse(x, refuseTarget.Because(err))
		return
	}
	head := message.AppendStatusLine(c.Scratch(), http.StatusPermanentRedirect)
	s.answer(x, http.StatusPermanentRedirect, answer.Refusal{}, message.AppendLength(message.AppendField(head, "Location", to), 0), nil)
}

var refuseTarget = answer.Refusal{Status: 400, Reason: answer.BadRequest, Message: "There is no https URL that says the same"}

// target is the URL that says the same by https. Only a host and a path that can
// be read in one way become part of it: a name that ends early for one reader and
// late for another one would send clients to somebody else.
func target(req *message.RequestHead, port uint16) (string, error) {
	host, _, _, err := uri.Host(req.Host, nil)
	if err == nil && host == "" {
		err = uri.ErrBadHost
	}
	if err != nil {
		return "", err
	}
	path := req.OriginForm()
	if _, _, err = uri.ParsePath(path, nil); err != nil {
		return "", err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != 443 {
		host += ":" + strconv.Itoa(int(port))
	}
	return "https://" + host + path, nil
}

// Refuse implements [http1.Handler].
func (s *Server) Refuse(c *http1.Conn, err *message.ParseError) {
	s.refuse(begin(c), answer.Malformed(err))
}

func (s *Server) refuse(x *request, r answer.Refusal) {
	head, body := r.Append(x.c.Scratch(), x.id, answer.Form{})
	s.answer(x, r.Status, r, head, body)
}

// answer sends an answer, counts and logs it.
func (s *Server) answer(x *request, status int, r answer.Refusal, head, body []byte) {
	sent, err := answer.Send(x.c, head, body)
	s.counts.Count(s.classes, answer.About{}, status, r.Reason)
	if err == nil {
		err = r.Err
	}
	req := x.c.Request()
	path, _, _ := strings.Cut(req.Target, "?")
	s.cfg.AccessLog.Write(&answer.Line{
		Listener: Name, Began: x.began, Took: time.Since(x.began), ID: x.id, Client: x.client,
		Method: req.Method, Host: req.Host, Path: path, Version: x.c.Version(),
		Status: status, Reason: r.Reason, Out: sent, Err: err,
	})
}

// Lasting implements [http1.Handler]. Nothing lasts here.
func (s *Server) Lasting(*http1.Conn) {}

// KeepTrailer implements [http1.Handler].
func (s *Server) KeepTrailer(*http1.Conn, *message.Field, bool) bool { return false }
