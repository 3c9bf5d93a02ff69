package dns_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lictor/proxy/egress/dns"
	"lictor/proxy/egress/dns/dnstest"
)

// resolver returns one that asks only servers, and has a hosts file of its own.
func resolver(t *testing.T, timeout time.Duration, servers ...netip.AddrPort) *dns.Resolver {
	t.Helper()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.9 Fixed.Example # comment\n::9 fixed.example\nrubbish here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dns.New(dns.Config{Servers: servers, Hosts: hosts, Timeout: timeout})
}

func texts(addrs []netip.Addr) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

func TestLookup(t *testing.T) {
	srv := dnstest.Start(t)
	forge := func(change func(*dnsmessage.Message)) func(dnsmessage.Message) []dnsmessage.Message {
		return func(q dnsmessage.Message) []dnsmessage.Message {
			m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: slices.Clone(q.Questions)}
			h := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{6, 6, 6, 6}}}}
			change(&m)
			return []dnsmessage.Message{m}
		}
	}
	good := []string{"192.0.2.1"}
	tests := []struct {
		name   string
		answer dnstest.Name
		want   string // addresses; or the text of the error after "error: "
	}{
		{"both families are asked, IPv4 comes first", dnstest.Name{Addrs: []string{"2001:db8::1", "192.0.2.1"}}, "192.0.2.1 2001:db8::1"},
		{"all addresses come back", dnstest.Name{Addrs: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}}, "192.0.2.1 192.0.2.2 192.0.2.3"},
		{"IPv6 alone is enough", dnstest.Name{Addrs: []string{"2001:db8::1"}}, "2001:db8::1"},
		{"a mapped address is given as it is", dnstest.Name{Addrs: []string{"::ffff:127.0.0.1"}}, "::ffff:127.0.0.1"},
		{"a chain of CNAMEs is followed", dnstest.Name{CNAME: "hop.example"}, "192.0.2.7"},
		{"a chain that the server leaves open is asked on", dnstest.Name{CNAME: "hop.example", Lone: true}, "192.0.2.7"},
		{"a chain into nothing is no name", dnstest.Name{CNAME: "nothing.example", Lone: true}, "error: the name does not exist"},
		{"a loop of CNAMEs ends", dnstest.Name{CNAME: "loop.example"}, "error: the servers refuse to answer"},
		{"a name that does not exist", dnstest.Name{NoName: true}, "error: the name does not exist"},
		{"a name without addresses", dnstest.Name{}, "error: the name has no address"},
		{"a server that fails", dnstest.Name{RCode: dnsmessage.RCodeServerFailure}, "error: the servers refuse to answer"},
		{"a server that refuses", dnstest.Name{RCode: dnsmessage.RCodeRefused}, "error: the servers refuse to answer"},
		{"a server that is silent", dnstest.Name{Silent: true}, "error: no server answered in time"},
		{"a truncated answer is asked for again by TCP", dnstest.Name{Addrs: good, Truncate: true}, "192.0.2.1"},
		{"a server that does not know EDNS", dnstest.Name{Addrs: good, OldStyle: true}, "192.0.2.1"},
		{"an answer with another id is passed over", dnstest.Name{Addrs: good, Forge: forge(func(m *dnsmessage.Message) { m.ID++ })}, "192.0.2.1"},
		{"an answer to another question is passed over", dnstest.Name{Addrs: good, Forge: forge(func(m *dnsmessage.Message) {
			m.Questions[0].Name = dnsmessage.MustNewName("other.example.")
		})}, "192.0.2.1"},
		{"an answer without a question is passed over", dnstest.Name{Addrs: good, Forge: forge(func(m *dnsmessage.Message) { m.Questions = nil })}, "192.0.2.1"},
		{"a query in place of an answer is passed over", dnstest.Name{Addrs: good, Forge: forge(func(m *dnsmessage.Message) { m.Response = false })}, "192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv.Set("hop.example", dnstest.Name{CNAME: "end.example"})
			srv.Set("end.example", dnstest.Name{Addrs: []string{"192.0.2.7"}})
			srv.Set("loop.example", dnstest.Name{CNAME: "loop.example"})
			srv.Set("name.example", tt.answer)
			addrs, err := resolver(t, 300*time.Millisecond, srv.Addr).Lookup(t.Context(), "name.example")
			got := texts(addrs)
			if err != nil {
				got = "error: " + errors.Unwrap(err).Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestOtherNamesAreNotBelieved: an answer may carry records of any name, but
// only the chain from the question counts.
func TestOtherNamesAreNotBelieved(t *testing.T) {
	srv := dnstest.Start(t)
	srv.Set("name.example", dnstest.Name{Forge: func(q dnsmessage.Message) []dnsmessage.Message {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("other.example."), Class: dnsmessage.ClassINET, TTL: 60}
		return []dnsmessage.Message{{
			Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions,
			Answers: []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{6, 6, 6, 6}}}},
		}}
	}})
	addrs, err := resolver(t, time.Second, srv.Addr).Lookup(t.Context(), "name.example")
	if err == nil {
		t.Errorf("got %v, want an error", addrs)
	}
}

