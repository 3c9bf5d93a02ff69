package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lictor/policy"
	"lictor/proxy/hops"
	"lictor/proxy/http1/message"
	"lictor/proxy/upstream"
)

// question is what an authority is asked about a request (P3). It lies in memory of
// its own, so that it may outlive the request.
type question struct {
	ask       *policy.Ask
	fields    []byte // of the header
	settings  *upstream.Settings
	client    netip.Addr
	remembers bool     // a yes may be remembered
	key       [32]byte // what it is remembered by
	same      [32]byte // of all that the authority is told
}

// question makes the question that ask is about the request.
func (d *decision) question(ask *policy.Ask, mark hops.Mark) *question {
	q := &question{ask: ask, settings: &d.in.set.Settings, client: d.in.client}
	key := newDigest(ask)
	proto, host, port := d.in.says()
	uri := d.uri()
	key.add(d.in.req.Method, proto, host, uri, d.in.client.String())
	key.add(strconv.Itoa(d.in.listener), port, d.in.prefixBefore()) // an authority may go by each, and a yes at one port is none at another
	by, told := d.credentials(q, &key)
	q.remembers = ask.Cache > 0 && by
	q.key = key.sum()
	for _, value := range told {
		key.add(value)
	}
	key.add(string(d.in.appendFor(nil)))
	q.same = key.sum()
	q.fields = message.AppendField(q.fields, "X-Forwarded-Method", d.in.req.Method)
	q.fields = message.AppendField(q.fields, "X-Forwarded-Uri", uri)
	q.fields = message.AppendField(q.fields, "X-Original-Method", d.in.req.Method)
	q.fields = message.AppendField(q.fields, "X-Original-URL", proto+"://"+host+uri)
	q.fields = message.AppendField(q.fields, "Accept-Encoding", "identity")
	q.fields = d.in.appendTrace(d.in.appendForwarded(q.fields, "", mark), 0, true)
	return q
}

// credentials appends the fields of the client that the authority is told, those
// that a yes goes by to key as well. It reports whether there is one of these that
// says anything, and returns the values of the others.
func (d *decision) credentials(q *question, key *digest) (by bool, told []string) {
	for _, name := range q.ask.RequestHeaders {
		goes := slices.ContainsFunc(q.ask.CacheHeaders, func(n string) bool { return message.EqualFold(n, name) })
		for i := range d.in.req.Fields {
			f := &d.in.req.Fields[i]
			if !message.EqualFold(f.Name, name) || !d.tells(f) {
				continue
			}
			value := f.Value
			if f.ID == message.FieldCookie && q.ask.Cookies != nil {
				if value = only(value, q.ask.Cookies); value == "" {
					continue
				}
			}
			q.fields = message.AppendField(q.fields, f.Name, value)
			if goes {
				key.add(name, value)
				by = by || value != "" && !impersonal(f)
			} else {
				told = append(told, name, value)
			}
		}
	}
	return by, told
}

// impersonal reports whether a field says nothing of who somebody is.
func impersonal(f *message.Field) bool {
	return f.ID == message.FieldAccept || f.ID == message.FieldUserAgent || message.EqualFold(f.Name, "X-Requested-With") || message.EqualFold(f.Name, "Accept-Language")
}

// tells reports whether an authority may be told a field: it is inside, so that a
// field which clients may not send there is not told it either.
func (d *decision) tells(f *message.Field) bool {
	return !f.ID.HopByHop() && !message.Listed(d.in.req.ConnectionNames, f.Name) && d.admits(f) && !isClaim(d.claims, f.Name)
}

// uri is the path and query as the client sent them, but that dot segments are
// resolved as they are for the backend, and that a key which is hidden is not told.
func (d *decision) uri() string {
	if !d.in.path.HasQuery {
		return d.in.path.Target(false)
	}
	return d.in.path.Target(false) + "?" + d.query
}

// says is the scheme, host and maybe port by which the client came.
func (in *inbound) says() (proto, host, port string) {
	if in.trusted {
		return in.told()
	}
	proto, _ = in.scheme()
	return proto, in.req.Host, strconv.Itoa(int(in.c.LocalAddr().Port()))
}

// only keeps those pairs of a Cookie field that have one of the names.
func only(value string, names []string) string {
	var kept []string
	for pair := range strings.SplitSeq(value, ";") {
		pair = strings.Trim(pair, " \t")
		if name, _, ok := strings.Cut(pair, "="); ok && slices.Contains(names, name) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "; ")
}

// digest is the sum of texts, each with its length, so that none can look like two.
type digest struct{ buf []byte }

// newDigest begins with whom is asked: two plugins may go by different things.
func newDigest(ask *policy.Ask) digest {
	var d digest
	d.add(ask.Rule.Key, ask.Where())
	d.buf = binary.BigEndian.AppendUint64(d.buf, ask.Rule.Index)
	return d
}

func (d *digest) add(texts ...string) {
	for _, s := range texts {
		d.buf = binary.BigEndian.AppendUint32(d.buf, uint32(len(s)))
		d.buf = append(d.buf, s...)
	}
}

func (d *digest) sum() [32]byte { return sha256.Sum256(d.buf) }
