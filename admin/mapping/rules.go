package mapping

import (
	"fmt"
	"net/http"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// maxRules bounds how many rules move with a mapping: it is one transaction.
const maxRules = 48

// ruleKinds are the kinds that name the API they are about, which for a mapping
// is its domain (X3).
var ruleKinds = []policy.Kind{policy.KindACLs, policy.KindPluginMappings, policy.KindAPIs}

// moveRules gives the rules of one domain to another, which must have none: the
// rules of two are not mixed. Who may not change rules moves none: they may guard more
// than the mapping, such as a service that is called like the domain or claims it.
func moveRules(t *edit.Txn, from, to string, may bool) error {
	moved := 0
	for _, kind := range ruleKinds {
		all, err := t.List(kind)
		if err != nil {
			return err
		}
		for _, o := range all {
			if about(o) != from {
				continue
			}
			if !may {
				return admin.MayNot(fmt.Sprintf("Domain %s has rules, which this token may not move", from), admin.Write)
			}
			if moved++; moved > maxRules {
				return inUse(fmt.Sprintf("Domain %s has more than %d rules, which cannot move at once; delete some or make another mapping", from, maxRules))
			}
			if err := moveRule(t, o.Key, from, to); err != nil {
				return err
			}
		}
	}
	if moved == 0 {
		return nil
	}
	return refuseRules(t, to)
}

// refuseRules returns an error for a domain that has rules: those that move there
// would admit others to it.
func refuseRules(t *edit.Txn, domain string) error {
	for _, kind := range ruleKinds {
		all, err := t.List(kind)
		if err != nil {
			return err
		}
		for _, o := range all {
			if about(o) == domain {
				return inUse(fmt.Sprintf("Domain %s has rules already, among them %s; delete them or those of the mapping", domain, o.Key))
			}
		}
	}
	return nil
}

func inUse(message string) error {
	return &admin.Refusal{Status: http.StatusConflict, Reason: "in_use", Message: message}
}

// about returns the API that a rule is about.
func about(o *edit.Object) string {
	if o.Key.Kind == policy.KindAPIs {
		return o.Key.Name
	}
	return policy.APIOf(o.Content)
}

// moveRule gives one rule to another domain.
func moveRule(t *edit.Txn, key policy.Key, from, to string) error {
	o, err := t.Get(key)
	if err != nil || o == nil || about(o) != from {
		return err
	}
	if o.Problems != nil {
		return inUse(fmt.Sprintf("%s is about the domain and cannot be read: %s; replace or delete it", o.Key, o.Problems.Error()))
	}
	next, at := policy.Clone(o.Content), key
	switch x := next.(type) {
	case *policy.ACL:
		x.API = to
	case *policy.PluginMapping:
		x.API = to
	case *policy.API:
		x.Name, at.Name = to, to
	}
	if _, err = t.Put(at, next); err == nil && at != key {
		err = t.Delete(key)
	}
	return err
}