func TestCaching(t *testing.T) {
	srv := dnstest.Start(t)
	tests := []struct {
		name   string
		answer dnstest.Name
		want   int // questions for three look-ups
	}{
		{"an answer is kept within its TTL", dnstest.Name{Addrs: []string{"192.0.2.1"}, TTL: 60}, 1},
		{"an answer with TTL 0 is not kept", dnstest.Name{Addrs: []string{"192.0.2.1"}}, 3},
		{"a TTL with the highest bit is 0", dnstest.Name{Addrs: []string{"192.0.2.1"}, TTL: 1 << 31}, 3},
		{"the shortest TTL of a chain counts", dnstest.Name{CNAME: "zero.example", TTL: 60}, 3},
		{"that there is no name is kept", dnstest.Name{NoName: true, Negative: 60}, 1},
		{"that there is no address is kept", dnstest.Name{Negative: 60}, 1},
		{"nothing that says how long is not kept", dnstest.Name{NoName: true}, 3},
		{"a failure is not kept", dnstest.Name{RCode: dnsmessage.RCodeServerFailure}, 6}, // each is tried twice
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv.Set("zero.example", dnstest.Name{Addrs: []string{"192.0.2.1"}})
			srv.Set("name.example", tt.answer)
			r := resolver(t, time.Second, srv.Addr)
			for range 3 {
				r.Lookup(t.Context(), "name.example")
			}
			if got := srv.Asked("name.example"); got != tt.want {
				t.Errorf("asked %d times, want %d", got, tt.want)
			}
		})
	}
}

func TestLocalNames(t *testing.T) {
	r := resolver(t, 100*time.Millisecond, netip.MustParseAddrPort("127.0.0.1:9"))
	tests := []struct{ name, host, want string }{
		{"localhost needs no server", "localhost", "127.0.0.1 ::1"},
		{"nor does what lies below it", "app.localhost", "127.0.0.1 ::1"},
		{"the hosts file comes before the servers", "fixed.example", "127.0.0.9 ::9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addrs, err := r.Lookup(t.Context(), tt.host)
			if err != nil || texts(addrs) != tt.want {
				t.Errorf("got %q, %v; want %q", texts(addrs), err, tt.want)
			}
		})
	}
}

