// Package admin serves the listener for operators: health, status, metrics,
// and whatever [Route]s it is given.
//
// Every request needs the token, except to routes that say otherwise (X8).
// Every error is JSON (X5). It is not the data plane: it stands on net/http,
// with tight limits.
package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lictor/admin/api"
	"lictor/admin/openapi"
	"lictor/internal/crash"
	"lictor/policy/store"
	"lictor/resolver"
)

// maxBody bounds the body of a request to a route that does not say otherwise.
const maxBody = 1 << 20

// Config is what [New] needs. Its functions are called by any goroutine, and must
// not block.
type Config struct {
	Log      hclog.Logger         // required
	Registry *prometheus.Registry // required; what /metrics shows
	Access   []Access             // tokens, of which a request must carry one; none = no token is needed, and browsers are kept out instead
	Header   string               // the header field that carries the token; "" = X-Admin-Token
	Sources  []resolver.Source    // in the order in which the gateway asks them
	Checks   []Check              // of /readyz, besides the one of the sources
	Closed   func() []string      // parts that refuse everything, and why, for /readyz to tell; nil = none
	Describe []func(*api.Status)  // each fills in its part of /status
	Routes   []Route              // besides those of this package
}

// Server answers on the admin listener. [New] makes one. Any goroutine may call its
// methods.
type Server struct {
	cfg    Config
	guard  *guard
	router router
	form   string // of the forms of who is not signed in, or needs not to be

	sessions sessions
	began    time.Time

	paths    []openapi.Path
	document func() []byte // OpenAPI
}

// pauses adds how long the garbage collector stopped all goroutines, as a histogram.
var pauses = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/sched/pauses/total/gc:seconds$`)}

// New returns a server and registers its metrics. An error is a Config that is not
// whole, or a metric that is registered already.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Registry == nil {
		return nil, errors.New("admin: Log and Registry are required")
	}
	s := &Server{cfg: cfg, began: time.Now(), form: newSecret()}
	var err error
	if s.guard, err = newGuard(cfg.Header, cfg.Access, s.tellToken); err != nil {
		return nil, err
	}
	s.cfg.Checks = append(slices.Clone(cfg.Checks), Check{Name: "resolver", Ready: s.resolverReady})
	routes := append(s.routes(), cfg.Routes...)
	s.router = newRouter(routes)
	s.describe(routes)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(pauses)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&sourceCollector{sources: cfg.Sources, began: s.began},
		limitsHit,
		panics,
	} {
		if err := cfg.Registry.Register(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// PrepareAccess reads other tokens; put has requests carry them. It is not for a server
// without any, nor for taking all away: both would change who is let in at all. It
// panics then. An error is a token file that cannot be read.
func (s *Server) PrepareAccess(all []Access) (put func(), err error) {
	if !s.guard.needed || len(all) == 0 {
		panic("admin: tokens cannot be given or taken away while a server runs")
	}
	return s.guard.prepare(all)
}

// tellToken logs that a token file is another one.
func (s *Server) tellToken(a *Access, err error) {
	if err != nil {
		s.cfg.Log.Error("the token of an access cannot be read, so it lets nobody in", "access", a.Name, "error", err)
		return
	}
	s.cfg.Log.Info("the token of an access is another one", "access", a.Name)
}

// Run serves ln until ctx ends, then closes it, waits for the requests that are
// under way, 3 s at most, and returns nil. An error is one of ln.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	conns := bounded(ln, s.cfg.Log)
	server := &http.Server{
		Handler:           conns.counted(s),
		ConnState:         conns.changed,
		ConnContext:       conns.context,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		// OPTIONS * is a request like others: net/http would answer it by itself.
		DisableGeneralOptionsHandler: true,

		ErrorLog: s.cfg.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	drained := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(drained)
		limit, done := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer done()
		if server.Shutdown(limit) != nil {
			server.Close()
		}
	})
	err := server.Serve(conns)
	if cancel() { // it did not end because of ctx
		return err
	}
	<-drained
	return nil
}

// ServeHTTP implements [http.Handler]: it checks the token, finds the route and logs
// the outcome. A panic of a handler ends the connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	out := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	id := newRequestID()
	out.Header().Set(requestIDHeader, id)
	out.Header().Set("X-Content-Type-Options", "nosniff")
	out.Header().Set("Cache-Control", "no-store")
	defer s.crashed(id)
	s.serve(out, r)

	level := hclog.Debug
	if out.status >= 400 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		level = hclog.Info
	}
	s.cfg.Log.Log(level, "admin request", "method", r.Method, "path", r.URL.Path, "status", out.status,
		"client", r.RemoteAddr, "took_us", time.Since(began).Microseconds(), "request_id", id)
}

// crashed logs and counts a panic in the handling of a request, and has net/http
// end the connection.
func (s *Server) crashed(id string) {
	if p := recover(); p != nil {
		if p != http.ErrAbortHandler { //nolint:errorlint // it is raised as it is
			s.cfg.Log.Error("an admin request crashed", "request_id", id)
			crash.Tell("admin request", p)
		}
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	found := s.router.find(r)
	if found.route != nil {
		r.Pattern = found.route.Method + " " + found.route.Path
	}
	if !s.guard.needed {
		if err := refuseForeign(r, found.page()); err != nil {
			refuse(w, err)
			return
		}
	}
	// The token comes first: without it nobody learns which paths exist.
	if found.route == nil || !found.route.Open && !found.page() {
		who := s.guard.pass(w, r)
		if who == nil {
			return
		}
		if found.route != nil && !who.allows(found.route.May, found.values[tenantInPath]) {
			refuse(w, mayNot(who, found.route))
			return
		}
		r = r.WithContext(context.WithValue(store.WithWriter(r.Context(), writer(who, r)), whoKey{}, who))
	}
	switch {
	case found.route != nil:
		for name, value := range found.values {
			r.SetPathValue(name, value)
		}
		r.Body = http.MaxBytesReader(w, r.Body, cmp.Or(found.route.MaxBody, maxBody))
		if found.page() {
			s.page(w, r, found.route)
			return
		}
		found.route.Handler(w, r)
	case found.allow != "":
		w.Header().Set("Allow", found.allow)
		WriteError(w, http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed")
	default:
		notFound(w, r)
	}
}

// whoKey is that of the access that sent a request, in its context.
type whoKey struct{}

// Holds reports whether who sent a request to the API may also do what needs some
// right, any of which is enough. It is for routes a part of which needs more than
// their May.
func Holds(r *http.Request, needs Right) bool {
	who, _ := r.Context().Value(whoKey{}).(*Access)
	return who != nil && who.allows(needs, "")
}

// Takes reports whether who sent a request to the API may change where a domain leads:
// its right for the mappings of a tenant may be for some domains only.
func Takes(r *http.Request, domain string) bool {
	who, _ := r.Context().Value(whoKey{}).(*Access)
	return who != nil && who.takes(domain)
}

// MayNot refuses a part of what a route does to who does not hold the right for it.
func MayNot(what string, needs Right) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: "forbidden", Message: what + "; it needs the right " + needs.String() + "."}
}

// tenantInPath names the part of a path that is a tenant.
const tenantInPath = "tenant"

// mayNot refuses who has a token that is not for a route.
func mayNot(who *Access, route *Route) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: "forbidden", Message: fmt.Sprintf("The token of %q may not do this; it needs the right %s.", who.Name, route.May)}
}

// writer says who makes a change, and from where.
func writer(who *Access, r *http.Request) string {
	return strings.TrimSpace(who.Name + " " + r.RemoteAddr)
}

// statusWriter keeps the status of the answer, for the log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
