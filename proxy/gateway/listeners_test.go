package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/app/listener/certtest"
	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/http1"
)

// dialAt is dial at a further listener.
func (r *rig) dialAt(more int) *client {
	r.t.Helper()
	other := *r
	other.addr = r.more[more]
	return other.dial()
}

func (c *client) ask(head string) (*http.Response, string) {
	c.t.Helper()
	c.send(head)
	return c.answer("GET")
}

const forwardedHead = "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\nX-Forwarded-For: 203.0.113.9\r\nX-Request-Id: mine\r\nX-Forwarded-Proto: https\r\n\r\n"

// D28: whom one listener trusts, the others do not.
func TestTrustedProxiesAreThoseOfTheirListener(t *testing.T) {
	loopback, elsewhere := []netip.Prefix{mustPrefix("127.0.0.0/8")}, []netip.Prefix{mustPrefix("192.0.2.0/24")}
	for _, c := range []struct {
		name      string
		own, more []netip.Prefix
		believed  [2]bool
	}{
		{"of the gateway's own", loopback, nil, [2]bool{true, false}},
		{"of the further one", nil, loopback, [2]bool{false, true}},
		{"of none", nil, nil, [2]bool{}},
		{"who is elsewhere", elsewhere, elsewhere, [2]bool{}},
		{"of the gateway's own, while the further one trusts others", loopback, elsewhere, [2]bool{true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRigWith(t, nil, func(cfg *Config) {
				cfg.More = []NamedListener{{Name: "internal"}}
				cfg.Settings.TrustedProxies, cfg.Settings.MoreTrustedProxies = c.own, [][]netip.Prefix{c.more}
			})
			r.backend(func(w http.ResponseWriter, q *http.Request) {
				io.WriteString(w, q.Header.Get("X-Real-IP")+" "+q.Header.Get("X-Forwarded-Proto")+" "+q.Header.Get("X-Request-Id"))
			})
			for i, client := range []*client{r.dial(), r.dialAt(0)} {
				_, body := client.ask(forwardedHead)
				if believed := body == "203.0.113.9 https mine"; believed != c.believed[i] || !believed && !strings.HasPrefix(body, "127.0.0.1 http ") {
					t.Errorf("listener %d: got %q", i, body)
				}
			}
			next := *r.gw.settings.Load()
			next.TrustedProxies, next.MoreTrustedProxies = c.more, [][]netip.Prefix{c.own}
			r.gw.Update(next)
			for i, client := range []*client{r.dial(), r.dialAt(0)} {
				if _, body := client.ask(forwardedHead); (body == "203.0.113.9 https mine") != c.believed[1-i] {
					t.Errorf("after a reload, listener %d: got %q", i, body)
				}
			}
		})
	}
}

// D28: a PROXY header is looked for where it was announced, from those alone who are
// trusted there.
func TestAPROXYHeaderIsThatOfItsListener(t *testing.T) {
	loopback := []netip.Prefix{mustPrefix("127.0.0.0/8")}
	r := newRigWith(t, nil, func(cfg *Config) {
		cfg.More = []NamedListener{{Name: "balanced", Listener: Listener{ProxyProtocol: true}}, {Name: "strangers", Listener: Listener{ProxyProtocol: true}}}
		cfg.Settings.TrustedProxies, cfg.Settings.MoreTrustedProxies = loopback, [][]netip.Prefix{loopback, nil}
	})
	r.backend(func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.Header.Get("X-Real-IP")) })
	const header, request = "PROXY TCP4 203.0.113.9 192.0.2.1 1 443\r\n", "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n"
	for name, c := range map[string]struct {
		client *client
		want   string
	}{"announced": {r.dialAt(0), "203.0.113.9"}, "not announced": {r.dial(), "400"}, "of nobody who is trusted": {r.dialAt(1), "400"}} {
		resp, body := c.client.ask(header + request)
		if c.want == "400" && resp.StatusCode != 400 || c.want != "400" && body != c.want {
			t.Errorf("%s: got %d %q", name, resp.StatusCode, body)
		}
	}
}

