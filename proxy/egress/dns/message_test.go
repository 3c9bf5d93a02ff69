package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestCacheForgets(t *testing.T) {
	now := time.Now()
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	tests := []struct {
		name  string
		err   error
		ttl   time.Duration
		after time.Duration
		want  bool
	}{
		{"an answer is there before its TTL is over", nil, time.Minute, 59 * time.Second, true},
		{"an answer is gone when its TTL is over", nil, time.Minute, time.Minute, false},
		{"a day is cut to the longest that is kept", nil, 24 * time.Hour, maxTTL, false},
		{"that there is nothing is kept for a shorter time", ErrNoName, 24 * time.Hour, maxNegative, false},
		{"a TTL of 0 is not kept at all", nil, 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c cache
			c.put("name", addrs, tt.err, tt.ttl, now)
			if _, _, got := c.get("name", now.Add(tt.after)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Now()
	for i := range 3 * maxEntries {
		c.put(fmt.Sprint(i), nil, ErrNoName, time.Minute, now)
	}
	if len(c.entries) > maxEntries {
		t.Errorf("holds %d, want at most %d", len(c.entries), maxEntries)
	}
	c.put("last", nil, ErrNoName, time.Minute, now)
	if _, _, ok := c.get("last", now); !ok {
		t.Error("a full cache takes nothing new")
	}
}

// Whoever has a zone of their own makes as many addresses as fit into a message.
func TestANameWithThousandsOfAddressesHasNone(t *testing.T) {
	for n, want := range map[int]error{1: nil, 256: nil, 257: ErrMany, 4000: ErrMany} {
		_, q, err := question(7, "many.test", typeA, false)
		if err != nil {
			t.Fatal(err)
		}
		b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 7, Response: true})
		b.EnableCompression()
		err = errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers())
		for i := range n {
			err = errors.Join(err, b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 600}, dnsmessage.AResource{A: [4]byte{192, 0, byte(i >> 8), byte(i)}}))
		}
		msg, finish := b.Finish()
		if err = errors.Join(err, finish); err != nil {
			t.Fatal(err)
		}
		v, err := parseAnswer(msg, 7, q)
		if err != nil || !errors.Is(v.err, want) || want == nil && len(v.addrs) != n || want != nil && len(v.addrs) > 0 {
			t.Errorf("of %d addresses come %d, %v, %v; want %v", n, len(v.addrs), v.err, err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	servers := parseResolvConf("# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1 # the first\n nameserver 2001:db8::1\nnameserver rubbish\noptions ndots:5\n")
	if got := fmt.Sprint(servers); got != "[192.0.2.1:53 [2001:db8::1]:53]" {
		t.Errorf("servers are %s", got)
	}
	path := filepath.Join(t.TempDir(), "hosts")
	w := watched[map[string][]netip.Addr]{path: path, parse: parseHosts}
	if got := w.get(); got != nil {
		t.Errorf("a file that is not there says %v", got)
	}
	if err := os.WriteFile(path, []byte("192.0.2.1 One two. # three\n2001:db8::1 one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.next.Store(0) // the time to look again has come
	if got := fmt.Sprint(w.get()); got != "map[one:[192.0.2.1 2001:db8::1] two:[192.0.2.1]]" {
		t.Errorf("hosts are %s", got)
	}
}

// FuzzAnswer gives the parser whatever a server might send. What it takes for
// an answer must be one to our question, and addresses of the type asked for.
func FuzzAnswer(f *testing.F) {
	for _, typ := range []dnsmessage.Type{typeA, typeAAAA} {
		msg, q, err := question(7, "name.example", typ, true)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{q}}
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
		target := dnsmessage.MustNewName("end.example.")
		m.Answers = []dnsmessage.Resource{
			{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: target}},
			{Header: dnsmessage.ResourceHeader{Name: target, Class: dnsmessage.ClassINET, TTL: 1 << 31}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
			{Header: dnsmessage.ResourceHeader{Name: target, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{32, 1}}},
		}
		m.Authorities = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.SOAResource{NS: target, MBox: target, MinTTL: 5}}}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add(packed[:len(packed)-3])
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, typ := range []dnsmessage.Type{typeA, typeAAAA} {
			_, q, err := question(7, "name.example", typ, false)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parseAnswer(msg, 7, q)
			if err != nil {
				if !errors.Is(err, errOther) {
					t.Fatalf("unexpected error %v", err)
				}
				continue
			}
			if len(msg) < 12 || msg[0] != 0 || msg[1] != 7 || msg[2]&0x80 == 0 {
				t.Errorf("took a message for an answer that is none: %x", msg)
			}
			for _, a := range v.addrs {
				if a.Is4() != (typ == typeA) {
					t.Errorf("got %v for type %v", a, typ)
				}
			}
			if v.ttl < 0 || v.ttl > maxTTL {
				t.Errorf("TTL is %v", v.ttl)
			}
			if v.err == nil && len(v.addrs) == 0 && v.alias == "" && !v.truncated {
				t.Errorf("neither addresses nor a reason: %x", msg)
			}
		}
	})
}
