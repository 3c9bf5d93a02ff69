package dns

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	typeA    = dnsmessage.TypeA
	typeAAAA = dnsmessage.TypeAAAA
)

// udpSize is the largest answer taken by UDP: it passes every path unbroken.
const udpSize = 1232

// maxChain bounds the CNAMEs that lead from a name to its addresses.
const maxChain = 16

// maxAddrs bounds the addresses of a name, of each family. A client may ask for names of a
// zone of its own, in which thousands fit into an answer: each is kept, checked and dialled.
const maxAddrs = 256

// errOther is a message that is not the answer to our question: a late one, or
// somebody's guess. It is passed over.
var errOther = errors.New("not the answer to the question")

// answer is what a server says about one name and type.
type answer struct {
	addrs []netip.Addr
	ttl   time.Duration // of the addresses, or of there being none
	alias string        // the chain ended here without saying more: ask on
	err   error
}

// fails reports whether nothing was learned, as opposed to there being no address.
func (a *answer) fails() bool {
	return a.err != nil && !errors.Is(a.err, ErrNoName) && !errors.Is(a.err, ErrNoData)
}

// question builds a query. name has no trailing dot.
func question(id uint16, name string, typ dnsmessage.Type, edns bool) ([]byte, dnsmessage.Question, error) {
	q := dnsmessage.Question{Type: typ, Class: dnsmessage.ClassINET}
	var err error
	if q.Name, err = dnsmessage.NewName(name + "."); err != nil {
		return nil, q, ErrBadName
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: id, RecursionDesired: true})
	err = b.StartQuestions()
	if err == nil {
		err = b.Question(q)
	}
	if err == nil && edns {
		var h dnsmessage.ResourceHeader
		err = errors.Join(h.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false), b.StartAdditionals(), b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	msg, finish := b.Finish()
	if err != nil || finish != nil {
		return nil, q, ErrBadName
	}
	return msg, q, nil
}

// verdict is what a message means for the asking.
type verdict struct {
	answer
	truncated bool // ask again by TCP
	noEDNS    bool // ask again without EDNS
}

// parseAnswer reads a message. It returns errOther for one that does not
// answer q with that id.
func parseAnswer(msg []byte, id uint16, q dnsmessage.Question) (verdict, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response || h.ID != id {
		return verdict{}, errOther
	}
	asked, err := p.Question()
	if h.RCode == dnsmessage.RCodeFormatError || h.RCode == dnsmessage.RCodeNotImplemented {
		if err != nil || sameQuestion(asked, q) { // an old server may not repeat the question
			return verdict{answer: answer{err: ErrServer}, noEDNS: true}, nil
		}
	}
	if err != nil || !sameQuestion(asked, q) {
		return verdict{}, errOther
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return verdict{}, errOther
	}
	switch {
	case h.Truncated:
		return verdict{truncated: true}, nil
	case h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError:
		return verdict{answer: answer{err: ErrServer}}, nil
	}
	rs, err := readRecords(&p)
	if err != nil {
		return verdict{answer: answer{err: ErrServer}}, nil
	}
	return verdict{answer: rs.follow(fold(q.Name), q.Type, h)}, nil
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && fold(a.Name) == fold(b.Name)
}

// fold returns a name in lower case without its trailing dot.
func fold(n dnsmessage.Name) string {
	return strings.ToLower(strings.TrimSuffix(n.String(), "."))
}

// records are the answer section of a message, and how long its emptiness holds.
type records struct {
	alias    map[string]alias
	addrs    map[string][]addr
	negative time.Duration
	soa      bool
	referral bool // the server sends us to another one
}

type alias struct {
	target string
	ttl    uint32
}

type addr struct {
	netip.Addr
	ttl uint32
}

func readRecords(p *dnsmessage.Parser) (*records, error) {
	rs := &records{alias: make(map[string]alias), addrs: make(map[string][]addr)}
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return rs, rs.readAuthority(p)
		}
		if err != nil {
			return nil, err
		}
		if err := rs.add(p, h); err != nil {
			return nil, err
		}
	}
}

func (rs *records) add(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) error {
	owner := fold(h.Name)
	switch {
	case h.Class != dnsmessage.ClassINET:
		return p.SkipAnswer()
	case h.Type == dnsmessage.TypeCNAME:
		r, err := p.CNAMEResource()
		if err != nil {
			return err
		}
		if _, twice := rs.alias[owner]; !twice {
			rs.alias[owner] = alias{fold(r.CNAME), h.TTL}
		}
	case h.Type == typeA:
		r, err := p.AResource()
		if err != nil {
			return err
		}
		rs.addrs[owner] = append(rs.addrs[owner], addr{netip.AddrFrom4(r.A), h.TTL})
	case h.Type == typeAAAA:
		r, err := p.AAAAResource()
		if err != nil {
			return err
		}
		rs.addrs[owner] = append(rs.addrs[owner], addr{netip.AddrFrom16(r.AAAA), h.TTL})
	default:
		return p.SkipAnswer()
	}
	return nil
}

// readAuthority looks for the SOA that says how long a negative answer holds
// (RFC 2308).
func (rs *records) readAuthority(p *dnsmessage.Parser) error {
	for {
		h, err := p.AuthorityHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type != dnsmessage.TypeSOA {
			rs.referral = rs.referral || h.Type == dnsmessage.TypeNS
			if err := p.SkipAuthority(); err != nil {
				return err
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return err
		}
		rs.soa = true
		rs.negative = min(seconds(h.TTL), seconds(soa.MinTTL))
	}
}

// follow goes from name along the aliases to the addresses of the type. Records
// of other names are nobody's business.
func (rs *records) follow(name string, typ dnsmessage.Type, h dnsmessage.Header) answer {
	ttl := maxTTL
	at := name
	for range maxChain {
		if found := rs.of(at, typ); len(found) > maxAddrs {
			return answer{err: ErrMany}
		} else if len(found) > 0 {
			a := answer{ttl: ttl, addrs: make([]netip.Addr, 0, len(found))}
			for _, one := range found {
				a.addrs = append(a.addrs, one.Addr)
				a.ttl = min(a.ttl, seconds(one.ttl))
			}
			return a
		}
		next, ok := rs.alias[at]
		if !ok {
			return rs.empty(name, at, ttl, h)
		}
		ttl = min(ttl, seconds(next.ttl))
		at = next.target
	}
	return answer{err: ErrServer} // a loop
}

func (rs *records) of(name string, typ dnsmessage.Type) (found []addr) {
	for _, a := range rs.addrs[name] {
		if a.Is4() == (typ == typeA) {
			found = append(found, a)
		}
	}
	return found
}

// empty is the answer when the chain from name ends at a name without addresses.
func (rs *records) empty(name, at string, ttl time.Duration, h dnsmessage.Header) answer {
	switch {
	case at == "": // an alias of the root: there is nothing
		return answer{ttl: ttl, err: ErrNoName}
	case h.RCode == dnsmessage.RCodeNameError:
		return answer{ttl: min(ttl, rs.negative), err: ErrNoName}
	case rs.soa:
		return answer{ttl: min(ttl, rs.negative), err: ErrNoData}
	case at != name:
		return answer{ttl: ttl, alias: at}
	case rs.referral && !h.RecursionAvailable && !h.Authoritative:
		return answer{err: ErrServer}
	}
	return answer{err: ErrNoData}
}

// seconds is a TTL; one with the highest bit set is 0 (RFC 2181 8).
func seconds(ttl uint32) time.Duration {
	if ttl>>31 != 0 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
