// Package consul asks Consul. It is the one place that knows how Consul is
// reached, how it answers and how it lies:
//
//   - Every answer has a bound (see [Config.MaxAnswer]), in bytes and in time.
//   - The token goes where the configuration says, and nowhere else: no
//     redirect is followed.
//   - Clients that share a [Contact] come back together: whoever hears Consul
//     first wakes the others.
//   - [Pace] keeps a Consul that does not block from making a busy loop.
package consul

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Bounds of an answer's body.
const (
	MaxCatalogue = 64 << 20  // of the catalogue; the default
	MaxPolicy    = 512 << 20 // of the policy, which Consul holds to 512 KiB a key
	MaxError     = 1 << 20   // of an answer that is no success
)

// DefaultConns leaves room below the 200 connections that an agent accepts from
// one address (http_max_conns_per_client), for what else the process asks.
const DefaultConns = 104

// answerTime is what an answer may take beyond the time that the query gave
// Consul to wait.
const answerTime = 10 * time.Second

// Config says which Consul is asked, and how.
type Config struct {
	// API is where Consul is and as whom to ask it; required, and not changed. An
	// HttpClient in it replaces the connections, but not the bounds: for tests.
	API *api.Config

	MaxAnswer int64    // bytes of a good answer; 0 = MaxCatalogue
	Conns     int      // connections kept or in use at the same time; 0 = DefaultConns. A request past them waits for one.
	Contact   *Contact // shared by all clients of one Consul; nil = one of its own
}

// Client asks one Consul. Its embedded client of consul/api keeps to the same
// bounds.
type Client struct {
	*api.Client
	Contact *Contact

	api   api.Config // completed: Address is host:port
	conns int
	kept  *http.Client
	fresh *http.Client // opens a connection for each request
	quiet *http.Client // as fresh, for probes: tells the contact nothing by itself
}

// New returns a client. It asks nothing yet.
func New(cfg Config) (*Client, error) {
	if cfg.API == nil {
		return nil, errors.New("consul: API is required")
	}
	c := &Client{api: *cfg.API, Contact: cfg.Contact}
	if c.Contact == nil {
		c.Contact = NewContact()
	}
	if cfg.MaxAnswer == 0 {
		cfg.MaxAnswer = MaxCatalogue
	}
	c.conns = cmp.Or(cfg.Conns, DefaultConns)
	cfg.Conns = c.conns
	at, err := ParseAddress(c.api.Address, c.api.Scheme)
	if err != nil {
		return nil, fmt.Errorf("consul: address: %w", err)
	}
	c.api.Address, c.api.Scheme, c.api.PathPrefix = at.Host, at.Scheme, at.Path
	if err = c.connect(cfg, at); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	c.api.HttpClient = c.kept
	if c.Client, err = api.NewClient(&c.api); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return c, nil
}

// Datacenter returns the datacenter that is asked for; "" is the agent's own.
func (c *Client) Datacenter() string { return c.api.Datacenter }

// Conns returns how many requests may be on their way at the same time, those
// that wait for changes too; further ones wait for a connection.
func (c *Client) Conns() int { return c.conns }

// MostConns bounds the connections that the client has at any time. A contact
// has up to ProbeConns more.
func (c *Client) MostConns() int { return c.conns + freshConns }

// String names the place for people, without secrets.
func (c *Client) String() string {
	return c.api.Scheme + "://" + c.api.Address + c.api.PathPrefix
}

// Place names the Consul whose data this is, for files that keep some of it: by
// datacenter, partition and namespace, and by the address unless it is that of
// an agent on this machine, which may be another tomorrow.
func (c *Client) Place() string {
	at := c.api.Address + c.api.PathPrefix
	host, _, _ := net.SplitHostPort(c.api.Address)
	if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && (a.IsLoopback() || a.IsUnspecified()) {
		at = "this machine"
	}
	return strings.Join([]string{at, c.api.Datacenter, c.api.Partition, c.api.Namespace}, "/")
}

// StatusError is an answer that is no success.
type StatusError struct {
	Code int
	Text string // of the body, cut short
}

// Error implements error.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("consul answers %d %s: %s", e.Code, http.StatusText(e.Code), e.Text))
}

// Refused reports whether Consul answered err because of its ACLs.
func Refused(err error) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Code == http.StatusForbidden
}

