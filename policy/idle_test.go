//go:build !race

package policy_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/policy/document"
)

func TestWhatMakesNoDifferenceIsTold(t *testing.T) { // R5
	wide := "never make a difference, because "
	tests := []struct{ name, docs, want string }{
		{"an address in a network", "blacklist/b 10.1.2.3,10.0.0.0/8", wide + `"10.0.0.0/8" of blacklist/b`},
		{"a network in a network of another list", "blacklist/a 10.0.0.0/8|blacklist/b 10.1.0.0/16", wide + `"10.0.0.0/8" of blacklist/a`},
		{"the same twice", "blacklist/a 10.0.0.0/8|blacklist/b 10.0.0.0/8", "blacklist/b"},
		{"a path below a path", "blacklist/b /shop,/shop/admin", `"/shop/admin" can`},
		{"a URL below a path, at the gateway", `blacklist/b {"entries":["/shop","http://a.ex/shop/x"],"direction":"ingress"}`, `"http://a.ex/shop/x" can`},
		{"a URL of a host", "blacklist/b .a.ex,http://b.a.ex/x", `"http://b.a.ex/x" can`},
		{"a host of a domain", "blacklist/b a.ex,.a.ex", `"a.ex" can`},
		{"subdomains of a domain", "blacklist/b *.a.ex,.a.ex", `"*.a.ex" can`},
		{"a method of a path", "blacklist/b /shop,POST /shop", `"POST /shop" can`},
		{"a port of an address", "blacklist/b 10.1.1.1:80,10.0.0.0/8", `"10.1.1.1:80" can`},
		{"a service twice", "blacklist/b service:x,service:x", `entries[1]`},
		{"what is only reported beside what is enforced", `blacklist/a /shop|blacklist/b {"entries":["/shop/x"],"mode":"report"}`, "blacklist/b"},
		{"an ACL within another", `acls/a {"api":"x","groups":["g","h"]}|acls/b {"api":"x","groups":["h"],"filters":["f"]}`, "acls/b: can never make a difference, because acls/a"},
		{"an ACL twice", `acls/a {"api":"x","groups":["g","h"]}|acls/b {"api":"x","groups":["h","g"]}`, "acls/b: says the same as acls/a"},
		{"a filter twice", `filters/a {"methods":["GET","PUT"]}|filters/b {"methods":["PUT","GET"]}`, "filters/b: says the same as filters/a"},
		{"a mapping twice", `plugin-mappings/a {"api":"x","plugins":["p"]}|plugin-mappings/b {"api":"x","plugins":["p"]}`, "plugin-mappings/b: says the same"},
		{"a plugin that is off", `plugins/p {"name":"key-auth","enabled":false}`, "it is switched off"},
		{"a plugin that is nowhere", `plugins/p {"name":"key-auth","global":false}`, "no mapping names it"},

		{"a network in a narrower one", "blacklist/b 10.0.0.0/8,11.0.0.0/8,10.1.0.0/16:80", `"10.1.0.0/16:80" can`},
		{"different ports", "blacklist/b 10.0.0.0/8:443,10.1.1.1:80", ""},
		{"different methods", "blacklist/b GET /shop,POST /shop,/shopping", ""},
		{"a host is not its subdomains", "blacklist/b a.ex,*.a.ex", ""},
		{"a path of a host says nothing of all hosts", "blacklist/b http://a.ex/shop,/shop", ""},
		{"a bare path says nothing at the egress", "blacklist/b /shop,http://a.ex/shop/x", ""},
		{"what is enforced beside what is reported", `blacklist/a {"entries":["/shop"],"mode":"report"}|blacklist/b /shop/x`, ""},
		{"another direction", `blacklist/a {"entries":["a.ex"],"direction":"egress"}|blacklist/b {"entries":["a.ex"]}`, "blacklist/a: line 1: entries[0]"},
		{"a narrower direction", `blacklist/a {"entries":["a.ex"],"direction":"egress"}|blacklist/b {"entries":["a.ex"],"direction":"ingress"}`, ""},
		{"a blacklist and a whitelist", "blacklist/a a.ex|whitelist/b a.ex", ""},
		{"a whitelist for some", `whitelist/a {"entries":[".a.ex"],"groups":["g"]}|whitelist/b a.ex`, ""},
		{"ACLs of two APIs", `acls/a {"api":"x","groups":["g"]}|acls/b {"api":"y","groups":["g"]}`, ""},
		{"an ACL for anyone binds nobody", `acls/a {"api":"x"}|acls/b {"api":"x","groups":["g"]}`, ""},
		{"an ACL that filters", `acls/a {"api":"x","groups":["g","h"],"filters":["f"]}|acls/b {"api":"x","groups":["g"]}`, ""},
		{"inline filters", `filters/a {"methods":["GET"],"inline":true}|filters/b {"methods":["GET"],"inline":true}`, ""},
		{"a plugin by a group", `plugins/p {"name":"key-auth","global":false}|groups/g {"plugins":["p"]}|plugin-mappings/m {"api":"x","groups":["g"]}`, ""},
		{"what cannot be read", `blacklist/a {"entries":["/"],"nonsense":1}|blacklist/b /shop/x`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var changes []policy.Change
			for text := range strings.SplitSeq(tt.docs, "|") {
				name, value, _ := strings.Cut(text, " ")
				if key, ok := policy.ParseKey("policy/" + name); ok {
					if value[0] != '{' {
						value = strings.ReplaceAll(value, ",", "\n")
					}
					changes = append(changes, document.Change(key, 1, 1, []byte(value)))
				}
			}
			var notes string
			for _, n := range policy.Idle(changes) {
				notes += strings.TrimPrefix(n.Path, "policy/") + ": " + n.String() + "\n"
			}
			if tt.want == "" && notes != "" || !strings.Contains(notes, tt.want) || strings.Count(notes, "difference") > 1 {
				t.Errorf("got %s, want %q", notes, tt.want)
			}
		})
	}
}

