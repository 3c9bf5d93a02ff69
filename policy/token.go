package policy

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// Tokens verifies JSON Web Tokens for the plugin jwt (P2). It is handed in with a
// Request, for the keys may come from the network and what was verified is
// remembered; package policy/tokens is the one that serves. Its methods may be
// called by any goroutine, and do not block.
type Tokens interface {
	// Verify returns what a token says that is good by the rules at a time. An
	// error says what is wrong with it, for an explanation; ErrNoKeys is that
	// nobody can tell. The text need live no longer than the call.
	Verify(rules *TokenRules, token string, now time.Time) (*Token, error)

	// Holds returns nil if a token that Verify accepted under some rules would be
	// accepted under these at a later time, as far as can be told without its text.
	Holds(rules *TokenRules, t *Token, now time.Time) error
}

// ErrNoKeys says that the keys of a token's issuer were not read yet.
var ErrNoKeys = errors.New("the keys of jwks_url were not read yet")

// TokenRules are what a configuration of the plugin jwt demands of a token. They
// are immutable; the same pointer is the same configuration.
type TokenRules struct {
	Keys       any           // as the KeyReader made them; nil: there are none but those of URL
	URL        string        // of a JWK set; "" = none
	Refresh    time.Duration // how old the set of URL may get
	Algorithms []string      // that a token may be signed by; the key has to be one for it
	Issuer     string        // "" = any
	Audiences  []string      // of which one must be the token's; nil = any
	Leeway     time.Duration // of all times

	ConsumerClaim string        // "" = tokens name no consumer
	GroupsClaim   string        // "" = tokens bring no groups
	Headers       []ClaimHeader // that the backend gets; Value is the name of the claim

	Settings [32]byte // hash of all but the keys: rules with the same accept the same of a key
}

// ClaimHeader is a header field that lictor makes of a claim.
type ClaimHeader struct {
	Name  string
	Value string // "" = the token says none, and no field is set
}

// Token is what a verified token says. It is immutable but for what is remembered.
type Token struct {
	Consumer  string        // the value of the consumer claim; "" = there is none
	Groups    []string      // of the groups claim
	Headers   []ClaimHeader // as those of the rules, with the values of the claims
	NotBefore time.Time     // with leeway; zero = from ever
	Expires   time.Time     // with leeway; it holds until then
	Key       [32]byte      // hash of the key that verified it
	Settings  [32]byte      // of the rules that it was verified by

	bearer atomic.Pointer[bearer]
}

// bearer is a consumer with the groups of a token.
type bearer struct{ base, who *liveConsumer }

// bearerOf returns who shows the token: the consumer with the token's groups. base is
// nil if no consumer is known: then it is somebody without a name. What is
// returned is kept for the next request.
func (t *Token) bearerOf(base *liveConsumer) *liveConsumer {
	if base != nil && len(t.Groups) == 0 {
		return base
	}
	if b := t.bearer.Load(); b != nil && b.base == base {
		return b.who
	}
	who := &liveConsumer{}
	if base != nil {
		*who = *base
	}
	groups := slices.Clone(who.Groups)
	for _, g := range t.Groups {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	who.Groups, who.GroupsText = groups, joinGroups(groups)
	t.bearer.Store(&bearer{base, who})
	return who
}

// KeyReader reads the keys and secrets of a plugin jwt, and tells what is wrong
// with them. What it returns is handed back in [TokenRules.Keys]; it must be
// immutable, and show no secret by any verb of fmt.
type KeyReader func(keys, secrets, algorithms []string, wrong func(field, format string, args ...any)) any

// keyReader is who reads keys. The core knows no cryptography of its own: what
// parses certificates knows the network.
var keyReader KeyReader

// RegisterKeyReader sets who reads keys, as crypto.RegisterHash does for hashes.
// It is to be called by an init function.
func RegisterKeyReader(read KeyReader) { keyReader = read }

// TokenRules returns the rules of all plugins jwt that are in force or in report
// mode, in no order.
func (s *Set) TokenRules() []*TokenRules {
	if s == nil {
		return nil
	}
	return s.tokenRules
}
