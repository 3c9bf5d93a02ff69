package admintest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Random does n random operations and compares each answer, and now and then
// everything there is, with a model of what the APIs promise.
func Random(t *testing.T, s *Server, n int, seed uint64) {
	m := &model{
		t: t, s: s, rand: rand.New(rand.NewPCG(seed, 0)), ids: map[string]string{},
		consumers: map[string][]string{}, groups: map[string]bool{}, filters: map[string]bool{}, acls: map[string]*modelACL{},
	}
	operations := []func(){
		m.makeConsumer, m.makeConsumer, m.changeConsumer, m.dropConsumer, m.makeGroup, m.dropGroup, m.makeFilter, m.dropFilter,
		m.putACL, m.putACL, m.putACL, m.dropACL, m.putDomain, m.putDomain, m.moveDomain, m.dropDomain,
	}
	for i := range n {
		operations[m.rand.IntN(len(operations))]()
		if i%100 == 99 || i == n-1 {
			m.compare()
		}
		if t.Failed() {
			t.Fatalf("after %d operations with the seed %d", i+1, seed)
		}
	}
}

// model is what there should be.
type model struct {
	t    *testing.T
	s    *Server
	rand *rand.Rand

	ids       map[string]string   // of consumers, also of those who are gone, by name and number
	consumers map[string][]string // groups, by name
	groups    map[string]bool
	filters   map[string]bool
	acls      map[string]*modelACL
	order     []modelDomain
}

type modelACL struct {
	consumers []string // ids
	groups    []string
	filters   []string
	methods   []string
}

type modelDomain struct{ domain, tenant, backend string }

func (m *model) name(prefix string, n int) string { return fmt.Sprint(prefix, m.rand.IntN(n)) }

// some returns a few different names.
func (m *model) some(prefix string, n, most int) []string {
	list := []string{}
	for range m.rand.IntN(most + 1) {
		if name := m.name(prefix, n); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func (m *model) ask(want int, method, path string, body any) Answer {
	m.t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			m.t.Fatal(err)
		}
		text = string(b)
	}
	return m.s.Want(m.t, want, method, path, text)
}

// either returns one of two statuses.
func either(is bool, yes, no int) int {
	if is {
		return yes
	}
	return no
}

func (m *model) join(name string, groups []string) {
	m.consumers[name] = groups
	for _, g := range groups {
		m.groups[g] = true
	}
}

func (m *model) makeConsumer() {
	name, groups := m.name("c", 12), m.some("g", 6, 3)
	_, taken := m.consumers[name]
	a := m.ask(either(taken, 409, 201), "POST", "/consumers", map[string]any{"name": name, "groups": groups})
	if !taken && a.Status == 201 {
		m.ids[name] = a.JSON["id"].(string)
		m.join(name, groups)
	}
}

func (m *model) changeConsumer() {
	name, groups := m.name("c", 12), m.some("g", 6, 3)
	_, there := m.consumers[name]
	m.ask(either(there, 200, 404), "PATCH", "/consumers/"+name, map[string]any{"groups": groups})
	if there {
		m.join(name, groups)
	}
}

func (m *model) dropConsumer() {
	name := m.name("c", 12)
	_, there := m.consumers[name]
	m.ask(either(there, 204, 404), "DELETE", "/consumers/"+name, nil)
	delete(m.consumers, name)
}

func (m *model) makeGroup() {
	name, members := m.name("g", 6), m.some("c", 12, 2)
	unknown := slices.ContainsFunc(members, func(c string) bool { _, there := m.consumers[c]; return !there })
	switch {
	case unknown:
		m.ask(400, "POST", "/groups", map[string]any{"name": name, "consumers": members})
	case m.groups[name]:
		m.ask(409, "POST", "/groups", map[string]any{"name": name, "consumers": members})
	default:
		m.ask(201, "POST", "/groups", map[string]any{"name": name, "consumers": members})
		m.groups[name] = true
		for _, c := range members {
			m.consumers[c] = append(slices.Clone(m.consumers[c]), name)
		}
	}
}