// Do sends one request and returns the answer, whatever its status. The caller
// closes its body, which ends in an error past its bound. The datacenter,
// namespace, partition and token are added; body may be nil.
func (c *Client) Do(ctx context.Context, method, path string, form url.Values, body []byte) (*http.Response, error) {
	return c.send(ctx, c.kept, method, path, form, body)
}

// DoFresh is Do on a connection that is made for it: what an older one may have
// become does not matter.
func (c *Client) DoFresh(ctx context.Context, method, path string, form url.Values, body []byte) (*http.Response, error) {
	return c.send(ctx, c.fresh, method, path, form, body)
}

// CloseIdle closes the connections that no request uses: they may be dead.
func (c *Client) CloseIdle() { c.kept.CloseIdleConnections() }

func (c *Client) send(ctx context.Context, by *http.Client, method, path string, form url.Values, body []byte) (*http.Response, error) {
	all := url.Values{}
	maps.Copy(all, form)
	for key, value := range map[string]string{"dc": c.api.Datacenter, "ns": c.api.Namespace, "partition": c.api.Partition} {
		if value != "" && !all.Has(key) {
			all.Set(key, value)
		}
	}
	u := url.URL{Scheme: c.api.Scheme, Host: c.api.Address, Path: c.api.PathPrefix + path, RawQuery: all.Encode()}
	u.RawPath = escapeDots(u.Path)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.api.Token != "" {
		req.Header.Set("X-Consul-Token", c.api.Token)
	}
	if c.api.HttpAuth != nil {
		req.SetBasicAuth(c.api.HttpAuth.Username, c.api.HttpAuth.Password)
	}
	return by.Do(req)
}

// escapeDots returns the spelling of a path in which a part that is one or two
// dots, as a service may be called, is not taken for a step up; "" = as usual.
func escapeDots(path string) string {
	if !strings.Contains(path+"/", "/./") && !strings.Contains(path+"/", "/../") {
		return ""
	}
	parts := strings.Split((&url.URL{Path: path}).EscapedPath(), "/")
	for i, part := range parts {
		if part == "." || part == ".." {
			parts[i] = strings.ReplaceAll(part, ".", "%2E")
		}
	}
	return strings.Join(parts, "/")
}

// Query is how Consul is asked.
type Query struct {
	Index      uint64        // 0 = answer at once
	Wait       time.Duration // how long the answer may take while nothing changes
	Consistent bool          // past every cache, by the leader and with a quorum
	Fresh      bool          // on a connection that is made for it
	Form       url.Values    // what else to ask by
}

// Meta is what Consul says about its answer.
type Meta struct {
	Index    uint64
	Filtered bool // its ACLs hid something
}

// Get asks and hands the body of a good answer to read. The query has a
// deadline of its own, for a dead connection never answers; Consul adds up to a
// sixteenth to the time it may wait. Without an index it does not wait. An
// answer without an index is an error.
func (c *Client) Get(ctx context.Context, path string, q Query, read func(io.Reader) error) (Meta, error) {
	if q.Index == 0 {
		q.Wait = 0
	}
	ctx, cancel := context.WithTimeout(ctx, q.Wait+q.Wait/16+answerTime)
	defer cancel()
	ask := c.Do
	if q.Fresh {
		ask = c.DoFresh
	}
	resp, err := ask(ctx, http.MethodGet, path, q.form(), nil)
	if err != nil {
		return Meta{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Meta{}, statusError(resp)
	}
	m := Meta{Filtered: resp.Header.Get("X-Consul-Results-Filtered-By-Acls") == "true"}
	if m.Index, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64); err != nil {
		return Meta{}, errors.New("consul answers without an index")
	}
	return m, read(resp.Body)
}

func (q Query) form() url.Values {
	form := url.Values{}
	maps.Copy(form, q.Form)
	if q.Index > 0 {
		form.Set("index", strconv.FormatUint(q.Index, 10))
	}
	if q.Wait > 0 {
		form.Set("wait", strconv.FormatInt(q.Wait.Milliseconds(), 10)+"ms")
	}
	if q.Consistent {
		form.Set("consistent", "")
	}
	return form
}

// maxText bounds what of an error's body is shown.
const maxText = 300

func statusError(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText)) // what could be read is shown
	printable := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
	if to := resp.Header.Get("Location"); to != "" && slices.Contains([]int{301, 302, 303, 307, 308}, resp.StatusCode) {
		printable = "a redirect, which is not followed"
	}
	return &StatusError{Code: resp.StatusCode, Text: strings.TrimSpace(printable)}
}
