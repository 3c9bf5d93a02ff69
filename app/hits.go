package app

import (
	"net/http"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/admin/openapi"
)

// hits tells what the rules did.
func (p *Lictor) hits() *api.RuleHits {
	now := time.Now()
	out := &api.RuleHits{Started: p.began, Rules: []api.RuleHit{}}
	for _, h := range p.policy.Loaded().Hits() {
		out.Rules = append(out.Rules, api.RuleHit{
			Key: h.Key, Mode: string(h.Mode), Passed: h.Passed, Refused: h.Refused, Would: h.Would,
			Last: momentOrNull(h.Last), LastWould: momentOrNull(h.LastWould), Changed: momentOrNull(h.Changed), Ready: h.Ready(now),
		})
	}
	return out
}

func momentOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// hitsRoute tells it to programs.
func (p *Lictor) hitsRoute() admin.Route {
	return admin.Route{Method: "GET", Path: "/policy/hits", May: admin.Read, Handler: func(w http.ResponseWriter, _ *http.Request) {
		admin.WriteJSON(w, http.StatusOK, p.hits())
	}, Doc: &openapi.Operation{
		Tag:     "State",
		Summary: "How many requests each list, feed, ACL and plugin let pass, refused or would have refused in report mode, and when it did so last; which are ready to be enforced. Of this lictor, since its start",
		Answers: []openapi.Answer{{Status: 200, About: "the rules, by key", Body: openapi.Of(api.RuleHits{})}},
	}}
}
