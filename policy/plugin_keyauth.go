package policy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"lictor/internal/uri"
)

// keyAuth is the plugin key-auth (C19-C23): who presents a known key is its
// consumer.
//
// A key is known only by its SHA-256. The digest is looked up in a hash table,
// which is constant time in the sense that matters: how long it takes depends
// on the digest of what was presented, never on how much of it is right, and
// nobody can choose keys whose digests approach a stored one.
type keyAuth struct{}

// keyAuthConfig is its configuration. Header names are compared without case,
// query arguments with it.
type keyAuthConfig struct {
	names []string
	hide  bool
}

// keyNames are where a key is recognised without any configuration (C22).
var keyNames = []string{"apikey"}

const challenge = `Key realm="lictor"`

func (keyAuth) name() string         { return "key-auth" }
func (keyAuth) compare(a, b any) int { return 0 }

func (keyAuth) settings() []Field {
	return []Field{
		{Name: "key_names", Alias: "keynames", Type: TypeList, Default: "apikey", Example: "X-Api-Key",
			Doc: "headers and arguments of the query that may hold the key; apikey if it is not given"},
		{Name: "hide_credentials", Type: TypeTruth, Default: "false", Example: "true", Doc: "the key is not passed on"},
	}
}

func (p keyAuth) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	c := &keyAuthConfig{names: keyNames, hide: given.truth("hide_credentials")}
	names, ok := given["key_names"].([]string)
	if !ok {
		return c
	}
	c.names = names
	field := "config.key_names"
	if config["keynames"] != nil {
		field = "config.keynames"
	}
	if len(names) == 0 {
		wrong(field, "is empty, want a list of names")
	}
	for _, n := range names {
		if !isToken(n) {
			wrong(field, "%q is no name of a header", n)
		}
	}
	return c
}

// liveCredential is a credential in force.
type liveCredential struct {
	*Credential
	digest [32]byte
	used   *atomic.Int64 // see object
}

func digestHash(d *[32]byte) uint64 { return binary.LittleEndian.Uint64(d[:]) }

// presented is a key found in a request.
type presented struct {
	found, twice bool
	name         string // under which it was found
	digest       [32]byte
}

func (keyAuth) run(d *decision, won, report *livePlugin) bool {
	if d.facts != nil {
		return d.recheckIdentity(won)
	}
	if d.asConsumer() {
		return true
	}
	if report != nil {
		d.reportKey(report)
	}
	names := keyNames
	if won != nil {
		names = won.config.(*keyAuthConfig).names
		d.looksIn(names)
	}
	var key presented
	if won != nil || d.set.credentials.Len() > 0 {
		key = d.presented(names)
		d.verdict.Rests.KeyNames, d.verdict.Rests.Key = names, key.name
	}
	switch {
	case key.found && !key.twice:
		d.who = d.identify(&key.digest)
	case !key.found && len(d.req.Names) > 0:
		d.who = d.set.certified(d.req.Names) // key.digest is zero, which is no key's
	}
	switch {
	case d.who != nil:
		d.identified(key.digest)
	case d.scopedKey():
	case won == nil:
		d.rec.skip("key-auth", "no key is demanded here")
		d.explainKey(key)
	case !key.found:
		return d.denyKey(won, ReasonNoCredentials, "No API key found in request")
	case key.twice:
		return d.denyKey(won, ReasonBadCredentials, "Duplicate API key found")
	default:
		d.denyKey(won, ReasonBadCredentials, "Unauthorized")
		d.explainKey(key)
		return false
	}
	return true
}

// scopedKey looks for a key where a configuration that is mapped to consumers
// wants it, and accepts it if it is that of such a consumer (C23).
func (d *decision) scopedKey() bool {
	for _, a := range [...]*apiPlugins{d.set.plugins[d.route.API], d.set.plugins[""]} {
		if a == nil {
			continue
		}
		for _, names := range a[typeKeyAuth].scopedNames {
			key := d.presented(names)
			if !key.found || key.twice {
				continue
			}
			if d.who = d.identify(&key.digest); d.who == nil {
				continue
			}
			if won, _ := d.choose(typeKeyAuth); won != nil && slices.Equal(won.config.(*keyAuthConfig).names, names) {
				d.verdict.Rests.KeyNames, d.verdict.Rests.Key = names, key.name
				d.identified(key.digest)
				return true
			}
			d.who, d.verdict.Credential = nil, ""
		}
	}
	return false
}

// identified notes who it is, with what the configuration that wins for this
// consumer hides (C23).
func (d *decision) identified(digest [32]byte) {
	d.keyed = d.who
	d.verdict.Identity, d.verdict.digest, d.verdict.keyed = &d.who.Identity, digest, true
	won, _ := d.choose(typeKeyAuth)
	if won != nil {
		c := won.config.(*keyAuthConfig)
		if d.looksIn(c.names); c.hide {
			d.verdict.Hide = c.names
		}
	}
	if d.rec != nil {
		d.rec.recordPlugin("key-auth", won)
		d.rec.identity(d.who)
		d.rec.pass("key-auth", won.ruleOf(), d.shown(digest)+" belongs to consumer "+d.who.Name)
	}
}

