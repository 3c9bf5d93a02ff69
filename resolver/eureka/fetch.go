package eureka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Times of E3, and how much of an answer is read.
const (
	connectTime = 5 * time.Second
	readTime    = 8 * time.Second
	maxAnswer   = 64 << 20

	wholeTime    = 5 * time.Minute // of an answer of which pieces keep coming
	maxRedirects = 3
)

// server is one Eureka server.
type server struct {
	base     string // without a trailing slash and without the user
	user     string // "" = no authentication
	password string
}

// newServer reads a configured URL. Its error does not repeat the URL, in which
// a password may be.
func newServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return server{}, errors.New("want http://host:port/eureka or https://")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return server{}, errors.New("a query or fragment has no meaning here")
	}
	var s server
	if u.User != nil {
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
		u.User = nil
	}
	s.base = strings.TrimRight(u.String(), "/")
	return s, nil
}

// newClient returns a client that is used for nothing else. It follows no
// redirect to another origin, which could carry the password elsewhere, and
// uses no proxy. The transport asks for gzip by itself, and unpacks it.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: connectTime}).DialContext,
			TLSHandshakeTimeout:   connectTime,
			ResponseHeaderTimeout: readTime,
			MaxIdleConnsPerHost:   1,
			IdleConnTimeout:       90 * time.Second,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			first := via[0].URL
			if len(via) > maxRedirects || next.URL.Scheme != first.Scheme || next.URL.Host != first.Host || next.URL.User != nil {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// statusError is an answer other than 200.
type statusError struct {
	url    string
	status int
	to     string // origin that it wants to send us to; "" = nowhere
}

func (e *statusError) Error() string {
	if e.to != "" {
		return fmt.Sprintf("%s answered %d, to %s: a redirect to another origin is not followed", e.url, e.status, e.to)
	}
	return fmt.Sprintf("%s answered %d", e.url, e.status)
}

// origin returns where an answer redirects to, without what may be secret in it.
func origin(resp *http.Response) string {
	to, err := resp.Location()
	if err != nil {
		return ""
	}
	return to.Scheme + "://" + to.Host
}

// pieces is a body of which a piece has to come every readTime.
type pieces struct {
	io.Reader
	late *time.Timer
}

// Read implements [io.Reader].
func (p *pieces) Read(b []byte) (int, error) {
	p.late.Reset(readTime)
	return p.Reader.Read(b)
}

var errLate = errors.New("nothing came for too long")

// get reads a document.
func (r *Resolver) get(ctx context.Context, s server, path string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json") // else it is XML
	if s.user != "" {
		req.SetBasicAuth(s.user, s.password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{}, &statusError{s.base + path, resp.StatusCode, origin(resp)}
	}
	late := time.AfterFunc(readTime, func() { giveUp(errLate) })
	defer late.Stop()
	body, err := io.ReadAll(io.LimitReader(&pieces{resp.Body, late}, r.maxAnswer+1))
	if err != nil {
		if why := context.Cause(ctx); why != nil {
			err = why
		}
		return answer{}, fmt.Errorf("%s: %w", s.base+path, err)
	}
	if int64(len(body)) > r.maxAnswer {
		return answer{}, fmt.Errorf("%s answered more than %d bytes", s.base+path, r.maxAnswer)
	}
	got, err := decode(body, r.cfg.PreferHostname)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", s.base+path, err)
	}
	return got, nil
}

// fetch returns the registry of the first server that gives one. All of it is
// read unless a delta suffices.
func (r *Resolver) fetch(ctx context.Context, full bool) (registry, error) {
	var failures []error
	for _, s := range r.servers {
		if r.cfg.Delta && !full && r.source == s.base {
			if g, ok := r.delta(ctx, s); ok {
				return g, nil
			}
		}
		got, err := r.get(ctx, s, "/apps")
		if err != nil {
			failures = append(failures, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		r.source, r.bad = s.base, got.bad
		return newRegistry(got.records), nil
	}
	return nil, errors.Join(failures...)
}

// delta returns the registry with the changes since the last answer of the
// same server. It is not ok if the outcome does not count as the server
// counts, or if there was no answer of any use: deltas may be switched off.
func (r *Resolver) delta(ctx context.Context, s server) (registry, bool) {
	got, err := r.get(ctx, s, "/apps/delta")
	if err != nil {
		r.log.Debug("no delta, reading all", "error", err)
		return nil, false
	}
	g := r.registry.apply(got.records)
	if got.bad > 0 || g.hash() != got.hash {
		r.log.Debug("a delta does not fit, reading all", "want", got.hash, "got", g.hash())
		return nil, false
	}
	return g, true
}
