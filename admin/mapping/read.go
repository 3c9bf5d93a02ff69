package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"lictor/admin"
	"lictor/internal/uri"
	"lictor/policy"
)

// read reads the body of a request, which is JSON whatever its type says (B2),
// and checks it (B13).
func read(r *http.Request) (Form, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return Form{}, err
	}
	return decode(bytes.TrimPrefix(body, admin.BOM))
}

// decode reads a mapping. Unknown fields are ignored, so that what a later version
// answered can be sent back (B13).
func decode(body []byte) (f Form, err error) {
	var raw map[string]json.RawMessage // not a struct, which takes names in any case
	if json.Unmarshal(body, &raw) != nil || raw == nil {
		return f, admin.Invalid("", "Cannot parse JSON body, want an object with domain and backends")
	}
	wrong := func(field, text string) error {
		return admin.Invalid(field, field+" "+text)
	}
	if json.Unmarshal(raw["domain"], &f.Domain) != nil || f.Domain == "" {
		return f, wrong("domain", "is missing, want a string")
	}
	if f.Domain, err = uri.ParseDomain(f.Domain); err != nil {
		return f, admin.Invalid("domain", "domain: "+err.Error())
	}
	var backends []*string
	if json.Unmarshal(raw["backends"], &backends) != nil || len(backends) == 0 {
		return f, wrong("backends", "is missing, want a list with at least one http or https URL, or service:NAME")
	}
	for i, b := range backends {
		field := fmt.Sprintf("backends[%d]", i)
		if b == nil {
			return f, wrong(field, "is null, want a URL or service:NAME")
		}
		if err := policy.CheckBackend(*b, len(backends)); err != nil {
			return f, admin.Invalid(field, field+": "+err.Error())
		}
		if !slices.Contains(f.Backends, *b) {
			f.Backends = append(f.Backends, *b)
		}
	}
	return f, nil
}
