package access_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy"
)

func TestUsingAndDeletingAtTheSameMoment(t *testing.T) {
	admintest.Run(t, func(t *testing.T, s *admintest.Server) { admintest.Uses(t, s, s, 12) })
}

// TestManyJoinAGroupAtOnce has more writers meet at one object than a change has
// tries.
func TestManyJoinAGroupAtOnce(t *testing.T) {
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/groups", `name=staff`)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { s.Want(t, 201, "POST", "/consumers", fmt.Sprintf(`name=c%d&groups=staff`, i)) })
	}
	wg.Wait()
	if members := s.Want(t, 200, "GET", "/groups/staff", "").JSON["consumers"].([]any); len(members) != 100 {
		t.Errorf("%d members", len(members))
	}
}

// TestNoChangeEmptiesWhatGuards tries by every verb and spelling to take away
// the last thing that an object guards by.
func TestNoChangeEmptiesWhatGuards(t *testing.T) {
	tests := []struct {
		name      string
		path      string
		make      string
		method    string
		body      string
		forbidden bool
	}{
		{"an ACL's groups, by PATCH", "/mappings/acls/a", `{"api":"x","groups":["g"],"methods":["GET"]}`, "PATCH", `groups=`, true},
		{"an ACL's groups, by an empty list", "/mappings/acls/a", `{"api":"x","groups":["g"],"methods":["GET"]}`, "PATCH", `{"groups":[]}`, true},
		{"an ACL's groups, by null", "/mappings/acls/a", `{"api":"x","groups":["g"],"methods":["GET"]}`, "PATCH", `{"groups":null}`, true},
		{"an ACL's groups, by PUT without them", "/mappings/acls/a", `{"api":"x","groups":["g"],"methods":["GET"]}`, "PUT", `{"api":"x","methods":["GET"]}`, true},
		{"an ACL's groups, below its API", "/apis/x/acls/a", `{"groups":["g"],"methods":["GET"]}`, "PATCH", `groups=`, true},
		{"an ACL's consumers", "/mappings/acls/a", `{"api":"x","consumers":["c"],"methods":["GET"]}`, "PATCH", `consumers=`, true},
		{"an ACL's consumers, while groups stay", "/mappings/acls/a", `{"api":"x","consumers":["c"],"groups":["g"]}`, "PATCH", `consumers=`, false},
		{"an ACL's groups for consumers", "/mappings/acls/a", `{"api":"x","groups":["g"]}`, "PATCH", `groups=&consumers=c`, false},
		{"a whitelist's entries", "/whitelist/w", `{"entries":["a.example"]}`, "PATCH", `entries=`, true},
		{"a whitelist's entries, by PUT without them", "/whitelist/w", `{"entries":["a.example"]}`, "PUT", `{"reason":"so"}`, true},
		{"a whitelist's consumers", "/whitelist/w", `{"entries":["a.example"],"consumers":["c"]}`, "PATCH", `consumers=`, true},
		{"a whitelist's groups, by PUT without them", "/whitelist/w", `{"entries":["a.example"],"groups":["g"]}`, "PUT", `{"entries":["a.example"],"direction":"egress"}`, true},
		{"a blacklist's entries", "/blacklist/b", `{"entries":["a.example"]}`, "PATCH", `{"entries":[]}`, true},
		{"an API's ACL, for another API", "/mappings/acls/a", `{"api":"x","groups":["g"]}`, "PATCH", `api=other`, true},
		{"an API's ACL, by PUT for another API", "/mappings/acls/a", `{"api":"x","groups":["g"]}`, "PUT", `{"api":"other","groups":["g"]}`, true},
		{"an API's plugins, for another API", "/mappings/plugins/m", `{"api":"x","plugins":["auth"]}`, "PATCH", `api=other`, true},
		{"a mapping's plugins", "/mappings/plugins/m", `{"api":"x","plugins":["auth"]}`, "PATCH", `plugins=`, true},
		{"a mapped group's plugins", "/groups/auths", `{"plugins":["auth"]}`, "PATCH", `plugins=`, true},
		{"a mapped group's plugins, by PUT without them", "/groups/auths", `{"plugins":["auth"]}`, "PUT", `{"consumers":[]}`, true},
		{"an unmapped group's plugins", "/groups/others", `{"plugins":["auth"]}`, "PATCH", `plugins=`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := admintest.Memory(t)
			s.Want(t, 201, "POST", "/consumers", `name=c`)
			s.Want(t, 201, "POST", "/plugins", `id=auth&name=key-auth`)
			s.Want(t, 201, "POST", "/groups", `name=auths&plugins=auth`)
			s.Want(t, 201, "POST", "/mappings/plugins", `api=y&groups=auths`)
			if a := s.Do("PUT", tt.path, tt.make); a.Status/100 != 2 {
				t.Fatalf("got %d %s", a.Status, a.Text)
			}
			before := s.Want(t, 200, "GET", tt.path, "")
			a := s.Do(tt.method, tt.path, tt.body)
			if want := map[bool]int{true: 400, false: 200}[tt.forbidden]; a.Status != want {
				t.Errorf("got %d %s, want %d", a.Status, a.Text, want)
			}
			if after := s.Want(t, 200, "GET", tt.path, ""); tt.forbidden && after.Text != before.Text {
				t.Errorf("got %s, want it as it was: %s", after.Text, before.Text)
			}
		})
	}
}

