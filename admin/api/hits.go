package api

import "time"

// RuleHits is the body of /policy/hits: what each list, feed, ACL and plugin did since the
// lictor that answers knows it. Others count by themselves.
type RuleHits struct {
	Started time.Time `json:"started"` // the lictor: nothing is counted from before
	Rules   []RuleHit `json:"rules"`   // by key
}

// RuleHit is what one rule did.
type RuleHit struct {
	Key       string     `json:"key"`         // kind/name
	Mode      string     `json:"mode"`        // enforce, report
	Passed    uint64     `json:"passed"`      // requests that it let pass; a blacklist lets none pass
	Refused   uint64     `json:"refused"`     // requests that it refused
	Would     uint64     `json:"would"`       // requests that it would have refused, in report mode; of whitelists, and of the ACLs of an API, those that none of them lets pass
	Last      *time.Time `json:"last"`        // of any of these; null = none
	LastWould *time.Time `json:"last_would"`  // null = none
	Changed   *time.Time `json:"in_force"`    // since when it is in force as it stands; null = not known
	Ready     bool       `json:"enforceable"` // in report mode: it stood for a day, and would have refused nothing in that time
}
