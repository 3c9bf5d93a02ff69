package impact

import (
	"fmt"
	"slices"
	"strings"

	"lictor/policy"
)

// nobody is who is known by nothing.
const nobody = "who is not known"

// person is somebody as both policies know them: by a key, a certificate, a token
// or not at all. Who is known to one policy only is nobody to the other.
type person struct {
	was, is string // names of consumers; "" = nobody
	key     bool   // only by a key, or a certificate: the consumer himself is in both
}

// people are all who can ask, each once: nobody, each consumer, and who by a key
// or a certificate is one consumer in one policy and another, or nobody, in the
// other. When keys run out is left out.
type people struct {
	calls     [][2][]string // of each of all, by what rules of each policy may call them
	was, is   *side
	all       []person
	at        map[person]int   // by was and is
	by        map[string][]int // by what rules call them: "c:" and an id or name, "g:" and a group
	kinds     [3][]int         // known to both, to the first, to the second
	differ    bool             // somebody is somebody else, or called otherwise, in the other policy
	strangers []string         // of whom no question can be, as another one is called like them
}

func newPeople(was, is *side) *people {
	x := &people{was: was, is: is, at: make(map[person]int), by: make(map[string][]int)}
	x.add("", "", false)
	for _, name := range sortedKeys(union(was.consumers, is.consumers)) {
		x.add(nameIn(was, name), nameIn(is, name), false)
	}
	for _, key := range sortedKeys(union(was.credentials, is.credentials)) {
		x.add(was.owner(key), is.owner(key), true)
	}
	for _, id := range sortedKeys(union(was.custom, is.custom)) {
		x.add(was.certified(id), is.certified(id), true)
	}
	for i := range x.all {
		x.file(i)
	}
	return x
}

func nameIn(s *side, name string) string {
	if s.consumers[name] == nil {
		return ""
	}
	return name
}

// owner is the consumer whose key a credential is, "" if there is none.
func (s *side) owner(credential string) string {
	if c := s.credentials[credential]; c != nil {
		return s.consumer(c.Consumer)
	}
	return ""
}

// certified is the one consumer that a name in a certificate belongs to.
func (s *side) certified(id string) string {
	if names := s.custom[id]; len(names) == 1 {
		return names[0]
	}
	return ""
}

func (x *people) add(was, is string, key bool) {
	p := person{was: was, is: is}
	if _, known := x.at[p]; known {
		return
	}
	for _, half := range []struct {
		of   *side
		name string
	}{{x.was, was}, {x.is, is}} {
		if half.name != "" && half.of.reference(half.name) == "" {
			x.strangers = sortedSet(append(x.strangers, half.name))
			return
		}
	}
	x.at[p] = len(x.all)
	p.key = key
	x.all = append(x.all, p)
	calls := [2][]string{x.was.called(was), x.is.called(is)}
	x.calls = append(x.calls, calls)
	x.differ = x.differ || was != is || !slices.Equal(calls[0], calls[1])
}

// called are the names that rules may call a consumer by.
func (s *side) called(name string) []string {
	c := s.consumers[name]
	if c == nil {
		return nil
	}
	all := []string{"c:" + c.ID}
	if s.namesItself(c) {
		all = append(all, "c:"+c.Name)
	}
	for _, g := range c.Groups {
		all = append(all, "g:"+g)
	}
	return sortedSet(all)
}

func (x *people) file(i int) {
	p := &x.all[i]
	switch {
	case p.was != "" && p.is != "":
		x.kinds[0] = append(x.kinds[0], i)
	case p.was != "":
		x.kinds[1] = append(x.kinds[1], i)
	case p.is != "":
		x.kinds[2] = append(x.kinds[2], i)
	}
	for _, call := range sortedSet(slices.Concat(x.calls[i][:]...)) {
		x.by[call] = append(x.by[call], i)
	}
}

// subjects cut the people of a road: a class is told apart by which of the calls
// that its rules use are theirs in each policy, and by who is known at all.
type subjects struct {
	people  *people
	calls   map[string]bool
	classes []subject
	index   map[string]int
}

type subject struct {
	members []int // of people, sorted; of those whom no rule calls, one
	others  bool  // whom no rule calls: all of their kind
	touched bool
}

// newSubjects cuts people.
func newSubjects(x *people, calls map[string]bool) *subjects {
	s := &subjects{people: x, calls: calls, index: make(map[string]int)}
	called := make(map[int]bool)
	for call := range calls {
		for _, i := range x.by[call] {
			called[i] = true
		}
	}
	s.add(0, false)
	for _, i := range sortedKeys(called) {
		s.add(i, false)
	}
	for _, kind := range x.kinds {
		for _, i := range kind {
			if !called[i] {
				s.add(i, true) // stands for all others of its kind
				break
			}
		}
	}
	return s
}

// add files somebody. Who is somebody else in the other policy, or is called there
// otherwise by rules of the road, is touched by the change.
func (s *subjects) add(i int, others bool) {
	sig := s.signature(i)
	class, known := s.index[sig]
	if !known {
		class = len(s.classes)
		s.index[sig] = class
		was, is, _ := strings.Cut(sig, "\x01")
		s.classes = append(s.classes, subject{others: others, touched: was != is})
	}
	s.classes[class].members = append(s.classes[class].members, i)
}

func (s *subjects) signature(i int) string {
	half := func(name string, calls []string) string {
		if name == "" {
			return "nobody"
		}
		var mine []string
		for _, call := range calls {
			if s.calls[call] {
				mine = append(mine, call)
			}
		}
		return strings.Join(mine, "\x00")
	}
	x := s.people
	return half(x.all[i].was, x.calls[i][0]) + "\x01" + half(x.all[i].is, x.calls[i][1])
}

func (s *subjects) locate(was, is string) int {
	if i, known := s.people.at[person{was: was, is: is}]; known {
		return s.index[s.signature(i)]
	}
	return -1
}

// text names a class.
func (s *subjects) text(class int) []string {
	c := &s.classes[class]
	if c.others {
		return []string{"all others" + s.people.all[c.members[0]].change()}
	}
	const most = 6
	var names []string
	for _, i := range c.members[:min(len(c.members), most)] {
		names = append(names, s.people.all[i].text())
	}
	if n := len(c.members) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d like %s", n, s.people.all[c.members[0]].text()))
	}
	return names
}

func (p *person) text() string {
	switch {
	case p.was == "" && p.is == "":
		return nobody
	case p.was == "":
		return p.is + p.change()
	case p.is != p.was && p.is != "":
		return p.was + " (a key of theirs is " + p.is + "'s)"
	}
	return p.was + p.change()
}

// change says what becomes of somebody.
func (p *person) change() string {
	switch {
	case p.was == p.is || p.was != "" && p.is != "":
		return ""
	case p.was == "" && p.key:
		return " (by a new key)"
	case p.was == "":
		return " (new)"
	case p.key:
		return " (by a key that is gone)"
	}
	return " (gone)"
}

// callsOf are the calls that rules use.
func callsOf(into map[string]bool, consumers, groups []string) {
	for _, c := range consumers {
		into["c:"+c] = true
	}
	for _, g := range groups {
		into["g:"+g] = true
	}
}

var _ policy.Fields = preflight{}

// preflight is the header of a request that asks whether another one may be made.
type preflight struct{}

// Field implements [policy.Fields].
func (preflight) Field(name string) (string, int) {
	switch {
	case strings.EqualFold(name, "Origin"):
		return "https://page.example", 1
	case strings.EqualFold(name, "Access-Control-Request-Method"):
		return "GET", 1
	}
	return "", 0
}
