package cli

import (
	"slices"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
)

// consumerNames has the names of consumers by their ids, where the two say the same:
// no other consumer has that id, and none has the name for an id. People read names,
// and lictor writes ids.
type consumerNames map[string]string

// namesOf returns the names of the consumers among documents.
func namesOf(list []api.Object) consumerNames {
	var consumers []*policy.Consumer
	ids := make(map[string]int)
	for i := range list {
		if c, ok := contentOf(&list[i]).(*policy.Consumer); ok {
			consumers = append(consumers, c)
			ids[c.ID]++
		}
	}
	names := make(consumerNames)
	for _, c := range consumers {
		if c.ID != c.Name && ids[c.ID] == 1 && ids[c.Name] == 0 {
			names[c.ID] = c.Name
		}
	}
	return names
}

// unless drops the names of consumers to whom a file gives another id: of them an id
// says what the name does not.
func (n consumerNames) unless(files []policyFile) consumerNames {
	ids := make(map[string]string, len(files))
	taken := make(map[string]bool)
	for i := range files {
		if c, ok := files[i].content.(*policy.Consumer); ok {
			ids[c.Name] = c.ID
			taken[c.ID] = true
		}
	}
	kept := make(consumerNames, len(n))
	for id, name := range n {
		if own, ok := ids[name]; !taken[name] && (!ok || own == id) {
			kept[id] = name
		}
	}
	return kept
}

// put returns an object that names consumers instead of saying their ids.
func (n consumerNames) put(o policy.Object) policy.Object {
	o = policy.Clone(o)
	if c, ok := o.(*policy.Credential); ok {
		c.Consumer = n.of(c.Consumer)
	}
	list := policy.References(o, policy.KindConsumers)
	*list = slices.Clone(*list)
	for i, ref := range *list {
		(*list)[i] = n.of(ref)
	}
	return o
}

func (n consumerNames) of(ref string) string {
	if name, ok := n[ref]; ok {
		return name
	}
	return ref
}

// contentOf reads a document; nil if that cannot be done.
func contentOf(o *api.Object) policy.Object {
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok {
		return nil
	}
	content, err := document.Parse(key, o.Value)
	if err != nil {
		return nil
	}
	return content
}
