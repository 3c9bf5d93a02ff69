package cli

import (
	"bytes"
	"fmt"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
)

// unfolded reads a file into the documents that the store has for it: its own, and
// those of the filters inside of an ACL.
func unfolded(f policyFile) (all []policyFile, err error) {
	content, inside, err := document.File(f.key, f.value)
	if err != nil {
		return nil, err
	}
	f.content = content
	if len(inside) > 0 {
		if f.value, err = document.JSON(content); err != nil {
			return nil, err
		}
	}
	all = append(all, f)
	for _, filter := range inside {
		one := policyFile{key: policy.Key{Kind: policy.KindFilters, Name: filter.Name}, path: f.path, inside: true, content: filter}
		if one.value, err = document.JSON(filter); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// twice tells which objects two places of a directory say something of: nobody knows
// which of them is meant.
func (d *policyDir) twice() (wrong []error) {
	first := make(map[policy.Key]string, len(d.files))
	for i := range d.files {
		f := &d.files[i]
		switch at, ok := first[f.key]; {
		case !ok:
			first[f.key] = f.path
		case at == f.path:
			wrong = append(wrong, fmt.Errorf("%s: has the filter %q twice inside", f.path, f.key.Name))
		default:
			wrong = append(wrong, fmt.Errorf("%s: the filter %q is in %s as well; leave it at one of the two", f.path, f.key.Name, at))
		}
	}
	return wrong
}

// ownedFilters are the filters among documents that one ACL alone refers to, and once,
// by name (R5). Those that a file cannot have inside of the ACL are not among them:
// what somebody wrote by hand stays as it is.
func ownedFilters(list []api.Object) map[string]*policy.Filter {
	uses := make(map[string][]*api.Object)
	owned := make(map[string]*policy.Filter)
	for i := range list {
		o := &list[i]
		content := contentOf(o)
		if content == nil {
			continue
		}
		if f, ok := content.(*policy.Filter); ok && isJSON(o.Value) {
			owned[f.Name] = f
		}
		for _, name := range *policy.References(content, policy.KindFilters) {
			uses[name] = append(uses[name], o)
		}
	}
	for name := range owned {
		if by := uses[name]; len(by) != 1 || !isJSON(by[0].Value) || !isACL(by[0]) {
			delete(owned, name)
		}
	}
	return owned
}

func isACL(o *api.Object) bool {
	key, ok := policy.ParseKey("policy/" + o.Key)
	return ok && key.Kind == policy.KindACLs
}

// isJSON reports whether a document was written as JSON, which has no comments.
func isJSON(value []byte) bool {
	text := bytes.TrimLeft(value, "\ufeff \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// gone returns the filters that only their ACL referred to, and that no file refers
// to any more: they go with the ACL's file, in which they may have stood. It is none if
// a document cannot be read, for that may refer to them.
func gone(files []policyFile, live []api.Object) map[policy.Key]bool {
	all := make(map[policy.Key]bool)
	for i := range live {
		if contentOf(&live[i]) == nil {
			return nil
		}
	}
	for name := range ownedFilters(live) {
		all[policy.Key{Kind: policy.KindFilters, Name: name}] = true
	}
	for i := range files {
		for _, name := range *policy.References(files[i].content, policy.KindFilters) {
			delete(all, policy.Key{Kind: policy.KindFilters, Name: name})
		}
	}
	return all
}
