package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// step is one object that is to change.
type step struct {
	key  policy.Key
	file *policyFile // nil: delete it
	live *api.Object // nil: the store does not have it
	held bool        // the store lost it, but it is in force

	names consumerNames // by which the two are compared
}

// applyPlan is what makes the live policy that of the files.
type applyPlan struct {
	steps []step
	same  int      // objects that are already as they should be
	extra int      // live objects without a file that stay
	lost  int      // of them, those that the store has lost
	left  []string // files that are not read
	live  *api.List
}

// closing is the order in which kinds are written: what closes before what
// opens, and a plugin after the mapping that keeps it from being global.
// Deletions go the other way round.
var closing = []policy.Kind{
	policy.KindBlacklist, policy.KindWhitelist, policy.KindFilters, policy.KindGroups, policy.KindACLs,
	policy.KindPluginMappings, policy.KindPlugins, policy.KindConsumers, policy.KindCredentials, policy.KindAPIs, policy.KindMappings,
}

// planApply compares a directory with the store of a running lictor.
func planApply(client *adminClient, dir string, prune bool) (*applyPlan, error) {
	files, left, err := readPolicy(dir)
	if err != nil {
		return nil, err
	}
	live, err := liveList(client)
	if err != nil {
		return nil, err
	}
	plan := comparePolicy(files, live.Objects, prune)
	plan.left, plan.live = left, live
	return plan, nil
}

func comparePolicy(files []policyFile, live []api.Object, prune bool) *applyPlan {
	plan := &applyPlan{}
	names := namesOf(live).unless(files)
	there := make(map[policy.Key]*api.Object, len(live))
	for i := range live {
		if key, ok := policy.ParseKey("policy/" + live[i].Key); ok {
			there[key] = &live[i]
		}
	}
	wanted := make(map[policy.Key]bool, len(files))
	kinds := make(map[policy.Kind]bool)
	for i := range files {
		f := &files[i]
		wanted[f.key] = true
		if !f.inside {
			kinds[f.key.Kind] = true
		}
		switch o := there[f.key]; {
		case o != nil && o.Held: // in force, but not in the store
			plan.steps = append(plan.steps, step{key: f.key, file: f, held: true})
		case o != nil && sameDocument(f, o, names):
			plan.same++
		default:
			plan.steps = append(plan.steps, step{key: f.key, file: f, live: o, names: names})
		}
	}
	var orphans map[policy.Key]bool // filters whose ACL had them
	if kinds[policy.KindACLs] {
		orphans = gone(files, live)
	}
	for key, o := range there {
		switch {
		case wanted[key]:
		case prune && (kinds[key.Kind] || orphans[key]):
			plan.steps = append(plan.steps, step{key: key, live: o, held: o.Held})
		default:
			plan.extra++
			if o.Held {
				plan.lost++
			}
		}
	}
	slices.SortFunc(plan.steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.key.Name, b.key.Name))
	})
	return plan
}

// rank orders steps so that between two transactions more is closed than will
// be in the end, never less.
func (s *step) rank() int {
	at := slices.Index(closing, s.key.Kind)
	if s.file == nil {
		return 2*len(closing) - at
	}
	return at
}

// sameDocument reports whether a file says what is live.
func sameDocument(f *policyFile, o *api.Object, names consumerNames) bool {
	if bytes.Equal(f.value, o.Value) {
		return true
	}
	content := contentOf(o)
	if content == nil {
		return false
	}
	mine, err := document.JSON(names.put(f.content))
	if err != nil {
		return false
	}
	theirs, err := document.JSON(names.put(content))
	return err == nil && bytes.Equal(mine, theirs)
}

func (s *step) operation() api.Operation {
	op := api.Operation{Op: "put", Key: string(s.key.Kind) + "/" + s.key.Name}
	if s.live == nil {
		op.Absent = true
	} else {
		op.Index = s.live.Index
	}
	if s.file == nil {
		op.Op = "delete"
	} else {
		op.Value = s.file.value
	}
	return op
}