// TestWhatIsLeftOutOfAPutDoesNotOpen replaces objects by bodies that leave out
// what they guard by otherwise.
func TestWhatIsLeftOutOfAPutDoesNotOpen(t *testing.T) {
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/consumers", `name=c`)
	id := s.Want(t, 201, "POST", "/consumers/c/key-auth", `key=k&not_after=2020-01-01T00:00:00Z`).JSON["id"].(string)
	s.Play(t, admintest.Step{Method: "PUT", Path: "/consumers/c/key-auth/" + id, Body: `{}`, Status: 200, Want: `{"not_after":"2020-01-01T00:00:00Z"}`})
	s.Want(t, 200, "PATCH", "/consumers/c/key-auth/"+id, `{"not_after":null}`)
	s.Want(t, 201, "POST", "/whitelist", `{"name":"w","entries":["10.0.0.0/8"],"direction":"both"}`)
	s.Play(t, admintest.Step{Method: "PUT", Path: "/whitelist/w", Body: `{"entries":["10.0.0.0/8"]}`, Status: 200, Want: `{"direction":"both"}`})
	s.Want(t, 201, "POST", "/apis", `{"name":"a","protected_headers":["X-Secret"]}`)
	s.Play(t, admintest.Step{Method: "PUT", Path: "/apis/a", Body: `{"backends":["http://h"]}`, Status: 200, Want: `{"protected_headers":["X-Secret"]}`})
}

// TestNothingThatNamedADeadConsumerLetsALaterOneIn deletes consumers to whom
// more refers, in more ways, than one transaction holds (C35).
func TestNothingThatNamedADeadConsumerLetsALaterOneIn(t *testing.T) {
	for _, n := range []struct{ keys, acls, mappings, lists int }{{0, 1, 1, 1}, {40, 50, 0, 0}, {30, 40, 0, 3}, {0, 64, 0, 0}, {1, 63, 64, 0}, {130, 70, 20, 70}} {
		t.Run(fmt.Sprintf("%+v", n), func(t *testing.T) {
			s := admintest.Memory(t)
			s.Want(t, 201, "POST", "/consumers", `name=eve&key=old`)
			s.Want(t, 201, "POST", "/consumers", `name=bob&key=bob`)
			for i := range n.keys {
				s.Write(t, policy.KindCredentials, fmt.Sprintf("%064x", i), `{"consumer":"eve"}`)
			}
			for i := range n.acls {
				s.Write(t, policy.KindACLs, fmt.Sprintf("acl%d", i), fmt.Sprintf(`{"api":"a%d","consumers":["eve","bob","eve"]}`, i))
			}
			s.Want(t, 201, "POST", "/plugins", `id=p&name=rate-limiting&config.minute=5`)
			for i := range n.mappings {
				s.Write(t, policy.KindPluginMappings, fmt.Sprintf("m%d", i), fmt.Sprintf(`{"api":"m%d","plugins":["p"],"consumers":["eve"]}`, i))
			}
			for i := range n.lists {
				s.Write(t, policy.KindWhitelist, fmt.Sprintf("w%d", i), `{"entries":["a.example"],"consumers":["eve"]}`)
			}
			s.Want(t, 204, "DELETE", "/consumers/eve", "")
			s.Want(t, 404, "DELETE", "/consumers/eve", "")
			for _, kind := range policy.Kinds {
				all, err := s.Store.List(t.Context(), string(kind))
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range all {
					if strings.Contains(string(o.Value), `"eve"`) {
						t.Errorf("%s is left: %s", o.Key(), o.Value)
					}
				}
			}
			s.Want(t, 201, "POST", "/consumers", `name=eve&key=new`)
			for i := range n.acls {
				s.WantDecisions(t, map[string]int{fmt.Sprintf("GET /a%d/x new", i): 403, fmt.Sprintf("GET /a%d/x old", i): 401, fmt.Sprintf("GET /a%d/x bob", i): 200})
			}
		})
	}
}