// shown is what the client was identified by.
func (d *decision) shown(digest [32]byte) string {
	switch {
	case d.req.As != "":
		return "the question"
	case digest == [32]byte{}:
		return "the certificate"
	}
	return "the key"
}

func (x *candidate) ruleOf() Rule {
	if x == nil {
		return Rule{}
	}
	return x.rule()
}

// reportKey tells what a configuration in report mode would have done.
func (d *decision) reportKey(p *livePlugin) {
	key := d.presented(p.config.(*keyAuthConfig).names)
	switch {
	case !key.found:
		d.wouldDeny("key-auth", ReasonNoCredentials, p.rule())
	case key.twice:
		d.wouldDeny("key-auth", ReasonBadCredentials, p.rule())
	default:
		if who, _ := d.set.identify(&key.digest, d.req.Now); who == nil {
			d.wouldDeny("key-auth", ReasonBadCredentials, p.rule())
		}
	}
}

func (d *decision) denyKey(p *livePlugin, reason Reason, message string) bool {
	return d.deny("key-auth", refusal{Reason: reason, Status: 401, Message: message, Challenge: challenge, Rule: p.rule()})
}

// presented looks for a key, under each name in the header first, then in the
// query; the first one counts (C19).
func (d *decision) presented(names []string) (key presented) {
	if shown := d.shows(); shown != nil {
		key.name, key.digest, key.twice = shown.Key(names)
		key.found = key.name != ""
		return key
	}
	for _, name := range names {
		value, n := "", 0
		if d.req.Fields != nil {
			value, n = d.req.Fields.Field(name)
		}
		if n == 0 {
			if value, n = uri.Argument(d.req.Path.Query, name); n > 0 {
				value, d.req.scratch.arg = uri.DecodeArgument(value, d.req.scratch.arg)
			}
		}
		if n == 0 || n == 1 && value == "" {
			continue // an empty key is none
		}
		key.found, key.twice, key.name = true, n > 1, name
		key.digest = sha256.Sum256(unsafe.Slice(unsafe.StringData(value), len(value)))
		return key
	}
	return key
}

// identify returns the consumer that a digest belongs to, and notes the key's id,
// which tells the operator of one that has run out whose it was.
func (d *decision) identify(digest *[32]byte) *liveConsumer {
	who, key := d.set.holder(digest, d.req.Now)
	credential := key.id()
	if credential != "" {
		d.verdict.Credential = credential
	}
	if who != nil {
		d.verdict.used = key.used
	}
	if credential != "" || who != nil {
		d.verdict.Rests.KeySum = binary.BigEndian.Uint32(digest[:])
	}
	return who
}

// identify returns the consumer that a digest belongs to, nil if it is unknown,
// has run out, or its consumer is gone; and the id of a key that is known, whether
// it counts or not, "" if it has none.
func (s *Set) identify(digest *[32]byte, now time.Time) (who *liveConsumer, credential string) {
	who, c := s.holder(digest, now)
	return who, c.id()
}

// holder is identify that returns the key itself, nil if it is unknown.
func (s *Set) holder(digest *[32]byte, now time.Time) (*liveConsumer, *liveCredential) {
	c, ok := s.credentials.Get(digestHash(digest), *digest)
	if !ok || subtle.ConstantTimeCompare(c.digest[:], digest[:]) != 1 {
		return nil, nil
	}
	if !c.NotAfter.IsZero() && !now.Before(c.NotAfter) {
		return nil, c
	}
	return s.consumer(c.Consumer), c
}

// id is that of a key, "" of none.
func (c *liveCredential) id() string {
	if c == nil {
		return ""
	}
	return c.ID
}

// recheckIdentity is authentication for a stream that has been let in before:
// whoever it was must still be known, and a key that is now demanded must have
// been given (X14).
func (d *decision) recheckIdentity(won *livePlugin) bool {
	if !d.facts.Identity {
		if won != nil {
			return d.denyKey(won, ReasonNoCredentials, "No API key found in request")
		}
		return true
	}
	if d.facts.Digest == [32]byte{} {
		d.who = d.set.certified(d.facts.Names)
	} else {
		d.who = d.identify(&d.facts.Digest)
	}
	if d.who == nil {
		var rule Rule
		if won != nil {
			rule = won.rule()
		}
		return d.deny("key-auth", refusal{Reason: ReasonBadCredentials, Status: 401, Message: "Unauthorized", Challenge: challenge, Rule: rule})
	}
	d.identified(d.facts.Digest)
	return true
}

// addNames notes a list of key names that a configuration mapped to consumers
// looks at.
func (s *slot) addNames(p *livePlugin) {
	c, ok := p.config.(*keyAuthConfig)
	if ok && !slices.ContainsFunc(s.scopedNames, func(n []string) bool { return slices.Equal(n, c.names) }) {
		s.scopedNames = append(s.scopedNames, c.names)
		slices.SortFunc(s.scopedNames, func(a, b []string) int { return strings.Compare(strings.Join(a, " "), strings.Join(b, " ")) })
	}
}