// transactions parts the steps into what fits into one transaction each.
func (p *applyPlan) transactions() (all [][]step) {
	var ops []store.Op
	for _, s := range p.steps {
		op := store.Op{Kind: string(s.key.Kind), Name: s.key.Name}
		if s.file != nil {
			op.Value = s.file.value
		}
		ops = append(ops, op)
		if n := len(all); n == 0 || len(ops) > store.MaxOps || store.Size(ops...) > store.MaxBytes {
			all = append(all, nil)
			ops = []store.Op{op}
		}
		all[len(all)-1] = append(all[len(all)-1], s)
	}
	return all
}

// apply does the plan, or only says what it is.
func (p *applyPlan) apply(client *adminClient, out io.Writer, dry bool) error {
	all := p.transactions()
	for i, steps := range all {
		verb := "Transaction"
		if dry {
			verb = "Would do transaction"
		}
		if len(all) > 1 || dry {
			fmt.Fprintf(out, "%s %d of %d:\n", verb, i+1, len(all))
		}
		if !dry {
			if err := send(client, steps); err != nil {
				return fmt.Errorf("transaction %d of %d was not done, and none after it: %w", i+1, len(all), err)
			}
		}
		for _, s := range steps {
			fmt.Fprintln(out, s.line())
		}
	}
	_, err := fmt.Fprintln(out, p.summary(dry))
	return err
}

func send(client *adminClient, steps []step) error {
	var t api.Transaction
	for _, s := range steps {
		t.Operations = append(t.Operations, s.operation())
	}
	_, err := client.ask("/policy/objects", &t)
	return err
}

func (s *step) line() string {
	mark := "~"
	switch {
	case s.live == nil:
		mark = "+"
	case s.file == nil:
		mark = "-"
	}
	line := mark + " " + oneLine(s.key.String()[len("policy/"):])
	switch {
	case s.held && s.file != nil:
		line += " (the store had lost it)"
	case s.held:
		line += " (the store had lost it, it was still in force)"
	}
	return line
}

func (p *applyPlan) summary(dry bool) string {
	var made, restored, changed, deleted int
	for _, s := range p.steps {
		switch {
		case s.file != nil && s.held:
			restored++
		case s.live == nil:
			made++
		case s.file == nil:
			deleted++
		default:
			changed++
		}
	}
	done := "made, %d changed, %d deleted; %d were the same"
	if dry {
		done = "to make, %d to change, %d to delete; %d are the same"
	}
	text := fmt.Sprintf("%d "+done, made, changed, deleted, p.same)
	if restored > 0 {
		text = fmt.Sprintf("%d restored that the store had lost, ", restored) + text
		if dry {
			text = strings.Replace(text, "restored that the store had lost", "to restore that the store has lost", 1)
		}
	}
	if p.extra > 0 {
		text += fmt.Sprintf(", %d without a file stay", p.extra)
	}
	if p.lost > 0 {
		text += fmt.Sprintf(", of which the store has lost %d (delete them, or put them back from an export)", p.lost)
	}
	if len(p.left) > 0 {
		text += ".\nNot read, as they look like copies that an editor left: " + oneLine(strings.Join(p.left, ", "))
	}
	return text + "."
}

// printDiff says what differs, field by field.
func (p *applyPlan) printDiff(out io.Writer) error {
	for _, s := range p.steps {
		fmt.Fprintln(out, s.line())
		if s.file == nil || s.live == nil {
			continue
		}
		for _, line := range s.changes() {
			fmt.Fprintln(out, "    "+oneLine(line))
		}
	}
	_, err := fmt.Fprintln(out, p.summary(true))
	return err
}

// changes are the fields that differ, from what is live to what the file says.
func (s *step) changes() []string {
	content, err := document.Parse(s.key, s.live.Value)
	if err != nil {
		return []string{"what is live is not valid: " + err.Error()}
	}
	was, is := s.names.put(content), s.names.put(s.file.content)
	before, after := document.Fields(was), document.Fields(is)
	shownBefore, shownAfter := document.ShownFields(was), document.ShownFields(is)
	all := maps.Clone(before)
	maps.Copy(all, after)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case reflect.DeepEqual(before[name], after[name]):
		case reflect.DeepEqual(shownBefore[name], shownAfter[name]):
			lines = append(lines, name+": a secret in it is another one")
		default:
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", name, document.FieldText(shownBefore[name]), document.FieldText(shownAfter[name])))
		}
	}
	return lines
}
