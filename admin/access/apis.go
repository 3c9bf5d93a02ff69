package access

import (
	"fmt"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

var apis = resourceOf(policy.KindAPIs, "API", "name", resource{
	fields: fieldsOf(policy.KindAPIs, nil,
		field{name: "upstream_url", after: "filters", about: "one backend; another spelling of backends"},
	),
	guards: []guard{{fields: []string{"filters"}, why: "would leave what they match to the rules of its service", counts: func(d *draft) (bool, error) {
		old := d.old.Content.(*policy.API)
		return old.ServiceName() != old.Name, nil
	}}},
	fill: fillAPI,
	show: func(_ *viewer, o *edit.Object, out map[string]any) error {
		if backends := o.Content.(*policy.API).Backends; len(backends) == 1 {
			out["upstream_url"] = backends[0]
		}
		return nil
	},
})

func fillAPI(d *draft) error {
	if url := d.givenText("upstream_url"); url != "" {
		if d.isGiven("backends") && !slices.Equal(d.strings("backends"), []string{url}) {
			return admin.Invalid("upstream_url", "upstream_url is another spelling of backends, and says something else")
		}
		d.doc["backends"] = []string{url}
	} else if d.isGiven("upstream_url") && !d.isGiven("backends") {
		delete(d.doc, "backends")
	}
	if name, _ := d.doc["name"].(string); d.old == nil && validAPI(name) {
		if err := d.useDomain(name); err != nil {
			return err
		}
	}
	return d.resolveRefs("filters", d.filterBut(""))
}

// validAPI reports whether a name may be that of an API (C33).
func validAPI(name string) bool {
	return policy.ValidName(strings.TrimPrefix(name, "*."))
}

// Blacklists and whitelists: one resource, of two kinds.
var (
	blacklist = listResource(policy.KindBlacklist, "Blacklist")
	whitelist = listResource(policy.KindWhitelist, "Whitelist")
)

func listResource(kind policy.Kind, schemaName string) resource {
	return resourceOf(kind, schemaName, "name", resource{
		fields:  fieldsOf(kind, nil, field{name: "name", needed: true, about: policy.TableOf(kind).Named}),
		derived: true,
		fill:    fillList,
		guards: []guard{
			{fields: []string{"entries"}, why: "would guard nothing"},
			{fields: []string{"consumers", "groups"}, why: "would admit anybody"},
		},
		show: func(v *viewer, o *edit.Object, out map[string]any) error {
			out["name"] = o.Key.Name
			if refs := o.Content.(*policy.List).Consumers; len(refs) > 0 {
				out["consumers"] = v.names(refs)
			}
			return nil
		},
	})
}

func fillList(d *draft) error {
	d.name = d.givenText("name")
	if err := d.resolveConsumers(); err != nil {
		return err
	}
	if err := d.ensureGroups(); err != nil {
		return err
	}
	wrong := &admin.Refusal{Status: 400, Reason: "invalid", Fields: map[string]string{}}
	for i, entry := range d.strings("entries") {
		if err := policy.CheckEntry(entry); err != nil && len(wrong.Fields) < maxWrong {
			wrong.Fields[entryField(i)] = err.Error()
		}
	}
	if len(wrong.Fields) > 0 {
		var texts []string
		for i := range d.strings("entries") {
			if text, bad := wrong.Fields[entryField(i)]; bad && len(texts) < 20 {
				texts = append(texts, entryField(i)+": "+text)
			}
		}
		wrong.Message = strings.Join(texts, "; ")
		return wrong
	}
	return nil
}

// maxWrong bounds how many bad entries of a list an answer tells of.
const maxWrong = 100

func entryField(i int) string { return fmt.Sprintf("entries[%d]", i) }
