package document

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lictor/policy"
)

// reader fills an object from a tree and collects what is wrong.
type reader struct {
	root     *value
	fields   map[string]*value // not taken yet
	told     map[string]bool   // fields something is wrong with
	lost     policy.Lost
	problems policy.Problems
}

// object reads the fields of an object's kind (contract 3).
func (r *reader) object(o policy.Object, root *value) {
	if root.kind != kindObject {
		r.wrong(root.line, "", "is %s, want an object", root.kind)
		r.lost.Any = true
		return
	}
	r.root, r.fields = root, make(map[string]*value, len(root.fields))
	for i := range root.fields {
		f := &root.fields[i]
		r.fields[f.name] = &f.value
	}
	switch o := o.(type) {
	case *policy.List:
		r.strings("entries", &o.Entries)
		take(r, "direction", (*string)(&o.Direction))
		take(r, "mode", (*string)(&o.Mode))
		take(r, "reason", &o.Reason)
		r.strings("consumers", &o.Consumers)
		r.strings("groups", &o.Groups)
		r.entryLines(o, root)
	case *policy.Consumer:
		take(r, "id", &o.ID)
		take(r, "name", &o.Name)
		take(r, "custom_id", &o.CustomID)
		r.strings("groups", &o.Groups)
		r.time("created_at", &o.CreatedAt)
	case *policy.Credential:
		take(r, "consumer", &o.Consumer)
		take(r, "id", &o.ID)
		r.time("created_at", &o.CreatedAt)
		r.time("not_after", &o.NotAfter)
	case *policy.Group:
		take(r, "name", &o.Name)
		r.strings("plugins", &o.Plugins)
	case *policy.Filter:
		take(r, "name", &o.Name)
		r.strings("methods", &o.Methods)
		r.strings("hosts", &o.Hosts)
		r.strings("paths", &o.Paths)
		r.strings("ips", &o.IPs)
		r.strings("locations", &o.Locations)
		take(r, "inline", &o.Inline)
	default:
		r.mapping(o)
	}
	for i := range root.fields {
		if f := &root.fields[i]; r.fields[f.name] != nil {
			r.wrong(f.line, f.name, "is an unknown field")
			r.lost.Any = true // it may be one of the others, misspelt
		}
	}
}

// mapping reads the kinds that tie others together.
func (r *reader) mapping(o policy.Object) {
	switch o := o.(type) {
	case *policy.Plugin:
		take(r, "id", &o.ID)
		take(r, "name", &o.Name)
		r.config("config", &o.Config)
		r.truth("enabled", &o.Enabled)
		r.truth("global", &o.Global)
		take(r, "mode", (*string)(&o.Mode))
	case *policy.ACL:
		take(r, "id", &o.ID)
		take(r, "api", &o.API)
		r.strings("consumers", &o.Consumers)
		r.strings("groups", &o.Groups)
		r.strings("filters", &o.Filters)
		take(r, "mode", (*string)(&o.Mode))
	case *policy.PluginMapping:
		take(r, "id", &o.ID)
		take(r, "api", &o.API)
		r.strings("plugins", &o.Plugins)
		r.strings("consumers", &o.Consumers)
		r.strings("groups", &o.Groups)
		r.strings("filters", &o.Filters)
	case *policy.API:
		take(r, "name", &o.Name)
		r.strings("filters", &o.Filters)
		r.strings("backends", &o.Backends)
		r.strings("protected_headers", &o.ProtectedHeaders)
	case *policy.Mapping:
		take(r, "domain", &o.Domain)
		take(r, "tenant", &o.Tenant)
		r.strings("backends", &o.Backends)
		var seq int64
		if take(r, "seq", &seq); seq < 0 {
			r.wrong(r.line("seq"), "seq", "is %d, want a whole number", seq)
		}
		o.Seq = uint64(max(seq, 0))
	}
}

// wrong notes a problem. Past maxProblems it only counts as one: a document in
// which everything is wrong must not cost more than one that is right.
func (r *reader) wrong(line int, field, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, policy.Problem{Line: line, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if r.told == nil {
		r.told = make(map[string]bool)
	}
	if len(r.told) < maxProblems {
		r.told[field] = true
	}
}

// reported reports whether something is wrong with a field already, so that it
// is not said to be missing as well.
func (r *reader) reported(field string) bool { return field != "" && r.told[field] }

// line finds the line of a field, or of what it is in: "mode", "paths[3]" or
// "config.second". It looks into the tree when it is asked: to note the path to
// everything there is would take the square of the document's size.
func (r *reader) line(path string) int {
	path, index, _ := strings.Cut(path, "[")
	name, setting, _ := strings.Cut(path, ".")
	f := r.root.field(name)
	if f == nil {
		return 1
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil && n < len(f.value.list) {
		return f.value.list[n].line
	}
	if inner := f.value.field(setting); inner != nil {
		return inner.line
	}
	return f.line
}

// next returns a field's value and strikes it off; nil if it is missing or null.
func (r *reader) next(name string, want kind) *value {
	v := r.fields[name]
	delete(r.fields, name)
	if v == nil || v.kind == kindNull {
		return nil
	}
	if v.kind != want {
		r.wrong(v.line, name, "is %s, want %s", v.kind, want)
		r.lost.Fields = append(r.lost.Fields, name)
		return nil
	}
	r.lost.Given = append(r.lost.Given, name)
	return v
}

// take reads a scalar.
func take[T string | bool | int64](r *reader, name string, to *T) {
	switch to := any(to).(type) {
	case *string:
		if v := r.next(name, kindString); v != nil {
			*to = v.text
		}
	case *bool:
		if v := r.next(name, kindBool); v != nil {
			*to = v.truth
		}
	case *int64:
		if v := r.next(name, kindNumber); v != nil {
			n, ok := v.number.(int64)
			if !ok {
				r.wrong(v.line, name, "is %v, want a whole number", v.number)
			}
			*to = n
		}
	}
}

func (r *reader) truth(name string, to **bool) {
	if v := r.next(name, kindBool); v != nil {
		*to = &v.truth
	}
}

func (r *reader) strings(name string, to *[]string) {
	v := r.next(name, kindList)
	if v == nil || len(v.list) == 0 {
		return
	}
	list := make([]string, len(v.list))
	for i := range v.list {
		if v.list[i].kind != kindString {
			if r.wrong(v.list[i].line, fmt.Sprintf("%s[%d]", name, i), "is %s, want a string", v.list[i].kind); !slices.Contains(r.lost.Fields, name) {
				r.lost.Fields = append(r.lost.Fields, name)
			}
		}
		list[i] = v.list[i].text
	}
	*to = list
}

func (r *reader) time(name string, to *time.Time) {
	v := r.next(name, kindString)
	if v == nil {
		return
	}
	t, err := time.Parse(time.RFC3339, v.text)
	if err != nil {
		r.wrong(v.line, name, "is %q, want a time like 2026-01-02T15:04:05Z", v.text)
		return
	}
	*to = t.UTC()
}

func (r *reader) config(name string, to *map[string]any) {
	if v := r.next(name, kindObject); v != nil && len(v.fields) > 0 {
		*to = v.plain().(map[string]any)
	}
}

// entryLines notes where each entry of a list stands.
func (r *reader) entryLines(l *policy.List, root *value) {
	for i := range root.fields {
		if f := &root.fields[i]; f.name == "entries" && len(f.value.list) == len(l.Entries) {
			l.Lines = make([]int, len(l.Entries))
			for j := range f.value.list {
				l.Lines[j] = f.value.list[j].line
			}
		}
	}
}
