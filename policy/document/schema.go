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
	fields   map[string]*value // those that no row of the table has asked for yet
	told     map[string]bool   // fields with a problem
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
	table := policy.TableOf(o.Kind())
	for i := range table.Fields {
		r.field(&table.Fields[i], o)
	}
	if l, ok := o.(*policy.List); ok {
		r.entryLines(l, root)
	}
	for i := range root.fields {
		if f := &root.fields[i]; r.fields[f.name] != nil {
			r.wrong(f.line, f.name, "is an unknown field")
			r.lost.Any = true // it may be one of the others, misspelt
		}
	}
}

// field reads what a row of the table says of an object.
func (r *reader) field(f *policy.Field, o policy.Object) {
	switch to := f.Of(o).(type) {
	case *string:
		if v := r.next(f.Name, kindString); v != nil {
			*to = v.text
		}
	case *[]string:
		r.strings(f.Name, to)
	case *bool:
		if v := r.next(f.Name, kindBool); v != nil {
			*to = v.truth
		}
	case **bool:
		if v := r.next(f.Name, kindBool); v != nil {
			*to = &v.truth
		}
	case *time.Time:
		r.time(f.Name, to)
	case *uint64:
		r.whole(f.Name, to)
	case *map[string]any:
		if v := r.next(f.Name, kindObject); v != nil && len(v.fields) > 0 {
			*to = v.plain().(map[string]any)
		}
	}
}

// wrong adds a problem. Only the first maxProblems are kept: a document in which
// everything is wrong must not cost more than one that is right.
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

// reported reports whether a field has a problem already, so that it is not said to
// be missing as well.
func (r *reader) reported(field string) bool { return field != "" && r.told[field] }

// line returns the line of "mode", "paths[3]" or "config.second", or of what
// contains it. It searches the tree each time: an index of all paths would take the
// square of the document's size.
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

// next returns the value of a field, which counts as known from then on; nil if it
// is missing, null or of another kind, which is a problem.
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

func (r *reader) whole(name string, to *uint64) {
	v := r.next(name, kindNumber)
	if v == nil {
		return
	}
	n, ok := v.number.(int64)
	if !ok || n < 0 {
		r.wrong(v.line, name, "is %v, want a whole number", v.number)
		return
	}
	*to = uint64(n)
}

func (r *reader) strings(name string, to *[]string) {
	v := r.next(name, kindList)
	if v == nil || len(v.list) == 0 {
		return
	}
	list := make([]string, len(v.list))
	for i := range v.list {
		if v.list[i].kind != kindString {
			want := "a string"
			if name == "filters" && v.list[i].kind == kindObject {
				want = "the name of a filter: only the files of an exported policy have filters inside of ACLs"
			}
			if r.wrong(v.list[i].line, fmt.Sprintf("%s[%d]", name, i), "is %s, want %s", v.list[i].kind, want); !slices.Contains(r.lost.Fields, name) {
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

// entryLines stores the line of each entry of a list.
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
