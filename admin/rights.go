package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lictor/internal/secret"
)

// Right is what a token may do, as a set. A [Route] names those of which one is
// enough. The zero value is no right: only who may all passes.
type Right uint8

const (
	Read    Right = 1 << iota // look at the state, the policy and requests of late
	Metrics                   // read /metrics
	Explain                   // ask what becomes of requests, which tells whose a key is
	Write                     // change the policy
	Tenant                    // read and change the mappings of one's own tenants

	// AnyRight is for what every token may.
	AnyRight = Read | Metrics | Explain | Write | Tenant
)

// Access is a token with rights of its own (R6).
type Access struct {
	Name      string      // who has it, for the log and the audit
	Token     secret.Text // or
	TokenFile string      // the file that has it, read again when it is another one; "" = it stands in Token
	May       Right
	All       bool     // as the token of the configuration
	Tenants   []string // of Tenant
	Domains   []string // that Tenant is for, as [uri.ParseDomain] gives them, "*.x" for all below x; none = any
}

// words are the rights as the configuration spells them.
var words = map[string]Right{"read": Read, "metrics": Metrics, "explain": Explain, "policy": Write | Read}

// SetMay reads rights: read, metrics, explain, policy (which reads as well),
// mapping:TENANT, and admin, which may all. Every word that is none of them is told.
func (a *Access) SetMay(rights []string) error {
	var wrong []error
	for _, word := range rights {
		tenant, mapping := strings.CutPrefix(word, "mapping:")
		switch right, ok := words[word]; {
		case ok:
			a.May |= right
		case word == "admin":
			a.All = true
		case mapping && tenant != "":
			a.May |= Tenant
			a.Tenants = append(a.Tenants, tenant)
		default:
			wrong = append(wrong, fmt.Errorf("%.100q is no right, want read, metrics, explain, mapping:TENANT, policy or admin", word))
		}
	}
	if len(rights) == 0 {
		wrong = append(wrong, errors.New("is empty, so the token may do nothing"))
	}
	return errors.Join(wrong...)
}

// allows reports whether a holder may do what needs one of some rights, for the
// tenant in the path, if there is one.
func (a *Access) allows(needs Right, tenant string) bool {
	has := a.May & needs
	switch {
	case a.All, has&^Tenant != 0, needs == AnyRight && has != 0:
		return true
	}
	return has != 0 && slices.Contains(a.Tenants, tenant)
}

// takes reports whether a holder may have a domain lead somewhere, or nowhere any more.
func (a *Access) takes(domain string) bool {
	if a.allows(Write, "") || len(a.Domains) == 0 {
		return true
	}
	return slices.ContainsFunc(a.Domains, func(pattern string) bool {
		below, wild := strings.CutPrefix(pattern, "*")
		return domain == pattern || wild && strings.HasSuffix(domain, below)
	})
}

// String says the rights that are enough, for a refusal.
func (r Right) String() string {
	var names []string
	for _, n := range []struct {
		right Right
		name  string
	}{{Read, "read"}, {Metrics, "metrics"}, {Explain, "explain"}, {Write, "policy"}, {Tenant, "mapping of this tenant"}} {
		if r&n.right != 0 {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "admin"
	}
	return strings.Join(names, " or ")
}
