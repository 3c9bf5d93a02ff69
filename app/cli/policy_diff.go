package cli

import (
	"encoding/json"
	"errors"
	"io"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/impact"
)

func policyDiffCommand(stdout io.Writer) *command {
	c := newCommand("policy diff", "Compare a policy kept as files with the store", "[-impact [-json]] [-exit-code] DIR",
		"Says what apply -prune would do. What means the same is no difference, however\nit is written.\n\n"+
			"With -impact it proves which requests would be opened and closed by it: not a\n"+
			"sample, but every class of requests that the rules of both policies tell apart,\n"+
			"each decided by both. It says what is not decided so, and what is not proven.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	proof := c.flags.Bool("impact", false, "prove which requests would be opened and closed")
	asJSON := c.flags.Bool("json", false, "with -impact: print the proof alone, as JSON")
	exitCode := c.exitCode("if something is different; with -impact, if something is opened or closed, or not all is proven")
	c.run = func() error {
		if *asJSON && !*proof {
			return &usageError{errors.New("lictor policy diff: -json goes with -impact")}
		}
		plan, err := planApply(&client, c.arg, true)
		if err != nil {
			return err
		}
		if *proof {
			return plan.prove(stdout, *asJSON, *exitCode)
		}
		if err := plan.printDiff(stdout); err != nil {
			return err
		}
		if *exitCode && len(plan.steps) > 0 {
			return errNotWell
		}
		return nil
	}
	return c
}

// prove tells what the plan opens and closes.
func (p *applyPlan) prove(out io.Writer, asJSON, exitCode bool) error {
	rep := p.impact()
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(rep); err != nil {
			return err
		}
	} else if err := errors.Join(p.printDiff(out), rep.Print(out)); err != nil {
		return err
	}
	if exitCode && (len(rep.Lines) > 0 || !rep.Complete) {
		return errNotWell
	}
	return nil
}

// impact compares the policy that is live with what it is after the plan. A new
// object is younger than all that there are.
func (p *applyPlan) impact() *impact.Report {
	steps := make(map[policy.Key]*step, len(p.steps))
	for i := range p.steps {
		steps[p.steps[i].key] = &p.steps[i]
	}
	var was, is []policy.Change
	youngest := uint64(0)
	for _, o := range p.live.Objects {
		key, ok := policy.ParseKey("policy/" + o.Key)
		if !ok {
			continue
		}
		c := document.Change(key, o.Index, o.Created, o.Value)
		was, youngest = append(was, c), max(youngest, o.Created)
		if s := steps[key]; s == nil {
			is = append(is, c)
		} else if s.file != nil {
			is = append(is, policy.Change{Key: key, Index: o.Index, Created: o.Created, Object: s.file.content})
			delete(steps, key)
		}
	}
	for i := range p.steps {
		if s := &p.steps[i]; steps[s.key] != nil && s.file != nil {
			youngest++
			is = append(is, policy.Change{Key: s.key, Index: youngest, Created: youngest, Object: s.file.content})
		}
	}
	return impact.Compare(was, is, impact.Options{Prefix: "", BindConsumers: p.live.BindConsumers})
}