// TestWhatMakesNoDifferenceCanGo takes what is told out of random policies, and no
// decision changes.
func TestWhatMakesNoDifferenceCanGo(t *testing.T) { // R5
	gone := map[string]int{}
	for seed := range uint64(6000) {
		w := newWorld(seed)
		before := w.compile(t, w.changes)
		for _, note := range policy.Idle(w.changes) {
			after := w.without(note)
			if after == nil {
				continue
			}
			set := w.compile(t, after)
			gone[strings.Split(note.Path, "/")[1]]++
			for range 20 {
				r, _, _ := w.request()
				if was, is := summary(before, r), summary(set, r); was.reason != is.reason || was.by != is.by || was.api != is.api {
					t.Fatalf("world %d: without %+v %s %s%s is %q, was %q\n%s", seed, note, r.Method, r.Host, r.Path.Received, is.reason, was.reason, w)
				}
				d := &policy.Destination{Method: r.Method, Host: r.Host, Port: r.Port, Registry: services, Addrs: []netip.Addr{r.Client}}
				if w.IntN(2) == 0 {
					d.Path = r.Path
				}
				if was, is := dialled(before, d), dialled(set, d); was != is {
					t.Fatalf("world %d: without %+v %+v is %q, was %q\n%s", seed, note, d, is, was, w)
				}
			}
		}
	}
	for kind, least := range map[string]int{"blacklist": 100, "whitelist": 10, "acls": 50, "plugins": 100} {
		if gone[kind] < least {
			t.Errorf("only %d of %s went: the test proves little", gone[kind], kind)
		}
	}
}

func dialled(set *policy.Set, d *policy.Destination) policy.Reason {
	var v policy.Verdict
	if !set.Blacklisted(d, &v, nil) {
		set.Whitelisted(d, &v, nil)
	}
	return v.Reason
}

// without returns the changes less what a note is about; nil if that is a filter or
// a mapping, which others may name.
func (w *world) without(note policy.Note) []policy.Change {
	all := slices.Clone(w.changes)
	i := slices.IndexFunc(all, func(c policy.Change) bool { return c.Key.String() == note.Path })
	switch x := all[i].Object.(type) {
	case *policy.List:
		at, _ := strconv.Atoi(strings.Trim(note.Field, "entris[]"))
		c := *x
		c.Entries = slices.Delete(slices.Clone(x.Entries), at, at+1)
		all[i].Object = &c
	case *policy.ACL:
		all = slices.Delete(all, i, i+1)
	case *policy.Plugin:
		off := false
		c := *x
		c.Enabled = &off // its going would be a dangling reference
		all[i].Object = &c
	default:
		return nil
	}
	return all
}
