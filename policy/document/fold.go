package document

import (
	"fmt"

	"lictor/policy"
)

// File reads a document as policies kept as files have it (R5): a value of the store,
// but that an ACL may have filters themselves among its filters, in place of their
// names. It returns the object with the names, and these filters. Like [Check] it
// looks at each entry of a list. An error is of the type [policy.Problems].
//
// The store has a document for each object, and so has [Parse]: a filter inside of an
// ACL is a way to write files, and no other kind of filter.
func File(key policy.Key, data []byte) (o policy.Object, inside []*policy.Filter, err error) {
	if key.Kind != policy.KindACLs {
		if err := Check(key, data); err != nil {
			return nil, nil, err
		}
		o, err = Parse(key, data)
		return o, nil, err
	}
	root, problems := parseText(key.Kind, data)
	var wrong policy.Problems
	if len(problems) == 0 {
		inside, wrong = takeFilters(root)
	}
	o = policy.New(key.Kind)
	_, more := fill(key, o, root, problems)
	if wrong = append(wrong, more...); len(wrong) > 0 {
		return nil, nil, ordered(wrong)
	}
	return o, inside, nil
}

// takeFilters reads the filters inside of an ACL, and leaves their names there.
func takeFilters(root *value) (all []*policy.Filter, wrong policy.Problems) {
	list := root.field("filters")
	if list == nil {
		return nil, nil
	}
	for i := range list.value.list {
		v := &list.value.list[i]
		if v.kind != kindObject {
			continue
		}
		place := fmt.Sprintf("filters[%d]", i)
		name := v.field("name")
		if name == nil || name.value.kind != kindString {
			wrong = append(wrong, policy.Problem{Line: v.line, Field: place, Text: "a filter inside of an ACL needs a name, by which the store has it"})
			*v = value{kind: kindString, line: v.line}
			continue
		}
		f := &policy.Filter{}
		_, mistakes := fill(policy.Key{Kind: policy.KindFilters, Name: name.value.text}, f, v, nil)
		for _, p := range mistakes {
			if p.Field != "" {
				p.Field = "." + p.Field
			}
			p.Line, p.Field = max(p.Line, v.line), place+p.Field
			wrong = append(wrong, p)
		}
		all = append(all, f)
		*v = value{kind: kindString, line: v.line, text: f.Name}
	}
	return all, wrong
}

// FileText is [Text] of an ACL for a file that has filters inside of it: those of
// inside, by name, that it refers to. They stand behind its other fields.
func FileText(acl *policy.ACL, inside map[string]*policy.Filter) ([]byte, error) {
	type plain policy.ACL
	file := struct {
		*plain
		Filters []any `json:"filters"` // hides the names
	}{plain: (*plain)(acl)}
	for _, name := range acl.Filters {
		if f := inside[name]; f != nil {
			file.Filters = append(file.Filters, f)
		} else {
			file.Filters = append(file.Filters, name)
		}
	}
	return text(&file)
}
