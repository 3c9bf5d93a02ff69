package app

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"lictor/admin/objects"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/policy/replay"
	"lictor/proxy/answer"
)

// buildDecisionLog opens the decision log, if there is one.
func (p *Lictor) buildDecisionLog() (err error) {
	c := &p.cfg.DecisionLog
	if c.Path == "" {
		return nil
	}
	log := p.log.Named("decision log")
	told := func(err error) {
		if err != nil {
			log.Error("decisions cannot be written, they are dropped until they can", "error", err)
			return
		}
		log.Info("decisions are written again")
	}
	if p.decisions, err = answer.NewDecisionLog(c.Path, c.Size, decisionSettings(c), told); err != nil {
		return fmt.Errorf("decision_log: %w", err)
	}
	p.tellDecisionLog(p.cfg)
	p.services = append(p.services, supervisor.Service{Name: "decision log", Run: p.decisions.Run, Grace: 5 * time.Second})
	return p.registry.Register(p.decisions)
}

func decisionSettings(c *config.DecisionLog) answer.DecisionSettings {
	return answer.DecisionSettings{
		Sample: c.Sample, Refused: c.Refused,
		Mask: answer.Mask{Client4: c.Client.V4, Client6: c.Client.V6, Segments: c.Segments},
	}
}

// tellDecisionLog gives the decision log what a configuration says of it, and of what
// the decisions rest on beside the policy.
func (p *Lictor) tellDecisionLog(cfg *config.Config) {
	if p.decisions == nil {
		return
	}
	head := answer.DecisionHead{BindConsumers: cfg.ACL.BindConsumers, Prefix: cfg.Policy.Prefix, Countries: cfg.GeoIP.Database != ""}
	for i := range cfg.Middleware {
		head.Middleware = append(head.Middleware, answer.HeadOf(&cfg.Middleware[i]))
	}
	p.decisions.Update(cfg.DecisionLog.Size, decisionSettings(&cfg.DecisionLog), head.Line())
}

// decisionPath is where the decision log is, for commands on the same machine; "" if
// there is none.
func (p *Lictor) decisionPath() string {
	if p.decisions == nil {
		return ""
	}
	path, err := filepath.Abs(p.cfg.DecisionLog.Path)
	if err != nil { // the working directory is gone
		return p.cfg.DecisionLog.Path
	}
	return path
}

// decisionProblems tell that decisions are lost.
func (p *Lictor) decisionProblems() (all []string) {
	if p.decisions == nil {
		return nil
	}
	if err := p.decisions.Err(); err != nil {
		all = append(all, "decision log: it cannot be written, decisions are dropped: "+err.Error())
	}
	full, disk, unmasked, long := p.decisions.Lost()
	for _, why := range []struct {
		n    uint64
		text string
	}{{full, "the disk did not take them in time"}, {disk, "they could not be written"}, {unmasked, "they could not be masked"}, {long, "they are too long"}} {
		if why.n > 0 {
			all = append(all, fmt.Sprintf("decision log: %d decisions were dropped since the start: %s", why.n, why.text))
		}
	}
	return all
}

// recorded are the decisions that changes of the policy can be tried on.
func (p *Lictor) recorded() objects.Decisions {
	if p.decisions == nil {
		return objects.Decisions{}
	}
	return objects.Decisions{Set: p.policy.Loaded, Prefix: p.cfg.Policy.Prefix, Open: func(since time.Time) (io.ReadCloser, error) {
		_ = p.decisions.Flush() // else what was decided last is left out
		return replay.OpenLog(p.cfg.DecisionLog.Path, since)
	}}
}
