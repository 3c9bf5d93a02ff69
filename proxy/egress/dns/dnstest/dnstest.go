// Package dnstest is a DNS server for tests. It answers on a loopback port,
// by UDP and TCP, from a table that the test may change at any time.
package dnstest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Name is what the server says about a name. The zero Name exists and has no data.
type Name struct {
	Addrs     []string // A and AAAA
	CNAME     string   // instead of Addrs
	TTL       uint32   // seconds
	NoName    bool     // NXDOMAIN
	Negative  uint32   // seconds that NXDOMAIN or no data hold (SOA)
	RCode     dnsmessage.RCode
	Silent    bool            // no answer at all
	SilentFor dnsmessage.Type // no answer to questions of this type
	Delay     time.Duration   // before the answer
	Truncate  bool            // by UDP
	OldStyle  bool            // FORMERR where EDNS is used
	Lone      bool            // a CNAME without what it leads to
	// Forge is sent before the right answer.
	Forge func(query dnsmessage.Message) []dnsmessage.Message
}

// Server is a DNS server.
type Server struct {
	Addr netip.AddrPort

	mu      sync.Mutex // guards what follows
	names   map[string][]Name
	asked   map[question]int
	overTCP int
}

type question struct {
	name string
	typ  dnsmessage.Type
}

// Start returns a server that runs until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{names: make(map[string][]Name), asked: make(map[question]int)}
	var pc net.PacketConn
	var l net.Listener
	for range 20 { // one port for both
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		pc.Close()
	}
	if l == nil {
		t.Fatal("no port is free for both UDP and TCP")
	}
	s.Addr = netip.MustParseAddrPort(pc.LocalAddr().String())
	var wg sync.WaitGroup
	wg.Go(func() { s.serveUDP(pc, &wg) })
	wg.Go(func() { s.serveTCP(l, &wg) })
	t.Cleanup(func() {
		pc.Close()
		l.Close()
		wg.Wait()
	})
	return s
}

// Set says what is answered about name: the answers one after the other, the
// last one for ever. Both families of a name are one look-up.
func (s *Server) Set(name string, answers ...Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = answers
	delete(s.asked, question{name, dnsmessage.TypeA})
	delete(s.asked, question{name, dnsmessage.TypeAAAA})
}

// Asked returns how often name was looked up (by its A record) since it was set.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[question{name, dnsmessage.TypeA}]
}

// OverTCP returns how many questions came by TCP.
func (s *Server) OverTCP() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overTCP
}

func (s *Server) serveUDP(pc net.PacketConn, wg *sync.WaitGroup) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		msg := append([]byte(nil), buf[:n]...)
		wg.Go(func() {
			for _, m := range s.answer(msg, true) {
				pc.WriteTo(m, from)
			}
		})
	}
}

func (s *Server) serveTCP(l net.Listener, wg *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			msg := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, msg); err != nil {
				return
			}
			s.mu.Lock()
			s.overTCP++
			s.mu.Unlock()
			for _, m := range s.answer(msg, false) {
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
			}
		})
	}
}

// answer returns the packed messages that answer a query.
func (s *Server) answer(msg []byte, udp bool) [][]byte {
	var q dnsmessage.Message
	if err := q.Unpack(msg); err != nil || len(q.Questions) != 1 {
		return nil
	}
	n, known := s.next(text(q.Questions[0].Name), q.Questions[0].Type)
	time.Sleep(n.Delay)
	if n.Silent || n.SilentFor == q.Questions[0].Type {
		return nil
	}
	var out [][]byte
	if n.Forge != nil {
		for _, m := range n.Forge(q) {
			out = append(out, pack(m))
		}
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true, RCode: n.RCode}, Questions: q.Questions}
	switch {
	case n.OldStyle && len(q.Additionals) > 0:
		m.RCode = dnsmessage.RCodeFormatError
	case udp && n.Truncate:
		m.Truncated = true
	case !known || n.NoName:
		m.RCode = dnsmessage.RCodeNameError
		m.Authorities = soa(q.Questions[0].Name, n.Negative)
	case n.RCode != dnsmessage.RCodeSuccess:
	default:
		m.Answers = s.records(q.Questions[0], n)
		if len(m.Answers) == 0 {
			m.Authorities = soa(q.Questions[0].Name, n.Negative)
		}
	}
	return append(out, pack(m))
}

// next is what is to be said about a name now.
func (s *Server) next(name string, typ dnsmessage.Type) (Name, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := s.names[name]
	if len(answers) == 0 {
		return Name{}, false
	}
	k := question{name, typ}
	i := s.asked[k]
	s.asked[k]++
	return answers[min(i, len(answers)-1)], true
}

// records are the answers to a question, along CNAMEs in the table.
func (s *Server) records(q dnsmessage.Question, n Name) []dnsmessage.Resource {
	var rs []dnsmessage.Resource
	owner := q.Name
	for range 20 {
		h := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: n.TTL}
		if n.CNAME == "" {
			return append(rs, addresses(h, q.Type, n.Addrs)...)
		}
		target := dnsmessage.MustNewName(n.CNAME + ".")
		rs = append(rs, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: target}})
		if n.Lone {
			return rs
		}
		owner = target
		s.mu.Lock()
		next := s.names[n.CNAME]
		s.mu.Unlock()
		if len(next) == 0 {
			return rs
		}
		n = next[len(next)-1]
	}
	return rs
}

func addresses(h dnsmessage.ResourceHeader, typ dnsmessage.Type, addrs []string) []dnsmessage.Resource {
	var rs []dnsmessage.Resource
	for _, text := range addrs {
		a := netip.MustParseAddr(text)
		switch {
		case a.Is4() && typ == dnsmessage.TypeA:
			rs = append(rs, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && typ == dnsmessage.TypeAAAA:
			rs = append(rs, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return rs
}

func soa(name dnsmessage.Name, ttl uint32) []dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl}
	return []dnsmessage.Resource{{Header: h, Body: &dnsmessage.SOAResource{NS: name, MBox: name, MinTTL: ttl}}}
}

func text(n dnsmessage.Name) string {
	return strings.ToLower(strings.TrimSuffix(n.String(), "."))
}

func pack(m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(errors.Join(errors.New("dnstest: a message cannot be packed"), err)) // a mistake in a test
	}
	return b
}
