package policy

import (
	"slices"
	"strings"
	"testing"
)

// crashing is a builder whose compile step panics while some ACL has the id
// "boom" or any object is named so.
func crashing(told *int) *Builder {
	b := NewBuilder(Options{Prefix: "lictor/", Panicked: func(any) { *told++ }})
	b.tables = func(b *Builder) {
		for k, o := range b.objects {
			if k.Name == "boom" && !o.broken {
				panic("boom")
			}
		}
		b.compileDirty()
	}
	return b
}

func aclOf(name, api string, index uint64) Change {
	return Change{Key: Key{KindACLs, name}, Index: index, Created: index, Object: &ACL{API: api, Groups: []string{"g"}}}
}

// guarded reports whether some ACL closes an API.
func guarded(api string, set *Set) bool {
	_, ok := set.acls.Get(hashString(api), api)
	return ok
}

func TestAPanicOfTheCompileStepSetsAsideOneObject(t *testing.T) {
	told := 0
	b := crashing(&told)
	var changes []Change
	for i, name := range []string{"a", "b", "c", "boom", "d", "e", "f"} {
		changes = append(changes, aclOf(name, "svc-"+name, uint64(i+1)))
	}
	set, rejections := b.Apply(7, changes)
	if len(rejections) != 1 || rejections[0].Key.Name != "boom" || rejections[0].Kept || !rejections[0].Closes ||
		!strings.Contains(rejections[0].Problems.Error(), "a panic was contained") {
		t.Fatalf("got %+v, want boom alone", rejections)
	}
	if told != 1 {
		t.Errorf("told of %d panics, want 1", told)
	}
	if n := set.Objects(KindACLs); n != 6 {
		t.Errorf("%d ACLs are in force, want 6", n)
	}
	if !guarded("svc-a", set) || !guarded("svc-f", set) || !guarded("svc-boom", set) {
		t.Error("an API is open")
	}
	closings := set.Closings()
	if len(closings) != 1 || closings[0].Closes != "API svc-boom" {
		t.Errorf("got %+v, want that the API of the object is closed", closings)
	}
	// The same policy, however it came about.
	plain := NewBuilder(Options{Prefix: "lictor/"})
	spoilt, _ := changes[3].spoilt()
	want, _ := plain.Apply(7, slices.Concat(changes[:3], []Change{spoilt}, changes[4:]))
	if set.Version() != want.Version() {
		t.Errorf("the policy is %+v, want %+v", set.Version(), want.Version())
	}
	// Once it is deleted, all is well.
	if set, rejections = b.Apply(8, []Change{{Key: Key{KindACLs, "boom"}}}); len(rejections)+len(set.Closings())+len(set.Rejected()) != 0 {
		t.Errorf("after the deletion: %+v %+v %+v", rejections, set.Closings(), set.Rejected())
	}
}

func TestAPanicKeepsTheLastGoodValue(t *testing.T) {
	told := 0
	b := crashing(&told)
	tables := b.tables
	b.tables = (*Builder).compileDirty
	first, _ := b.Apply(1, []Change{aclOf("boom", "svc", 1), aclOf("other", "svc", 1)})
	b.tables = func(b *Builder) {
		if b.objects[Key{KindACLs, "boom"}].index == 2 {
			tables(b)
		}
		b.compileDirty()
	}
	set, rejections := b.Apply(2, []Change{aclOf("boom", "elsewhere", 2)})
	if len(rejections) != 1 || !rejections[0].Kept || told != 1 {
		t.Fatalf("got %+v, told of %d panics; want that the former value stays", rejections, told)
	}
	if first.Version().Hash != set.Version().Hash || !guarded("svc", set) || guarded("elsewhere", set) {
		t.Error("the policy is not the former one")
	}
	if set, rejections = b.Apply(3, []Change{aclOf("other", "third", 3)}); len(rejections) != 0 || !guarded("third", set) {
		t.Errorf("the next change is not worked in: %+v", rejections)
	}
}

func TestAPanicOfTheCheckClosesAllThatTheObjectMayGuard(t *testing.T) {
	told := 0
	b := crashing(&told)
	set, rejections := b.Apply(1, []Change{aclOf("a", "svc", 1), {Key: Key{KindACLs, "x"}, Index: 1, Object: (*ACL)(nil)}, aclOf("b", "svc", 1)})
	if len(rejections) != 1 || rejections[0].Key.Name != "x" || !rejections[0].Closes {
		t.Fatalf("got %+v", rejections)
	}
	if _, closed := set.Closed(Ingress); !closed {
		t.Error("the gateway is open, though nobody knows what the ACL guards")
	}
	if set.Objects(KindACLs) != 2 || told != 2 {
		t.Errorf("%d ACLs in force, want 2; told of %d panics, want the check's and the stand-in's", set.Objects(KindACLs), told)
	}
}

func TestADeletionThatPanicsKeepsTheObject(t *testing.T) {
	told := 0
	b := crashing(&told)
	b.Apply(1, []Change{aclOf("a", "svc", 1)})
	b.tables = func(b *Builder) {
		if len(b.objects) == 0 {
			panic("empty")
		}
		b.compileDirty()
	}
	set, rejections := b.Apply(2, []Change{{Key: Key{KindACLs, "a"}}})
	if len(rejections) != 1 || !rejections[0].Kept || set.Objects(KindACLs) != 1 {
		t.Errorf("got %+v with %d objects", rejections, set.Objects(KindACLs))
	}
}

// TestAListAfterAPanicTakesNoOthersEntries brings a list once the builder went back
// to what it was: it must not pass for one that was there before.
func TestAListAfterAPanicTakesNoOthersEntries(t *testing.T) {
	told := 0
	b := crashing(&told)
	b.Apply(1, []Change{
		{Key: Key{KindBlacklist, "first"}, Object: &List{Entries: []string{"bad.example"}}},
		{Key: Key{KindBlacklist, "second"}, Object: &List{Entries: []string{"worse.example"}}},
	})
	b.Apply(2, []Change{aclOf("boom", "svc", 2)})
	set, _ := b.Apply(3, []Change{
		{Key: Key{KindBlacklist, "third"}, Object: &List{Entries: []string{"a.example"}, Mode: Report}},
		{Key: Key{KindBlacklist, "fourth"}, Object: &List{Entries: []string{"b.example"}, Mode: Report}},
	})
	if told != 1 {
		t.Fatalf("told of %d panics, want 1", told)
	}
	for host, by := range map[string]string{"bad.example": "lictor/policy/blacklist/first", "worse.example": "lictor/policy/blacklist/second", "a.example": "", "b.example": ""} {
		var v Verdict
		set.Decide(&Request{Method: "GET", Host: host}, &Route{}, &v, nil)
		if v.Rule.Key != by {
			t.Errorf("%s is denied by %q, want %q", host, v.Rule.Key, by)
		}
	}
}
