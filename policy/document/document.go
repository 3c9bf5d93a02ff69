// Package document reads and writes policy objects as they stand in the store:
// JSON or HCL with the same schema, and the bare forms of lists (X11, A11).
//
// It is strict: what is unknown, of the wrong type or out of range is a problem
// with line and field, and all problems of a document are told at once. It
// judges nothing beyond one document; package policy does.
package document

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"lictor/policy"
)

// Parse reads the value of a key. The object is the caller's. An error is of the
// type [policy.Problems]; the object then holds what could be read, by which the
// policy finds out what it would have closed (X6). It is nil for an unknown kind.
func Parse(key policy.Key, data []byte) (policy.Object, error) {
	c := Change(key, 0, 0, data)
	return c.Object, c.Err
}

// Change reads a value into a change for [policy.Builder]. index and created are
// the store's, of this version and of the first. What is wrong with the value is in
// the Err of the change, as Parse returns it.
func Change(key policy.Key, index, created uint64, data []byte) policy.Change {
	c := policy.Change{Key: key, Index: index, Created: created, Object: policy.New(key.Kind)}
	if c.Object == nil {
		c.Err = policy.Problems{{Text: "unknown kind " + string(key.Kind)}}
		return c
	}
	var wrong policy.Problems
	c.Lost, wrong = read(key, c.Object, data)
	if len(wrong) > 0 {
		c.Err = ordered(wrong)
	}
	return c
}

// ordered returns problems by line, as many as are told.
func ordered(wrong policy.Problems) policy.Problems {
	slices.SortStableFunc(wrong, func(a, b policy.Problem) int { return a.Line - b.Line })
	return wrong[:min(len(wrong), maxProblems)]
}

// read fills an object. It returns what could not be read of the text, and what is
// wrong with it, in no order.
func read(key policy.Key, o policy.Object, data []byte) (policy.Lost, policy.Problems) {
	root, problems := parseText(key.Kind, data)
	return fill(key, o, root, problems)
}

// parseText is parse for a text that may begin with a mark of its encoding, and has to
// be UTF-8.
func parseText(kind policy.Kind, data []byte) (*value, policy.Problems) {
	root, problems := parse(kind, bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if i := invalidUTF8(data); i >= 0 && len(problems) == 0 {
		problems = policy.Problems{{Line: 1 + bytes.Count(data[:i], []byte("\n")), Text: "is no UTF-8 text"}}
	}
	return root, problems
}

// fill is read for a tree that was made of the text, with those problems.
func fill(key policy.Key, o policy.Object, root *value, problems policy.Problems) (policy.Lost, policy.Problems) {
	var r reader
	if root != nil {
		r.object(o, root)
	}
	if len(problems) > 0 {
		r.lost.Any = true
		return r.lost, problems // what else is wrong may only follow from that
	}
	for _, p := range policy.Check(key.Name, o) {
		if !r.reported(p.Field) {
			p.Line = r.line(p.Field)
			r.problems = append(r.problems, p)
		}
	}
	return r.lost, r.problems
}

// JSON writes an object as Parse reads it.
func JSON(o policy.Object) ([]byte, error) { return json.Marshal(o) }

// Fields returns the fields of an object by their names, as [JSON] has them; nil is an
// object without any.
func Fields(o policy.Object) map[string]any {
	fields := map[string]any{}
	if o == nil {
		return fields
	}
	if text, err := JSON(o); err == nil {
		_ = json.Unmarshal(text, &fields) // it was made just now
	}
	return fields
}

// ShownFields is Fields without the secrets of a plugin.
func ShownFields(o policy.Object) map[string]any {
	if p, ok := o.(*policy.Plugin); ok {
		shown := *p
		shown.Config = p.Shown()
		o = &shown
	}
	return Fields(o)
}

// FieldText writes the value of a field as people read it: JSON that leaves < as it
// is, and (none) for nothing.
func FieldText(v any) string {
	if v == nil {
		return "(none)"
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // into memory
	return strings.TrimSpace(b.String())
}

// Text writes an object for people and version control: JSON with a line for each
// field and each element of a list, always in the same order (R5).
func Text(o policy.Object) ([]byte, error) { return text(o) }

func text(o any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a comparison is easier to read than \u003c
	enc.SetIndent("", "  ")
	err := enc.Encode(o)
	return b.Bytes(), err
}

// maxProblems bounds what is told of one document: a text in which every line
// is wrong is not helped by a line about each.
const maxProblems = 100

// invalidUTF8 returns the offset of the first byte that is no UTF-8, -1 if all are.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// Deleted is the change for [policy.Builder] of a key that is gone.
func Deleted(key policy.Key) policy.Change { return policy.Change{Key: key} }

// parse finds out which form a text has (X11) and reads it into a tree; of a
// broken text the tree holds what comes before the fault.
func parse(kind policy.Kind, data []byte) (*value, policy.Problems) {
	isList := kind == policy.KindBlacklist || kind == policy.KindWhitelist
	text := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(text) > 0 && (text[0] == '{' || isList && text[0] == '['):
		root, problems := parseJSON(data)
		if root.kind == kindList {
			root = &value{kind: kindObject, line: root.line, fields: []field{{name: "entries", value: *root}}}
		}
		return root, problems
	case isList:
		if text := string(data); !assigns(text) {
			return bareList(text), nil
		}
	}
	return parseHCL(data)
}

// assigns reports whether the first line that says something assigns a field of
// a list, which makes the text HCL rather than a list of entries.
func assigns(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "//") {
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		return ok && policy.TableOf(policy.KindBlacklist).Field(strings.TrimSpace(name)) != nil
	}
	return false
}

// bareList reads one entry per line with # comments.
func bareList(text string) *value {
	entries := value{kind: kindList, line: 1}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			entries.list = append(entries.list, value{kind: kindString, line: n, text: line})
		}
	}
	return &value{kind: kindObject, line: 1, fields: []field{{name: "entries", value: entries}}}
}
