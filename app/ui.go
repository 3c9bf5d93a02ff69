package app

import (
	"time"

	"lictor/admin/api"
	"lictor/admin/ui"
	"lictor/app/supervisor"
	"lictor/proxy/answer"
)

// buildUI makes the pages for operators. What they show, the admin API tells.
func (p *Lictor) buildUI() (*ui.UI, error) {
	counts, err := answer.NewCounts(p.registry, "", answer.Detail{}) // the series that the listeners share
	if err != nil {
		return nil, err
	}
	cfg := ui.Config{
		Status:  func() *api.Status { return p.admin.Status() },
		Explain: p.explainer(),
		Traffic: func() ui.Traffic {
			return ui.Traffic{Answered: counts.Answered(), Refused: counts.Refused(""), Egress: counts.Refused("egress")}
		},
		Load: p.load,
		Hits: p.hits, LastUsed: func(key string) time.Time { return p.policy.Loaded().LastUsed(key) },
		Recent: p.recent.List, Changes: p.policy.Changes,
		Prefix: p.cfg.Policy.Prefix,
		List:   p.documents.List, Get: p.documents.Get, Check: p.documents.Check, Write: p.documents.Write,
	}
	if p.documents.Replays() {
		cfg.Replay = p.documents.Replay
	}
	pages, err := ui.New(cfg)
	if err == nil {
		p.services = append(p.services, supervisor.Service{Name: "ui", Run: pages.Run, Grace: time.Second})
	}
	return pages, err
}
