package policy

import (
	"errors"
	"fmt"
)

// jwtAuth is the plugin jwt (P2): a token that somebody trusted has signed says
// who it is. Package policy/tokens verifies it; here it is found, and what it says
// is put to use.
type jwtAuth struct{}

func (jwtAuth) name() string         { return "jwt" }
func (jwtAuth) compare(a, b any) int { return 0 }

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = 8 << 10

// What is wrong with what a request shows, for an explanation. The client is told
// the same of all but the first, or it could try tokens and learn from the answers.
var (
	errNoToken   = errors.New("no token was sent")
	errTwoTokens = errors.New("more than one token was sent")
	errLongToken = fmt.Errorf("the token has more than %d bytes", MaxToken)
	errStranger  = errors.New("the token names no consumer that there is")
	errTwoPeople = errors.New("the token is of another consumer than the key or certificate")
	errNoTokens  = errors.New("this lictor verifies no tokens")
)

func (jwtAuth) run(d *decision, won, report *livePlugin) bool {
	if d.facts != nil {
		return d.recheckToken(won)
	}
	shown := d.shows()
	if report != nil && shown == nil {
		d.reportToken(report)
	}
	if won == nil {
		return true
	}
	if shown != nil {
		t, err := shown.Token(won.sum, &won.config.(*jwtConfig).TokenRules)
		return d.bears(won, t, err)
	}
	if d.keyed != nil && d.req.Dry && d.req.As != "" {
		d.rec.pass("jwt", won.rule(), "the question is that of a consumer, who shows no token")
		return true
	}
	c := won.config.(*jwtConfig)
	t, err := d.verified(c)
	return d.bears(won, t, err)
}

// dropClaims has what the client sent of the fields that are made of claims taken
// out of a request for which no token is asked.
func (d *decision) dropClaims() {
	if won, _ := d.choose(typeJWT); won != nil {
		d.drop(won.config.(*jwtConfig).dropped)
	}
}

// verified looks for a token and has it verified.
func (d *decision) verified(c *jwtConfig) (*Token, error) {
	text, n := d.token(c)
	switch {
	case n == 0:
		return nil, errNoToken
	case n > 1:
		return nil, errTwoTokens
	case len(text) > MaxToken:
		return nil, errLongToken
	case d.req.Tokens == nil:
		return nil, errNoTokens
	}
	return d.req.Tokens.Verify(&c.TokenRules, text, d.req.Now)
}

// bears notes what a token says, or refuses the request for what is wrong with it.
func (d *decision) bears(won *livePlugin, t *Token, err error) bool {
	c := won.config.(*jwtConfig)
	var who *liveConsumer
	if err == nil {
		who, err = d.person(c, t)
	}
	if err != nil {
		return d.denyToken(won, err)
	}
	d.who = t.bearerOf(who)
	v := d.verdict
	v.token, v.Claims, v.HideCookies = t, t.Headers, c.hideCookies
	d.drop(c.dropped)
	d.looksIn(c.headers)
	if d.who.ID != "" {
		v.Identity = &d.who.Identity
	}
	v.Hide = Union(v.Hide, c.hide)
	d.explainToken(won, t)
	return true
}

// person finds the consumer of a token: by custom_id, which must be that of one
// alone, else by name. It is the one of the key or certificate if the token names
// nobody that is known, nil if there is none of that either. With both it must be
// the same: rules of two consumers would hold, and nobody could tell which.
func (d *decision) person(c *jwtConfig, t *Token) (*liveConsumer, error) {
	var who *liveConsumer
	if t.Consumer != "" {
		h := hashString(t.Consumer)
		switch same, _ := d.set.byCustomID.Get(h, t.Consumer); len(same) {
		case 0:
			who, _ = d.set.consumers.Get(h, t.Consumer)
		case 1:
			who = same[0]
		default:
			return nil, errStranger // even if that is optional: it is one of them
		}
	}
	switch {
	case who == nil && c.ConsumerClaim != "" && !c.optional:
		return nil, errStranger
	case who == nil:
		return d.keyed, nil
	case d.keyed != nil && d.keyed != who:
		return nil, errTwoPeople
	}
	return who, nil
}

// recheckToken decides again about a request whose token was let pass: it must not
// have run out, and its key and rules must still be the ones (X14).
func (d *decision) recheckToken(won *livePlugin) bool {
	t := d.facts.Token
	switch {
	case won == nil:
		return true // what the token says counts no more
	case t == nil:
		return d.denyToken(won, errNoToken)
	case d.facts.Tokens == nil:
		return d.denyToken(won, errNoTokens)
	}
	return d.bears(won, t, d.facts.Tokens.Holds(&won.config.(*jwtConfig).TokenRules, t, d.req.Now))
}

// reportToken tells what a configuration in report mode would have done.
func (d *decision) reportToken(p *livePlugin) {
	c := p.config.(*jwtConfig)
	t, err := d.verified(c)
	if err == nil {
		_, err = d.person(c, t)
	}
	if err != nil {
		d.wouldDeny("jwt", refusedToken(err).Reason, p.rule())
		d.explainLast(err)
	}
}

// denyToken refuses for what is wrong with a token.
func (d *decision) denyToken(p *livePlugin, err error) bool {
	r := refusedToken(err)
	r.Rule = p.rule()
	d.deny("jwt", r)
	d.explainLast(err)
	return false
}

// refusedToken is the answer to what is wrong with a token (RFC 6750 3). That
// nobody can tell yet is no fault of the client's, whose token may be good.
func refusedToken(err error) refusal {
	switch {
	case errors.Is(err, errNoToken):
		return refusal{Reason: ReasonNoCredentials, Status: 401, Message: "No token found in request", Challenge: `Bearer realm="lictor"`}
	case errors.Is(err, ErrNoKeys), errors.Is(err, errNoTokens):
		return refusal{Reason: ReasonPolicyUnavailable, Status: 503, Message: messageUnavailable}
	}
	return refusal{Reason: ReasonBadCredentials, Status: 401, Message: "Unauthorized", Challenge: `Bearer realm="lictor", error="invalid_token"`}
}

// explainLast adds what was wrong to what the step said last.
func (d *decision) explainLast(err error) {
	if d.rec != nil && len(d.rec.Steps) > 0 {
		last := &d.rec.Steps[len(d.rec.Steps)-1]
		if last.Note != "" {
			last.Note += ": "
		}
		last.Note += err.Error()
	}
}

// explainToken tells whose the token is and for how long it holds.
func (d *decision) explainToken(won *livePlugin, t *Token) {
	if d.rec == nil {
		return
	}
	whose := "the token names no consumer"
	if d.who.ID != "" {
		whose = "the token is shown by consumer " + d.who.Name
		d.rec.identity(d.who)
	}
	d.rec.pass("jwt", won.rule(), whose+", and holds until "+t.Expires.UTC().Format("2006-01-02 15:04:05 MST"))
}
