package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// rounds is how often each server is asked before giving up.
const rounds = 2

// maxQuestions bounds the names asked for one look-up, along aliases that the
// servers do not follow by themselves.
const maxQuestions = 8

// ask returns what the servers say about a name and type.
func (r *Resolver) ask(ctx context.Context, name string, typ dnsmessage.Type) answer {
	ttl := maxTTL
	for range maxQuestions {
		a := r.askServers(ctx, name, typ)
		a.ttl = min(a.ttl, ttl)
		if a.alias == "" {
			return a
		}
		name, ttl = a.alias, a.ttl
	}
	return answer{err: ErrServer}
}

// askServers asks one server after the other until one knows.
func (r *Resolver) askServers(ctx context.Context, name string, typ dnsmessage.Type) answer {
	servers := *r.servers.Load()
	if len(servers) == 0 {
		servers = r.conf.get()
	}
	if len(servers) == 0 {
		servers = []netip.AddrPort{netip.AddrPortFrom(localhost[0], 53)}
	}
	patience := r.timeout / time.Duration(rounds*len(servers))
	last := answer{err: errTimedOut}
	for range rounds {
		for _, server := range servers {
			if ctx.Err() != nil {
				return answer{err: errTimedOut}
			}
			a := askServer(ctx, server, name, typ, patience)
			if !a.fails() || errors.Is(a.err, ErrBadName) {
				return a
			}
			last = a
		}
	}
	return last
}

// askServer asks one server: by UDP, by TCP if the answer does not fit, and
// without EDNS if the server does not know it.
func askServer(ctx context.Context, server netip.AddrPort, name string, typ dnsmessage.Type, patience time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	network := "udp"
	for edns := true; ; {
		v, err := exchange(ctx, network, server, name, typ, edns)
		switch {
		case isTimeout(err) || err != nil && ctx.Err() != nil:
			return answer{err: errTimedOut}
		case errors.Is(err, ErrBadName):
			return answer{err: ErrBadName}
		case err != nil:
			return answer{err: ErrServer}
		case v.noEDNS && edns:
			edns = false
		case v.truncated && network == "udp":
			network = "tcp"
		case v.truncated:
			return answer{err: ErrServer}
		default:
			return v.answer
		}
	}
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// exchange sends one question and reads its answer. Each has a socket of its
// own, hence a port that nobody can foresee, and a random id.
func exchange(ctx context.Context, network string, server netip.AddrPort, name string, typ dnsmessage.Type, edns bool) (verdict, error) {
	var random [2]byte
	rand.Read(random[:]) // never fails
	id := binary.BigEndian.Uint16(random[:])
	msg, q, err := question(id, name, typ, edns)
	if err != nil {
		return verdict{}, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return verdict{}, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return verdict{}, err
		}
	}
	if network == "tcp" {
		return overTCP(c, msg, id, q)
	}
	if _, err := c.Write(msg); err != nil {
		return verdict{}, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return verdict{}, err
		}
		if v, err := parseAnswer(buf[:n], id, q); err == nil {
			return v, nil
		}
	}
}

func overTCP(c net.Conn, msg []byte, id uint16, q dnsmessage.Question) (verdict, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, len(msg)+2), uint16(len(msg)))
	if _, err := c.Write(append(framed, msg...)); err != nil {
		return verdict{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return verdict{}, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, buf); err != nil {
		return verdict{}, err
	}
	return parseAnswer(buf, id, q)
}