// TestAReferenceThatMeansAnotherConsumerStays: an id goes before a name.
func TestAReferenceThatMeansAnotherConsumerStays(t *testing.T) {
	s := admintest.Memory(t)
	s.Write(t, policy.KindConsumers, "first", `id = "second"`)
	s.Want(t, 201, "POST", "/consumers/first/key-auth", `key=first`)
	s.Write(t, policy.KindConsumers, "second", `id = "2"`)
	s.Write(t, policy.KindACLs, "a", `{"api":"x","consumers":["second"]}`)
	s.Want(t, 204, "DELETE", "/consumers/second", "")
	s.WantDecisions(t, map[string]int{"GET /x/y first": 200})
}

// TestARenamedDomainKeepsItsRules moves mappings that are guarded in every way.
func TestARenamedDomainKeepsItsRules(t *testing.T) {
	for _, to := range []string{"b.example", "*.b.example"} {
		t.Run(to, func(t *testing.T) {
			admintest.Run(t, func(t *testing.T, s *admintest.Server) {
				body := func(domain string) string { return fmt.Sprintf(`{"domain":%q,"backends":["http://h"]}`, domain) }
				s.Want(t, 201, "PUT", "/v1/t/mapping", body("a.example"))
				s.Want(t, 201, "POST", "/apis/a.example/acls", `groups=staff`)
				s.Write(t, policy.KindACLs, "hand", `{"api":"a.example","groups":["others"]}`)
				s.Want(t, 201, "POST", "/apis/a.example/plugins", `name=rate-limiting&config.minute=5`)
				s.Want(t, 201, "POST", "/apis", `name=a.example&protected_headers=X-A`)
				s.Want(t, 201, "POST", "/apis/c.example/acls", `groups=staff`)
				s.Want(t, 409, "POST", "/v1/t/mapping/a.example", body("c.example")) // which has rules of its own
				s.Want(t, 200, "GET", "/v1/t/mapping/a.example", "")
				s.Want(t, 200, "POST", "/v1/t/mapping/a.example", body(to))
				at := "/apis/" + url.PathEscape(to)
				for path, n := range map[string]float64{at + "/acls": 2, at + "/plugins": 1, "/apis/a.example/acls": 0, "/apis/a.example/plugins": 0} {
					if got := s.Want(t, 200, "GET", path, "").JSON["total"]; got != n {
						t.Errorf("%s: got %v, want %v", path, got, n)
					}
				}
				s.Play(t, admintest.Step{Method: "GET", Path: at, Status: 200, Want: `{"protected_headers":["X-A"]}`})
				s.Want(t, 404, "GET", "/apis/a.example", "")
			})
		})
	}
	t.Run("or is refused where there are too many", func(t *testing.T) {
		s := admintest.Memory(t)
		s.Want(t, 201, "PUT", "/v1/t/mapping", `{"domain":"a.example","backends":["http://h"]}`)
		for i := range 60 {
			s.Write(t, policy.KindACLs, fmt.Sprint("a", i), `{"api":"a.example","groups":["staff"]}`)
		}
		a := s.Want(t, 409, "POST", "/v1/t/mapping/a.example", `{"domain":"b.example","backends":["http://h"]}`)
		if a.JSON["reason"] != "in_use" {
			t.Errorf("got %s", a.Text)
		}
		s.Want(t, 200, "GET", "/v1/t/mapping/a.example", "")
	})
}