// D28: a name in a certificate is one where the listener's authorities vouch for it,
// and as far as the listener lets them.
func TestAnIdentityIsThatOfItsListener(t *testing.T) {
	ca, partners, staff := certtest.NewCA(t), certtest.NewCA(t), certtest.NewCA(t)
	cert := ca.Issue(t, "gw.test")
	mutual := func(of *certtest.CA) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: of.Pool()}
	}
	book := newLogBook(t, "json")
	r := newRigWith(t, nil, func(cfg *Config) {
		cfg.AccessLog = book.log
		cfg.More = []NamedListener{
			{Name: "partners", Listener: Listener{TLS: mutual(partners), ClientNames: func(name string) bool { return strings.HasSuffix(name, ".partner.test") }}},
			{Name: "staff", Listener: Listener{TLS: mutual(staff)}},
			{Name: "tls", Listener: Listener{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}},
		}
	})
	r.backend(func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.Header.Get("X-Consumer-Username")) })
	r.rules.apply(
		change(policy.KindConsumers, "root", &policy.Consumer{ID: "1", Name: "root", CustomID: "root.staff.test"}),
		change(policy.KindConsumers, "a", &policy.Consumer{ID: "2", Name: "a", CustomID: "a.partner.test"}),
		change(policy.KindACLs, "1", &policy.ACL{ID: "1", API: "svc", Consumers: []string{"root", "a"}}),
	)
	type who struct {
		from *certtest.CA
		of   string
	}
	caches := make(map[who]tls.ClientSessionCache) // a session of one listener is offered to the others
	for _, c := range []struct {
		name     string
		listener int
		from     *certtest.CA
		of       string
		want     string
	}{
		{"a partner", 0, partners, "a.partner.test", "a"},
		{"one of the staff", 1, staff, "root.staff.test", "root"},
		{"a partner by a certificate that names one of the staff", 0, partners, "root.staff.test", "401"},
		{"a partner at the staff's", 1, partners, "root.staff.test", "refused"},
		{"one of the staff at the partners'", 0, staff, "root.staff.test", "refused"},
		{"a certificate that nobody asks for", 2, staff, "root.staff.test", "401"},
	} {
		me := who{c.from, c.of}
		if caches[me] == nil {
			caches[me] = tls.NewLRUClientSessionCache(0)
		}
		for range 2 {
			tc := tls.Client(r.dialAt(c.listener).Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test", Certificates: []tls.Certificate{c.from.Issue(t, c.of)}, ClientSessionCache: caches[me]})
			io.WriteString(tc, "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\nX-Consumer-Username: root\r\nX-Client-Cert: root.staff.test\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(tc), nil)
			got := "refused"
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				if got = string(body); resp.StatusCode != 200 {
					got = resp.Status[:3]
				}
			}
			if got != c.want {
				t.Errorf("%s: got %s, want %s", c.name, got, c.want)
			}
		}
	}
	if _, body := r.dial().ask("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n"); !strings.Contains(body, "no_credentials") {
		t.Errorf("in plain text: got %q", body)
	}
	if log := strings.Join(book.take(), "\n"); !strings.Contains(log, `"listener": "partners"`) || !strings.Contains(log, `"listener": "staff"`) || strings.Contains(log, `"listener": "gateway"`) {
		t.Errorf("the log says\n%s", log)
	}
}