func (m *model) dropGroup() {
	name := m.name("g", 6)
	used := false
	for _, groups := range m.consumers {
		used = used || slices.Contains(groups, name)
	}
	for _, a := range m.acls {
		used = used || slices.Contains(a.groups, name)
	}
	m.ask(either(!m.groups[name], 404, either(used, 409, 204)), "DELETE", "/groups/"+name, nil)
	if !used {
		delete(m.groups, name)
	}
}

func (m *model) makeFilter() {
	name := m.name("f", 5)
	m.ask(either(m.filters[name], 409, 201), "POST", "/filters", map[string]any{"name": name, "methods": []string{"GET"}})
	m.filters[name] = true
}

func (m *model) dropFilter() {
	name := m.name("f", 5)
	used := false
	for _, a := range m.acls {
		used = used || slices.Contains(a.filters, name)
	}
	m.ask(either(!m.filters[name], 404, either(used, 409, 204)), "DELETE", "/filters/"+name, nil)
	if !used {
		delete(m.filters, name)
	}
}

func (m *model) putACL() {
	id := m.name("a", 8)
	consumers, a := m.some("c", 12, 2), &modelACL{groups: m.some("g", 6, 2), filters: m.some("f", 5, 1), methods: m.some("GE", 3, 2)}
	for i, method := range a.methods {
		a.methods[i] = strings.NewReplacer("0", "T", "1", "TA", "2", "TB").Replace(method)
	}
	good := len(consumers)+len(a.groups)+len(a.filters)+len(a.methods) > 0
	for _, c := range consumers {
		_, there := m.consumers[c]
		good = good && there
		a.consumers = append(a.consumers, m.ids[c])
	}
	for _, f := range a.filters {
		good = good && m.filters[f]
	}
	old, there := m.acls[id]
	// One that had a subject cannot lose the last one.
	good = good && !(there && len(old.consumers)+len(old.groups) > 0 && len(a.consumers)+len(a.groups) == 0)
	m.ask(either(!good, 400, either(there, 200, 201)), "PUT", "/apis/x/acls/"+id, map[string]any{
		"consumers": consumers, "groups": a.groups, "filters": a.filters, "methods": a.methods,
	})
	if good {
		m.acls[id] = a
		for _, g := range a.groups {
			m.groups[g] = true
		}
	}
}

func (m *model) dropACL() {
	id := m.name("a", 8)
	_, there := m.acls[id]
	m.ask(either(there, 204, 404), "DELETE", "/mappings/acls/"+id, nil)
	delete(m.acls, id)
}

func (m *model) domain(name string) int {
	return slices.IndexFunc(m.order, func(d modelDomain) bool { return d.domain == name })
}

func (m *model) putDomain() {
	d := modelDomain{m.name("d", 10) + ".x", m.name("t", 3), m.name("http://b", 5)}
	body := map[string]any{"domain": d.domain, "backends": []string{d.backend}}
	at := m.domain(d.domain)
	switch {
	case at < 0:
		m.ask(201, "PUT", "/v1/"+d.tenant+"/mapping", body)
		m.order = append(m.order, d)
	case m.order[at].tenant != d.tenant:
		m.ask(409, "PUT", "/v1/"+d.tenant+"/mapping", body)
	default:
		m.ask(200, "PUT", "/v1/"+d.tenant+"/mapping", body)
		m.order[at] = d
	}
}

func (m *model) moveDomain() {
	from := m.name("d", 10) + ".x"
	to := modelDomain{m.name("d", 10) + ".x", m.name("t", 3), m.name("http://b", 5)}
	at := m.domain(from)
	want := 200
	switch {
	case at < 0 || m.order[at].tenant != to.tenant:
		want = 404
	case to.domain != from && m.domain(to.domain) >= 0:
		want = 409
	default:
		m.order[at] = to
	}
	m.ask(want, "POST", "/v1/"+to.tenant+"/mapping/"+from, map[string]any{"domain": to.domain, "backends": []string{to.backend}})
}

