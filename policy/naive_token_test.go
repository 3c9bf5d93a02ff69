package policy_test

import (
	"slices"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/go-hclog"

	"lictor/policy"
	"lictor/policy/tokens"
)

// naiveToken is a token whose claims are known without reading it.
type naiveToken struct {
	text, sub string
	roles     []string
	good      bool
}

const tokenSecret = "the secret of the random policies"

// naiveTokens are those that random requests show, by name; "" shows none.
var naiveTokens = func() map[string]naiveToken {
	all := map[string]naiveToken{
		"": {}, "ann": {sub: "ann", good: true}, "bob": {sub: "custom-bob", roles: []string{"g1"}, good: true}, "cyd": {sub: "cyd", roles: []string{"g2", "g3"}, good: true},
		"eve": {sub: "eve", roles: []string{"g1", "g3"}, good: true}, "none": {good: true}, "old": {sub: "ann"}, "forged": {sub: "ann"},
	}
	for name, t := range all {
		claims := jwt.MapClaims{"exp": noon.Unix() + 60, "roles": t.roles}
		if t.sub != "" {
			claims["sub"] = t.sub
		}
		key := tokenSecret
		switch name {
		case "":
			continue
		case "old":
			claims["exp"] = noon.Unix() - 1
		case "forged":
			key += "!"
		}
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
		if err != nil {
			panic(err)
		}
		t.text = text
		all[name] = t
	}
	return all
}()

var verifier = func() *tokens.Verifier {
	v, err := tokens.New(tokens.Config{Policy: func() *policy.Set { return nil }, Log: hclog.NewNullLogger()})
	if err != nil {
		panic(err)
	}
	return v
}()

// bearer asks for a token, if the API wants one (P2). It returns who shows it, with
// the groups that it brings.
func (n *naive) bearer(api string, keyed *policy.Consumer, token string, r *policy.Request, v *naiveVerdict) (*policy.Consumer, policy.Reason) {
	won := n.winner("jwt", api, keyed, r, false)
	if won == nil {
		return keyed, ""
	}
	t := naiveTokens[token]
	switch {
	case token == "":
		return nil, policy.ReasonNoCredentials
	case !t.good:
		return nil, policy.ReasonBadCredentials
	}
	var named *policy.Consumer
	if won.Config["consumer_claim"] != nil && t.sub != "" {
		for _, c := range n.consumers {
			if c.CustomID == t.sub {
				named = c
			}
		}
		if named == nil {
			named = n.consumers[t.sub]
		}
	}
	switch {
	case named == nil && won.Config["consumer_claim"] != nil && won.Config["consumer_optional"] == false:
		return nil, policy.ReasonBadCredentials
	case named != nil && keyed != nil && named != keyed:
		return nil, policy.ReasonBadCredentials
	case named == nil:
		named = keyed
	}
	who := &policy.Consumer{}
	if named != nil {
		*who = *named
		v.consumer = who.Name
	}
	who.Groups = slices.Clone(who.Groups)
	if won.Config["groups_claim"] != nil {
		who.Groups = append(who.Groups, t.roles...)
	}
	v.hide = v.hide || won.Config["hide_credentials"] == true
	return who, ""
}
