package eureka

import (
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// summary spells an answer in a line per instance, so that a table can hold it.
func summary(a answer) string {
	var b strings.Builder
	for _, r := range a.records {
		address := r.inst.Address
		if r.inst.TLS {
			address = "https://" + address
		}
		if r.problem != "" {
			address = "unusable"
		}
		fmt.Fprintf(&b, "%s %s %s %s", r.app, r.id, address, r.status)
		if r.deleted {
			b.WriteString(" deleted")
		}
		b.WriteString("\n")
	}
	if a.bad > 0 {
		fmt.Fprintf(&b, "bad %d\n", a.bad)
	}
	return b.String()
}

// apps is a document around instances of the application ORDERS.
func apps(instances string) string {
	return `{"applications":{"application":[{"name":"ORDERS","instance":` + instances + `}]}}`
}

func TestDecode(t *testing.T) { // E4, E6, E7, E8
	const usual = `"hostName":"h1","ipAddr":"10.0.0.1","status":"UP"`
	tests := []struct {
		name, doc, want string
	}{
		{"Netflix: text and number", apps(`[{"instanceId":"a",` + usual + `,"port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"lastDirtyTimestamp":"17","overriddenstatus":"UNKNOWN"}]`), "orders a 10.0.0.1:8080 UP\n"},
		{"Polaris: boolean and number", apps(`[{"instanceId":"a",` + usual + `,"port":{"$":8080,"@enabled":true},"lastDirtyTimestamp":17,"overriddenStatus":"UP"}]`), "orders a 10.0.0.1:8080 UP\n"},
		{"Amalgam8: a port of digits", apps(`[{"instanceId":"a",` + usual + `,"port":{"$":"8080","@enabled":"true"}}]`), "orders a 10.0.0.1:8080 UP\n"},
		{"a bare port", apps(`[{"instanceId":"a",` + usual + `,"port":8080}]`), "orders a 10.0.0.1:8080 UP\n"},
		{"enabled is the default of a port", apps(`[{"instanceId":"a",` + usual + `,"port":{"$":8080}}]`), "orders a 10.0.0.1:8080 UP\n"},
		{"and not of a secure one", apps(`[{"instanceId":"a",` + usual + `,"securePort":{"$":8443}}]`), "orders a unusable UP\n"},
		{"the secure port if the other is off", apps(`[{"instanceId":"a",` + usual + `,"port":{"$":8080,"@enabled":"false"},"securePort":{"$":8443,"@enabled":"true"}}]`), "orders a https://10.0.0.1:8443 UP\n"},
		{"no port at all", apps(`[{"instanceId":"a",` + usual + `}]`), "orders a unusable UP\n"},
		{"a port that is none", apps(`[{"instanceId":"a",` + usual + `,"port":{"$":70000,"@enabled":"true"}}]`), "orders a unusable UP\n"},
		{"one instance without brackets", apps(`{"instanceId":"a",` + usual + `,"port":1}`), "orders a 10.0.0.1:1 UP\n"},
		{"one application without brackets", `{"applications":{"application":{"name":"A","instance":{"instanceId":"a",` + usual + `,"port":1}}}}`, "a a 10.0.0.1:1 UP\n"},
		{"the name of an old application", `{"applications":{"application":[{"instance":[{"app":"Old","instanceId":"a",` + usual + `,"port":1}]}]}}`, "old a 10.0.0.1:1 UP\n"},
		{"no name", `{"applications":{"application":[{"instance":[{"instanceId":"a",` + usual + `,"port":1}]}]}}`, "bad 1\n"},
		{"an empty map of metadata", apps(`[{"instanceId":"a",` + usual + `,"port":1,"metadata":{"@class":"java.util.Collections$EmptyMap"}}]`), "orders a 10.0.0.1:1 UP\n"},
		{"metadata that is no map", apps(`[{"instanceId":"a",` + usual + `,"port":1,"metadata":"x","leaseInfo":[]}]`), "orders a 10.0.0.1:1 UP\n"},
		{"an empty registry of Amalgam8", `{"applications":{}}`, ""},
		{"an empty registry of Netflix", `{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}`, ""},
		{"null for a list", `{"applications":{"application":null}}`, ""},
		{"an empty text for a list", `{"applications":{"application":[{"name":"A","instance":""}]}}`, ""},
		{"no id", apps(`[{` + usual + `,"port":1}]`), "orders 10.0.0.1:1 10.0.0.1:1 UP\n"},
		{"an id that is a number", apps(`[{"instanceId":7,` + usual + `,"port":1}]`), "orders 7 10.0.0.1:1 UP\n"},
		{"no address but a name", apps(`[{"instanceId":"a","hostName":"h1","status":"UP","port":1}]`), "orders a h1:1 UP\n"},
		{"an IPv6 address", apps(`[{"instanceId":"a","ipAddr":"2001:db8::1","status":"UP","port":1}]`), "orders a [2001:db8::1]:1 UP\n"},
		{"no host", apps(`[{"instanceId":"a","status":"UP","port":1}]`), "orders a unusable UP\n"},
		{"a host that is none", apps(`[{"instanceId":"a","ipAddr":"evil/x?","status":"UP","port":1}]`), "orders a unusable UP\n"},
		{"statuses", apps(`[{"instanceId":"a","ipAddr":"h","port":1,"status":"down"},{"instanceId":"b","ipAddr":"h","port":1,"status":"OUT_OF_SERVICE"},{"instanceId":"c","ipAddr":"h","port":1,"status":"fine"},{"instanceId":"d","ipAddr":"h","port":1},{"instanceId":"e","ipAddr":"h","port":1,"status":"STARTING"}]`),
			"orders a h:1 DOWN\norders b h:1 OUT_OF_SERVICE\norders c h:1 UNKNOWN\norders d h:1 UNKNOWN\norders e h:1 STARTING\n"},
		{"a bad instance does not cost the others", apps(`[7,{"instanceId":"a",` + usual + `,"port":1},"x",null]`), "orders a 10.0.0.1:1 UP\nbad 3\n"},
		{"a bad application neither", `{"applications":{"application":[[],{"name":"A","instance":[{"instanceId":"a",` + usual + `,"port":1}]},{"name":"B","instance":true}]}}`, "a a 10.0.0.1:1 UP\nbad 2\n"},
		{"a delta", apps(`[{"instanceId":"a",` + usual + `,"port":1,"actionType":"DELETED"},{"instanceId":"b",` + usual + `,"port":1,"actionType":"MODIFIED"}]`), "orders a 10.0.0.1:1 UP deleted\norders b 10.0.0.1:1 UP\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := decode([]byte(tt.doc), false)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(a); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
	named, err := decode([]byte(apps(`[{"instanceId":"a",`+usual+`,"port":1}]`)), true)
	if err != nil || summary(named) != "orders a h1:1 UP\n" {
		t.Errorf("prefer_hostname: got %q, %v", summary(named), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing":          "",
		"XML":              "<applications/>",
		"no JSON":          "{",
		"another document": `{"message":"hello"}`,
		"null":             `null`,
		"a list":           `[]`,
		"a text inside":    `{"applications":"none"}`,
		"null inside":      `{"applications":null}`,
		"very deep":        strings.Repeat("[", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := decode([]byte(doc), false); err == nil {
				t.Errorf("got %+v, want an error: it would empty the catalog", a)
			}
		})
	}
}

func TestHash(t *testing.T) { // E5
	a, err := decode([]byte(apps(`[{"instanceId":"a","status":"UP"},{"instanceId":"b","status":"DOWN"},{"instanceId":"c","status":"UP"},{"instanceId":"d","status":"UP"}]`)), false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := newRegistry(a.records).hash(), "DOWN_1_UP_3_"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestApplyIsIdempotent(t *testing.T) { // E5
	read := func(doc string) []record {
		a, err := decode([]byte(apps(doc)), false)
		if err != nil {
			t.Fatal(err)
		}
		return a.records
	}
	g := newRegistry(read(`[{"instanceId":"a","status":"UP"},{"instanceId":"b","status":"UP"}]`))
	changes := read(`[{"instanceId":"a","status":"DOWN","actionType":"MODIFIED"},{"instanceId":"b","actionType":"DELETED"},{"instanceId":"c","status":"UP","actionType":"ADDED"}]`)
	once := g.apply(changes)
	if got := once.hash(); got != "DOWN_1_UP_1_" {
		t.Errorf("got %q", got)
	}
	if twice := once.apply(changes); !reflect.DeepEqual(once, twice) {
		t.Errorf("applied again, it changed: %v, %v", once, twice)
	}
	if g.hash() != "UP_2_" {
		t.Error("the old registry changed")
	}
}

// FuzzDecode: whatever a server says, what comes out can be dialled and looked up.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(apps(`[{"instanceId":"a","ipAddr":"10.0.0.1","status":"UP","port":{"$":8080,"@enabled":"true"}}]`)), true)
	f.Add([]byte(apps(`{"instanceId":7,"hostName":"h","status":{},"port":{"$":"8080","@enabled":true},"securePort":[]}`)), false)
	f.Add([]byte(`{"applications":{"application":[]}}`), false)
	f.Add([]byte(`{"applications":{}}`), false)
	f.Add([]byte(`<applications/>`), false)
	f.Fuzz(func(t *testing.T, doc []byte, preferHostname bool) {
		a, err := decode(doc, preferHostname)
		if err != nil {
			return
		}
		for _, r := range a.records {
			if r.app == "" || r.app != lower(r.app) || r.id == "" {
				t.Errorf("cannot be looked up: %+v", r)
			}
			if _, ok := states[r.status]; !ok {
				t.Errorf("status %q", r.status)
			}
			if r.problem != "" {
				continue
			}
			host, port, err := net.SplitHostPort(r.inst.Address)
			if n, _ := strconv.Atoi(port); err != nil || host == "" || n < 1 || n > 65535 {
				t.Errorf("cannot be dialled: %q", r.inst.Address)
			}
		}
		g := newRegistry(a.records)
		for name, s := range g.services(nil) {
			if name != s.Name || len(s.Instances)+len(s.Problems) == 0 {
				t.Errorf("service %+v", s)
			}
		}
	})
}