func (m *model) dropDomain() {
	domain, tenant := m.name("d", 10)+".x", m.name("t", 3)
	at := m.domain(domain)
	mine := at >= 0 && m.order[at].tenant == tenant
	m.ask(either(mine, 204, 404), "DELETE", "/v1/"+tenant+"/mapping/"+domain, nil)
	if mine {
		m.order = slices.Delete(m.order, at, at+1)
	}
}

// compare holds everything there is against the model.
func (m *model) compare() {
	m.t.Helper()
	var got []string
	for _, kind := range []string{"consumers", "groups", "filters", "mappings/acls"} {
		for _, o := range m.ask(200, "GET", "/"+kind+"?size=1000", nil).JSON["data"].([]any) {
			got = append(got, kind+" "+line(o.(map[string]any)))
		}
	}
	slices.Sort(got)
	if want := m.lines(); !slices.Equal(got, want) {
		m.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range 3 {
		tenant := fmt.Sprint("t", i)
		var want, got []string
		for _, d := range m.order {
			if d.tenant == tenant {
				want = append(want, d.domain+" "+d.backend)
			}
		}
		for _, r := range m.ask(200, "GET", "/v1/"+tenant+"/mapping", nil).JSON["routes"].([]any) {
			route := r.(map[string]any)
			got = append(got, fmt.Sprint(route["domain"], " ", route["backends"].([]any)[0]))
		}
		if !slices.Equal(got, want) { // in the order of creation
			m.t.Errorf("%s: got %q, want %q", tenant, got, want)
		}
	}
	if rejected := m.s.Policy.Rejected(); len(rejected) > 0 {
		m.t.Errorf("not in force: %+v", *rejected[0])
	}
}

// line is an object without what the model does not know.
func line(o map[string]any) string {
	if o["inline"] == true {
		return fmt.Sprint("inline ", o["methods"])
	}
	name := o["name"]
	if name == nil {
		name = o["id"]
	}
	named := slices.DeleteFunc(slices.Clone(list(o["filters"])), func(f string) bool { return len(f) == 36 })
	return fmt.Sprint(name, " ", sorted(list(o["consumers"])), sorted(list(o["groups"])), sorted(named), list(o["methods"]))
}

func list(v any) (all []string) {
	some, _ := v.([]any)
	for _, one := range some {
		all = append(all, one.(string))
	}
	return all
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// lines is what compare should get.
func (m *model) lines() (all []string) {
	members := map[string][]string{}
	names := map[string]string{} // of living ids
	for name, groups := range m.consumers {
		names[m.ids[name]] = name
		all = append(all, fmt.Sprint("consumers ", name, " ", []string{}, sorted(groups), []string{}, []string{}))
		for _, g := range groups {
			members[g] = append(members[g], name)
		}
	}
	for g := range m.groups {
		all = append(all, fmt.Sprint("groups ", g, " ", sorted(members[g]), []string{}, []string{}, []string{}))
	}
	for f := range m.filters {
		all = append(all, fmt.Sprint("filters ", f, " ", []string{}, []string{}, []string{}, []string{"GET"}))
	}
	for _, id := range slices.Sorted(maps.Keys(m.acls)) {
		a := m.acls[id]
		consumers := []string{}
		for _, c := range a.consumers {
			if name, lives := names[c]; lives {
				c = name
			}
			consumers = append(consumers, c)
		}
		all = append(all, fmt.Sprint("mappings/acls ", id, " ", sorted(consumers), sorted(a.groups), sorted(a.filters), a.methods))
		if len(a.methods) > 0 {
			all = append(all, fmt.Sprint("filters inline ", a.methods))
		}
	}
	slices.Sort(all)
	return all
}
