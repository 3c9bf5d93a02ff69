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
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/secret"
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

	Identity  *Identity // as whom, instead of API's token and TLS; shared by all clients of one Consul; nil = as API says
	Peer      string    // of which cluster peering the services are asked for; "" = of none
	MaxAnswer int64     // bytes of a good answer; 0 = MaxCatalogue
	Conns     int       // connections kept or in use at the same time; 0 = DefaultConns. A request past them waits for one.
	Streams   int       // of them, those of HTTP/2 for [Query.Many] where Consul is reached over TLS; elsewhere, and with 0, there are none
	Probes    int       // connections to look for a Consul that does not answer; 0 = ProbeConns
	Contact   *Contact  // shared by all clients of one datacenter; nil = one of its own
}

// Client asks one Consul. [New] makes it; any number of goroutines may use it.
type Client struct {
	Contact *Contact // never nil

	api      api.Config // Address is host:port
	socket   string     // where the agent listens instead of there; "" = nowhere
	peer     string
	identity *Identity
	conns    int
	kept     *transport
	fresh    *transport // opens a connection for each request
	quiet    *transport // as fresh, for probes: tells the contact nothing by itself
	many     *transport // by streams; nil if there are none
	streams  *streams   // likewise

	spoken atomic.Pointer[tls.Config] // by which the kept connections were made
}

// New returns a client. It asks nothing yet.
func New(cfg Config) (*Client, error) {
	if cfg.API == nil {
		return nil, errors.New("consul: API is required")
	}
	c := &Client{api: *cfg.API, peer: cfg.Peer, Contact: cfg.Contact, identity: cfg.Identity}
	if c.Contact == nil {
		c.Contact = NewContact()
	}
	if cfg.MaxAnswer == 0 {
		cfg.MaxAnswer = MaxCatalogue
	}
	c.conns = cmp.Or(cfg.Conns, DefaultConns)
	at, err := ParseAddress(c.api.Address, c.api.Scheme)
	if err != nil {
		return nil, fmt.Errorf("consul: address: %w", err)
	}
	c.api.Address, c.api.Scheme, c.api.PathPrefix, c.socket = at.Host, at.Scheme, at.Path, at.Socket
	if c.identity == nil {
		c.identity, err = NewIdentity(IdentityConfig{Token: secret.New(c.api.Token), TokenFile: c.api.TokenFile, TLS: c.api.TLSConfig})
		if err != nil {
			return nil, fmt.Errorf("consul: %w", err)
		}
	}
	c.identity.tell(c.Contact)
	if at.Scheme == "https" && cfg.Streams > 0 && c.api.HttpClient == nil {
		c.streams = newStreams(cfg.Streams, c.Contact, c.dialStreams)
		c.conns -= cfg.Streams
	}
	cfg.Conns = c.conns
	c.connect(cfg, at)
	return c, nil
}

// Datacenter returns the datacenter that is asked for; "" is the agent's own.
func (c *Client) Datacenter() string { return c.api.Datacenter }

// Peer returns the cluster peering whose services are asked for; "" = none.
func (c *Client) Peer() string { return c.peer }

// Conns returns how many requests may be on their way at the same time, those
// that wait for changes too, less those of streams; further ones wait for a connection.
func (c *Client) Conns() int { return c.conns }

// Streams returns how many queries may wait by [Query.Many]; 0 = there are no streams,
// or it is not known yet. What it returns changes with what Consul speaks.
func (c *Client) Streams() int { return c.streams.room() }

// OnStreams has f called whenever Streams returns something else than before. It is
// set once, before any query.
func (c *Client) OnStreams(f func()) {
	if c.streams != nil {
		c.streams.tell = f
	}
}

// TryStreams finds out whether there are streams, if that can be told now.
func (c *Client) TryStreams(ctx context.Context) { c.streams.ready(ctx) }

// MostConns bounds the connections that the client has at any time. A contact
// has up to ProbeConns more.
func (c *Client) MostConns() int {
	most := c.conns + singles(c.conns)
	if c.streams != nil {
		most += c.streams.most
	}
	return most
}

// Kept returns [Config.Conns] for a client whose [Client.MostConns] is at most all.
func Kept(all int) int { return all - singles(all) }

// singles is how many connections, each for one request, a client with so many
// may have besides.
func singles(conns int) int { return min(max(1, conns/8), freshConns) }

// String names the place for people, without secrets.
func (c *Client) String() string {
	return c.api.Scheme + "://" + c.api.Address + c.api.PathPrefix
}

// Place names the Consul whose data this is, for files that keep some of it: by
// datacenter, partition, namespace and peer, and by the address unless it is that of
// an agent on this machine, which may be another tomorrow.
func (c *Client) Place() string {
	at := c.api.Address + c.api.PathPrefix
	host, _, _ := net.SplitHostPort(c.api.Address)
	if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && (a.IsLoopback() || a.IsUnspecified()) {
		at = "this machine"
	}
	place := strings.Join([]string{at, c.api.Datacenter, c.api.Partition, c.api.Namespace}, "/")
	if c.peer != "" {
		place += "/peer " + c.peer
	}
	return place
}

// CloseIdle closes the connections that no request uses: they may be dead.
func (c *Client) CloseIdle() { c.kept.CloseIdleConnections() }
