package objects

import (
	"testing"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// FuzzDecode looks for transactions that crash the decoder, or that it lets
// pass with a document that is not valid.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"operations":[{"op":"put","key":"acls/a","value":"eyJhcGkiOiJ4IiwiZ3JvdXBzIjpbImciXX0=","absent":true}]}`,
		`{"operations":[{"op":"delete","key":"blacklist/b","index":7},{"op":"verify","key":"groups/g","index":1}]}`,
		`{"operations":[{"op":"put","key":"blacklist/b","value":"MTAuMC4wLjEK"}]}`, `{"operations":null}`, `{}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		transaction, err := decode(body)
		if err != nil {
			return
		}
		ops, err := operations(transaction)
		if err != nil {
			return
		}
		for _, op := range ops {
			key := policy.Key{Kind: policy.Kind(op.Kind), Name: op.Name}
			if !key.Kind.Valid() || key.Name == "" {
				t.Errorf("%q passes with the key %v", body, key)
			}
			if _, err := document.Parse(key, op.Value); op.Verb == store.Put && err != nil {
				t.Errorf("%q passes with a document that is not valid: %v", body, err)
			}
		}
	})
}
