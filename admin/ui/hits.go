package ui

import (
	"net/url"
	"strings"
	"time"

	"lictor/admin/api"
	"lictor/policy"
)

// reportRow is a rule in report mode on the page of the policy.
type reportRow struct {
	*api.RuleHit
	Link, Live string // its page; the requests of late that it would have refused
}

// maxReports bounds the rules in report mode that are shown.
const maxReports = 50

// rules are what the rules did, by key, and those in report mode, in the order of
// their keys.
func (u *UI) rules() (by map[string]*api.RuleHit, reports []reportRow, more int) {
	if u.cfg.Hits == nil {
		return nil, nil, 0
	}
	all := u.cfg.Hits().Rules
	by = make(map[string]*api.RuleHit, len(all))
	for i := range all {
		h := &all[i]
		by[h.Key] = h
		switch {
		case h.Mode != "report":
		case len(reports) == maxReports:
			more++
		default:
			row := reportRow{h, objectPath(h.Key), "/ui/live?" + url.Values{"q": {h.Key}}.Encode()}
			if strings.HasPrefix(h.Key, policy.FeedKey) {
				row.Link = row.Live // it is no object of the policy
			}
			reports = append(reports, row)
		}
	}
	return by, reports, more
}

// ago says how long ago something was; "" if it never was.
func ago(when *time.Time) string {
	if when == nil {
		return ""
	}
	return seconds(time.Since(*when).Seconds()) + " ago"
}
