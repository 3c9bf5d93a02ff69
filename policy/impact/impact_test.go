package impact_test

import (
	"flag"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/impact"
)

var update = flag.Bool("update", false, "write the golden files")

// changes reads documents by kind/name.
func changes(t testing.TB, documents map[string]string) (all []policy.Change) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		key, ok := policy.ParseKey("policy/" + name)
		if !ok {
			t.Fatalf("%s is no key", name)
		}
		age := uint64(crc32.ChecksumIEEE([]byte(name))) // as much as that of the same name elsewhere
		all = append(all, document.Change(key, age, age, []byte(documents[name])))
	}
	return all
}

// with returns documents with some changed; an empty one is deleted.
func with(documents map[string]string, nameAndText ...string) map[string]string {
	out := maps.Clone(documents)
	for i := 0; i < len(nameAndText); i += 2 {
		if out[nameAndText[i]] = nameAndText[i+1]; nameAndText[i+1] == "" {
			delete(out, nameAndText[i])
		}
	}
	return out
}

var shop = map[string]string{
	"consumers/ann":              `{"groups": ["staff"]}`,
	"consumers/bob":              `{"groups": ["staff", "reporting"]}`,
	"consumers/ci":               `{"groups": ["reporting"]}`,
	"consumers/guest":            `{}`,
	"plugins/key":                `{"name": "key-auth"}`,
	"plugin-mappings/key":        `{"api": "shop", "plugins": ["key"]}`,
	"plugins/limit":              `{"name": "rate-limiting", "config": {"minute": 10}}`,
	"filters/export":             `{"paths": ["/shop/export"], "ips": ["10.0.0.0/8"]}`,
	"filters/rest":               `{"paths": ["/shop/cart", "/shop/list"]}`,
	"acls/shop":                  `{"api": "shop", "groups": ["reporting"], "filters": ["export"]}`,
	"acls/staff":                 `{"api": "shop", "groups": ["staff"]}`,
	"blacklist/ops":              "10.6.6.0/24\n/shop/admin\nevil.example\nDELETE /cart\n",
	"blacklist/long":             "192.0.2.0/24\n198.51.100.7\n",
	"acls/pages":                 `{"api": "pages.example.org", "consumers": ["guest"]}`,
	"mappings/pages.example.org": `{"backends": ["http://10.0.0.7:8080"]}`,
	"credentials/8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a": `{"consumer": "ann"}`,
}

func TestChangesAreToldAsInTheGoldenFiles(t *testing.T) { // R3
	tests := []struct {
		file     string
		was, is  map[string]string
		complete bool
	}{
		{"nothing", shop, shop, true},
		{"an_acl_loses_its_addresses", shop, with(shop, "filters/export", `{"paths": ["/shop/export"], "ips": ["10.1.0.0/16"]}`), true},
		{"an_acl_goes", shop, with(shop, "acls/shop", ""), true},
		{"an_acl_comes_to_an_open_api", shop, with(shop, "acls/cart", `{"api": "cart", "groups": ["staff"]}`), true},
		{"a_blacklist_grows", shop, with(shop, "blacklist/ops", "10.6.6.0/24\n/shop/admin\nevil.example\nDELETE /cart\nPOST /shop/cart\n203.0.113.0/24\n"), true},
		{"a_consumer_leaves_a_group", shop, with(shop, "consumers/bob", `{"groups": ["reporting"]}`), true},
		{"a_key_goes", shop, with(shop, "credentials/8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a", ""), true},
		{"a_consumer_goes", shop, with(shop, "consumers/ci", ""), true},
		{"a_plugin_becomes_global", shop, with(shop, "plugin-mappings/key", ""), true},
		{"a_limit_changes", shop, with(shop, "plugins/limit", `{"name": "rate-limiting", "config": {"minute": 20}}`), true},
		{"a_mapping_changes", shop, with(shop, "mappings/pages.example.org", `{"backends": ["service:pages"]}`), true},
		{"a_part_of_a_service", shop, with(shop, "apis/exports", `{"service": "shop", "filters": ["export"]}`, "acls/exports", `{"api": "exports", "consumers": ["ci"]}`), true},
		{"several_changes", shop, with(shop, "filters/export", `{"paths": ["/shop/export"], "ips": ["10.1.0.0/16"]}`, "consumers/bob", `{"groups": ["reporting"]}`,
			"acls/guest", `{"api": "shop", "consumers": ["guest"], "filters": ["rest"]}`,
			"credentials/8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a", ""), true},
		{"cors_comes", shop, with(shop, "plugins/pages", `{"name": "cors"}`), true},
		{"an_object_that_cannot_be_read", shop, with(shop, "acls/shop", `{"api"`), false},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			rep := impact.Compare(changes(t, tt.was), changes(t, tt.is), impact.Options{})
			var text strings.Builder
			if err := rep.Print(&text); err != nil {
				t.Fatal(err)
			}
			if rep.Complete != tt.complete {
				t.Errorf("complete is %v", rep.Complete)
			}
			golden := filepath.Join("testdata", tt.file+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(text.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || text.String() != string(want) {
				t.Errorf("%v: got\n%s\nwant\n%s", err, text.String(), want)
			}
		})
	}
}

// Of all APIs together no more is decided on than is written down, and what is left
// out is named.
func TestAllAPIsTogetherHaveABound(t *testing.T) { // R3
	is := with(shop, "plugins/off", `{"name": "request-termination"}`) // everywhere
	all := impact.Compare(changes(t, shop), changes(t, is), impact.Options{})
	classes, largest := 0, 0
	for _, p := range all.Roads {
		classes, largest = classes+p.Classes, max(largest, p.Classes)
	}
	if !all.Complete || classes == largest {
		t.Fatalf("complete %v, %d classes, %d of one API", all.Complete, classes, largest)
	}
	if rep := impact.Compare(changes(t, shop), changes(t, is), impact.Options{MaxTotal: classes}); !rep.Complete {
		t.Errorf("it does not fit into what it needs: %s", rep.Proven())
	}
	rep := impact.Compare(changes(t, shop), changes(t, is), impact.Options{MaxTotal: classes - 1})
	did, missing := 0, 0
	for _, p := range rep.Roads {
		if did += p.Classes; p.Missing != "" {
			missing++
		}
	}
	if rep.Complete || did >= classes || missing != 1 || !strings.Contains(rep.Proven(), "NOT PROVEN: ") ||
		!strings.Contains(rep.Proven(), "of all APIs together (") || !strings.Contains(rep.Proven(), "20,000,000 of all APIs)") {
		t.Errorf("%d of %d classes, %d APIs are missing: %s", did, classes, missing, rep.Proven())
	}
}

// Whoever may write to the store names objects, and must not write lines of a proof.
func TestNamesOfObjectsForgeNoLine(t *testing.T) { // R3
	is := with(shop, "groups/a\nproof: 5 classes of 1 API, complete\x1b[31m\u009b\u202e", "{}")
	rep := impact.Compare(changes(t, shop), changes(t, is), impact.Options{})
	var text strings.Builder
	if err := rep.Print(&text); err != nil {
		t.Fatal(err)
	}
	if rep.Complete || strings.Contains(text.String(), "\nproof: 5") || strings.ContainsAny(text.String(), "\x1b\u009b\u202e") || !strings.Contains(text.String(), "NOT PROVEN: every API: groups/a") {
		t.Errorf("complete %v, got %q", rep.Complete, text.String())
	}
}
