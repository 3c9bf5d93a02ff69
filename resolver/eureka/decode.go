package eureka

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"lictor/resolver"
)

// document is an answer to /apps and /apps/delta. Servers spell it in many
// ways (E6), so its types take what they can and leave out the rest; fields
// that are not needed are not even looked at.
type document struct {
	Applications *applications `json:"applications"`
}

type applications struct {
	Hash         text              `json:"apps__hashcode"`
	Applications list[application] `json:"application"`
}

type application struct {
	Name      text           `json:"name"`
	Instances list[instance] `json:"instance"`
}

type instance struct {
	ID         text `json:"instanceId"`
	App        text `json:"app"`
	HostName   text `json:"hostName"`
	IP         text `json:"ipAddr"`
	Status     text `json:"status"`
	Port       port `json:"port"`
	SecurePort port `json:"securePort"`
	Action     text `json:"actionType"`
}

// text is a string, or a number or boolean as it is spelt; of all else, "".
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case len(b) > 0 && b[0] == '"':
		if json.Unmarshal(b, &s) == nil {
			*t = text(s)
		}
	case bytes.Equal(b, []byte("null")), len(b) > 0 && (b[0] == '{' || b[0] == '['):
		*t = ""
	default:
		*t = text(b)
	}
	return nil
}

// port is {"$":8080,"@enabled":"true"}, with or without the quotes, or a bare number.
type port struct {
	Number  int    // 0 = none
	Enabled string // "true", "false", "" if nothing is said
}

// UnmarshalJSON never fails.
func (p *port) UnmarshalJSON(b []byte) error {
	*p = port{}
	var object struct {
		Number  text `json:"$"`
		Enabled text `json:"@enabled"`
	}
	if len(b) > 0 && b[0] == '{' {
		if json.Unmarshal(b, &object) != nil {
			return nil
		}
	} else {
		_ = object.Number.UnmarshalJSON(b) // never fails
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(object.Number)), 10, 16)
	if err == nil {
		p.Number, p.Enabled = int(n), strings.ToLower(string(object.Enabled))
	}
	return nil
}

// list is an array, or its only element without the brackets. An element that
// makes no sense is left out and counted.
type list[T any] struct {
	items []T
	bad   int
}

// UnmarshalJSON never fails.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = list[T]{}
	var raw []json.RawMessage
	switch {
	case len(b) > 0 && b[0] == '[':
		if json.Unmarshal(b, &raw) != nil {
			l.bad++
		}
	case len(b) > 0 && b[0] == '{':
		raw = []json.RawMessage{b}
	case bytes.Equal(b, []byte("null")), bytes.Equal(b, []byte(`""`)):
	default:
		l.bad++
	}
	for _, element := range raw {
		var item T
		if len(element) == 0 || element[0] != '{' || json.Unmarshal(element, &item) != nil {
			l.bad++
			continue
		}
		l.items = append(l.items, item)
	}
	return nil
}

// answer is what was read of a document.
type answer struct {
	records []record
	hash    string // as the server counts, "" if it does not
	bad     int    // parts that made no sense and were left out
}

// key tells instances apart.
type key struct{ app, id string }

// record is an instance as the server tells of it.
type record struct {
	key
	status  string // one of the five of E4
	deleted bool   // in a delta: it is gone
	inst    resolver.Instance
	problem string // why inst cannot be used
}

// decode reads an answer. It fails only if nothing of it can be believed.
func decode(b []byte, preferHostname bool) (answer, error) {
	var doc document
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && trimmed[0] == '<' {
		return answer{}, errors.New("the answer is XML, not JSON")
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return answer{}, fmt.Errorf("the answer is not what Eureka says: %w", err)
	}
	if doc.Applications == nil {
		return answer{}, errors.New("the answer has no applications")
	}
	out := answer{hash: string(doc.Applications.Hash), bad: doc.Applications.Applications.bad}
	for _, app := range doc.Applications.Applications.items {
		out.bad += app.Instances.bad
		for i := range app.Instances.items {
			r := app.Instances.items[i].record(string(app.Name), preferHostname)
			if r.app == "" {
				out.bad++
				continue
			}
			out.records = append(out.records, r)
		}
	}
	return out, nil
}

// record makes a record of i, which stands in the application called app.
func (i *instance) record(app string, preferHostname bool) record {
	r := record{key: key{app: lower(cmp.Or(app, string(i.App)))}, status: status(string(i.Status)), deleted: strings.EqualFold(string(i.Action), "DELETED")}
	host, other := string(i.IP), string(i.HostName)
	if preferHostname {
		host, other = other, host
	}
	host = cmp.Or(host, other)
	number, secure := i.Port.Number, false
	if number == 0 || i.Port.Enabled == "false" {
		number, secure = i.SecurePort.Number, true
		if i.SecurePort.Enabled != "true" {
			number = 0
		}
	}
	address, why := resolver.JoinAddress(host, number)
	if number == 0 {
		why = "no port is enabled"
	}
	r.id = string(i.ID)
	if r.id == "" {
		r.id = net.JoinHostPort(host, strconv.Itoa(number))
	}
	if why != "" {
		r.problem = fmt.Sprintf("instance %.100q: %s", r.id, why)
	}
	r.inst = resolver.Instance{ID: r.id, Address: address, TLS: secure, Weight: 1, State: states[r.status]}
	if r.inst.State != resolver.Passing {
		r.inst.Note = r.status
	}
	return r
}

// states are what the statuses of E4 mean here.
var states = map[string]resolver.State{
	"UP":             resolver.Passing,
	"DOWN":           resolver.Critical,
	"STARTING":       resolver.Critical,
	"OUT_OF_SERVICE": resolver.Maintenance,
	"UNKNOWN":        resolver.Unknown,
}

// status returns one of the five statuses; any other text is UNKNOWN.
func status(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if _, ok := states[s]; ok {
		return s
	}
	return "UNKNOWN"
}

// lower is the one spelling of names, as a folded catalog wants it.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
