package access_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy"
	"lictor/policy/document"
)

// full is a document of a kind with every field that it can have, written by
// hand, and the path at which the API shows it.
type full struct {
	kind       policy.Kind
	name, path string
	value      string
}

const keyName = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var everyKind = []full{
	{policy.KindConsumers, "mobile", "/consumers/mobile", `{"id":"c1","name":"mobile","custom_id":"m-1","groups":["staff","gone"],"created_at":"2026-01-02T03:04:05.678Z"}`},
	{policy.KindCredentials, keyName, "/consumers/mobile/key-auth/k1", `{"consumer":"c1","id":"k1","created_at":"2026-01-02T03:04:05Z","not_after":"2099-01-02T03:04:05Z"}`},
	{policy.KindGroups, "staff", "/groups/staff", `{"name":"staff","plugins":["auth"]}`},
	{policy.KindFilters, "reads", "/filters/reads", `{"name":"reads","methods":["GET"],"hosts":["*.x.example"],"paths":["/a"],"ips":["10.0.0.0/8"],"locations":["US"]}`},
	{policy.KindFilters, "own", "/filters/own", `{"name":"own","methods":["GET"],"inline":true}`},
	{policy.KindPlugins, "auth", "/plugins/auth", `{"id":"auth","name":"key-auth","config":{"key_names":["k"],"hide_credentials":true},"enabled":false,"global":false,"mode":"report"}`},
	{policy.KindPlugins, "limit", "/plugins/limit", `{"id":"limit","name":"rate-limiting","config":{"seconds":10,"minute":20,"scope":"split"},"enabled":true,"global":true,"mode":"enforce"}`},
	{policy.KindACLs, "acl", "/mappings/acls/acl", `{"id":"acl","api":"shop","consumers":["c1","mobile","gone"],"groups":["staff"],"filters":["reads","own"],"mode":"report"}`},
	{policy.KindACLs, "acl", "/apis/shop/acls/acl", ""},
	{policy.KindPluginMappings, "pm", "/mappings/plugins/pm", `{"id":"pm","api":"shop","plugins":["auth"],"consumers":["c1"],"groups":["staff"],"filters":["reads"]}`},
	{policy.KindPluginMappings, "pm", "/apis/shop/plugins/auth", ""},
	{policy.KindPluginMappings, "all", "/mappings/plugins/all", `{"id":"all","plugins":["auth"],"groups":["staff"]}`},
	{policy.KindAPIs, "shop", "/apis/shop", `{"name":"shop","filters":["reads"],"backends":["http://10.0.0.7:1"],"protected_headers":["X-A","X-B-*"]}`},
	{policy.KindBlacklist, "bad", "/blacklist/bad", `{"entries":["10.0.0.1","/admin"],"direction":"ingress","mode":"report","reason":"so"}`},
	{policy.KindWhitelist, "good", "/whitelist/good", `{"entries":["127.0.0.9"],"direction":"egress","mode":"enforce","reason":"so","consumers":["mobile","c1","gone"],"groups":["staff"]}`},
	{policy.KindMappings, "a.example", "/v1/t/mapping/a.example", `{"domain":"a.example","tenant":"t","backends":["http://h:1","https://i"],"seq":7}`},
}

// everything writes all of them.
func everything(t *testing.T, s *admintest.Server) {
	for _, f := range everyKind {
		if f.value != "" {
			s.Write(t, f.kind, f.name, f.value)
		}
	}
}

// meaning is what the document at a key says.
func meaning(t *testing.T, s *admintest.Server, f full) policy.Object {
	t.Helper()
	o, err := document.Parse(policy.Key{Kind: f.kind, Name: f.name}, []byte(s.Value(f.kind, f.name)))
	if err != nil {
		t.Fatalf("%s/%s: %v", f.kind, f.name, err)
	}
	if l, ok := o.(*policy.List); ok {
		l.Lines = nil
	}
	return o
}

func TestWhatIsShownCanBePutBack(t *testing.T) {
	admintest.Run(t, func(t *testing.T, s *admintest.Server) {
		everything(t, s)
		for _, f := range everyKind {
			t.Run(f.path, func(t *testing.T) {
				before := meaning(t, s, f)
				shown := s.Want(t, 200, "GET", f.path, "")
				again := s.Want(t, 200, "PUT", f.path, shown.Text, "Content-Type", "application/json")
				if after := meaning(t, s, f); !reflect.DeepEqual(before, after) {
					t.Errorf("PUT of what GET showed makes %+v of %+v", after, before)
				}
				if again.Compact() != shown.Compact() {
					t.Errorf("it is shown as %s, then as %s", shown.Compact(), again.Compact())
				}
			})
		}
	})
}

func TestAFieldIsPatchedAlone(t *testing.T) {
	admintest.Run(t, func(t *testing.T, s *admintest.Server) {
		everything(t, s)
		for _, f := range everyKind {
			if f.kind == policy.KindMappings {
				continue // it has no PATCH
			}
			before := meaning(t, s, f)
			fields := s.Want(t, 200, "GET", f.path, "").JSON
			for _, name := range slices.Sorted(maps.Keys(fields)) {
				body, err := json.Marshal(map[string]any{name: fields[name]})
				if err != nil {
					t.Fatal(err)
				}
				s.Want(t, 200, "PATCH", f.path, string(body))
				if after := meaning(t, s, f); !reflect.DeepEqual(before, after) {
					t.Errorf("%s: PATCH of %s makes %+v of %+v", f.path, body, after, before)
				}
			}
		}
	})
}