// D28: authorities of one listener that are other ones by now cut nobody else.
func TestAuthoritiesAreThoseOfTheirListener(t *testing.T) {
	ca, clients := certtest.NewCA(t), certtest.NewCA(t)
	cert := ca.Issue(t, "gw.test")
	var withdrawn atomic.Bool
	way := func(verify func([]*x509.Certificate) (time.Time, error)) Listener {
		return Listener{VerifyClient: verify, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool()}}
	}
	later := func(chain []*x509.Certificate) (time.Time, error) { return chain[0].NotAfter, nil }
	r := newRigWith(t, nil, func(cfg *Config) {
		cfg.Listener = way(later)
		cfg.More = []NamedListener{{Name: "partners", Listener: way(func(chain []*x509.Certificate) (time.Time, error) {
			if withdrawn.Load() {
				return time.Time{}, errors.New("withdrawn")
			}
			return later(chain)
		})}}
	})
	r.backend(func(http.ResponseWriter, *http.Request) {})
	var conns []*client
	for _, raw := range []*client{r.dial(), r.dialAt(0)} {
		tc := tls.Client(raw.Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.test", Certificates: []tls.Certificate{clients.Issue(t, "me")}})
		c := &client{t, tc, bufio.NewReader(tc)}
		c.ask("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
		conns = append(conns, c)
	}
	withdrawn.Store(true)
	r.gw.AuthoritiesChanged()
	if _, err := conns[1].in.ReadByte(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the partner's connection: got %v, want a reset", err)
	}
	if resp, _ := conns[0].ask("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n"); resp.StatusCode != 200 {
		t.Errorf("the other one: got %d", resp.StatusCode)
	}
}

// D28: what a client may have, it may have at all listeners together.
func TestLimitsAreThoseOfAllListenersTogether(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRigWith(t, nil, func(cfg *Config) {
		cfg.Metrics, cfg.More = reg, []NamedListener{{Name: "internal"}}
		cfg.Settings.Admission = http1.Admission{Connections: 100, ConnectionsPerClient: 3}
	})
	r.backend(func(http.ResponseWriter, *http.Request) {})
	const request = "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n"
	kept := []*client{r.dial(), r.dial(), r.dialAt(0)}
	for _, c := range kept {
		c.ask(request)
	}
	for name, addr := range map[string]string{"gateway": r.addr, "internal": r.more[0]} {
		if serves(addr, request) {
			t.Errorf("%s: a fourth connection is served", name)
		}
	}
	for name, want := range map[string]float64{"gateway": 2, "internal": 1} {
		for _, metric := range []string{"lictor_client_connections", "lictor_requests_total"} {
			eventually.True(t, metric+" counts those at "+name, func() bool { return gauge(t, reg, metric, name) == want }) // after the answer
		}
	}
	kept[0].Close()
	eventually.True(t, "there is room at the other listener", func() bool { return serves(r.more[0], request) })
}

// serves reports whether a new connection gets an answer.
func serves(addr, request string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, request)
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

// gauge adds up the series of a metric that have the listener.
func gauge(t *testing.T, reg *prometheus.Registry, name, listener string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if f.GetName() == name && l.GetName() == "listener" && l.GetValue() == listener {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// D28: at the end all listeners close, and what came by any of them ends first.
func TestAllListenersDrain(t *testing.T) {
	r := newRigWith(t, nil, func(cfg *Config) { cfg.More = []NamedListener{{Name: "internal"}} })
	arrived, end := make(chan struct{}), make(chan struct{})
	r.backend(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-end
		io.WriteString(w, "whole")
	})
	release := sync.OnceFunc(func() { close(end) })
	t.Cleanup(release) // whatever fails, the backend can end
	clients := []*client{r.dial(), r.dialAt(0)}
	for _, c := range clients {
		c.send("GET /svc/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
		<-arrived
	}
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	for _, addr := range []string{r.addr, r.more[0]} {
		eventually.True(t, "nobody listens at "+addr, func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	}
	eventually.True(t, "it drains", r.gw.server.Draining)
	release()
	for i, c := range clients {
		if resp, body := c.answer("GET"); body != "whole" || !resp.Close {
			t.Errorf("listener %d: got %q, closing %v", i, body, resp.Close)
		}
	}
	<-stopped
}

// D28, P3: an authority that goes by the port says yes to those who came by it alone.
func TestAYesAtOneListenerIsNoneAtAnother(t *testing.T) {
	r := newRigWith(t, nil, func(cfg *Config) { cfg.More = []NamedListener{{Name: "internal"}} })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	_, internal, _ := strings.Cut(r.more[0], ":")
	r.authority(`"cache": "1m", "request_headers": ["Authorization"], "cache_by": ["header:Authorization"]`, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("X-Forwarded-Port") != internal {
			w.WriteHeader(403)
		}
	})
	const request = "GET /svc/ HTTP/1.1\r\nHost: gw.test\r\nAuthorization: me\r\n\r\n"
	for _, c := range []struct {
		client *client
		want   int
	}{{r.dialAt(0), 200}, {r.dialAt(0), 200}, {r.dial(), 403}} {
		if resp, _ := c.client.ask(request); resp.StatusCode != c.want {
			t.Errorf("got %d, want %d", resp.StatusCode, c.want)
		}
	}
}