func TestSecondServer(t *testing.T) {
	bad, good := dnstest.Start(t), dnstest.Start(t)
	good.Set("name.example", dnstest.Name{Addrs: []string{"192.0.2.1"}})
	for _, tt := range []struct {
		name   string
		answer dnstest.Name
		want   string
	}{
		{"the next server is asked when one is silent", dnstest.Name{Silent: true}, "192.0.2.1"},
		{"the next server is asked when one fails", dnstest.Name{RCode: dnsmessage.RCodeServerFailure}, "192.0.2.1"},
		{"no other server is asked when one says no", dnstest.Name{NoName: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad.Set("name.example", tt.answer)
			addrs, _ := resolver(t, time.Second, bad.Addr, good.Addr).Lookup(t.Context(), "name.example")
			if texts(addrs) != tt.want {
				t.Errorf("got %q, want %q", texts(addrs), tt.want)
			}
		})
	}
	t.Run("servers can be replaced, and what the old ones said is forgotten", func(t *testing.T) {
		bad.Set("name.example", dnstest.Name{NoName: true, Negative: 60})
		r := resolver(t, time.Second, bad.Addr)
		r.Lookup(t.Context(), "name.example")
		r.SetServers([]netip.AddrPort{good.Addr})
		if addrs, _ := r.Lookup(t.Context(), "name.example"); texts(addrs) != "192.0.2.1" {
			t.Errorf("got %q", texts(addrs))
		}
	})
}

func TestTimeLimit(t *testing.T) {
	srv := dnstest.Start(t)
	srv.Set("name.example", dnstest.Name{Silent: true})
	began := time.Now()
	_, err := resolver(t, 200*time.Millisecond, srv.Addr).Lookup(t.Context(), "name.example")
	failed, ok := errors.AsType[*dns.Error](err)
	if took := time.Since(began); !ok || !failed.Timeout || took > time.Second {
		t.Errorf("got %v after %v, want a time-out after 0.2 s", err, took)
	}
}

// TestOneLookupForAll: those who ask while a question is under way share it.
func TestOneLookupForAll(t *testing.T) {
	srv := dnstest.Start(t)
	srv.Set("name.example", dnstest.Name{Addrs: []string{"192.0.2.1"}, Delay: 100 * time.Millisecond})
	r := resolver(t, time.Second, srv.Addr)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if addrs, err := r.Lookup(t.Context(), "name.example"); err != nil || texts(addrs) != "192.0.2.1" {
				t.Errorf("got %v, %v", addrs, err)
			}
		})
	}
	wg.Wait()
	if n := srv.Asked("name.example"); n > 3 {
		t.Errorf("asked %d times for 50 that came together", n)
	}
}

func TestWhatServersSayThatAreReplacedMeanwhileIsForgotten(t *testing.T) {
	old, now := dnstest.Start(t), dnstest.Start(t)
	asked, answer := make(chan bool, 9), make(chan bool)
	old.Set("name.example", dnstest.Name{Forge: func(q dnsmessage.Message) []dnsmessage.Message {
		asked <- true
		<-answer
		h := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions}
		if q.Questions[0].Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{6, 6, 6, 6}}}}
		}
		return []dnsmessage.Message{m}
	}})
	now.Set("name.example", dnstest.Name{Addrs: []string{"192.0.2.1"}, TTL: 60})
	r := resolver(t, time.Minute, old.Addr)
	first := make(chan string)
	go func() {
		addrs, _ := r.Lookup(t.Context(), "name.example")
		first <- texts(addrs)
	}()
	<-asked // for A and for AAAA
	<-asked
	r.SetServers([]netip.AddrPort{now.Addr})
	for _, when := range []string{"while the old one is asked", "after it has answered"} {
		if addrs, err := r.Lookup(t.Context(), "name.example"); err != nil || texts(addrs) != "192.0.2.1" {
			t.Errorf("%s: got %v, %v", when, addrs, err)
		}
		if when == "while the old one is asked" {
			close(answer)
			if got := <-first; got != "6.6.6.6" {
				t.Errorf("who asked the old one got %s", got)
			}
		}
	}
}

func TestBadNames(t *testing.T) {
	srv := dnstest.Start(t)
	r := resolver(t, time.Second, srv.Addr)
	for _, name := range []string{strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 126) + "toolong", "a..b"} {
		if addrs, err := r.Lookup(t.Context(), name); err == nil {
			t.Errorf("%q: got %v, want an error", name, addrs)
		}
	}
}

func ExampleIsLocalhost() {
	fmt.Println(dns.IsLocalhost("app.localhost"), dns.IsLocalhost("localhost.example"))
	// Output: true false
}
