package mapping

import (
	"encoding/json"
	"reflect"
	"testing"

	"lictor/policy"
)

// FuzzDecode looks for bodies that crash the decoder, or that it lets pass
// although the policy would not, or that change when they are put back (B13).
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"domain":"something.wmflabs.org","backends":["http://instance-01:3000","http://instance-02:4000"]}`,
		`{"domain":"*.A.b.","backends":["http://h","http://h"],"more":{}}`, `{"domain":"a.b","backends":[null]}`,
		`{"domain":"a.b","backends":["http://[::1]:8/p%2F"]}`, `null`, `{"domain":"","backends":[]}`, `{"domain":"ä.b","backends":["http://ä"]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		form, err := decode(body)
		if err != nil {
			return
		}
		m := &policy.Mapping{Domain: form.Domain, Backends: form.Backends}
		if wrong := policy.Check(form.Domain, m); wrong != nil {
			t.Errorf("%q passes as %+v, which is not valid: %v", body, form, wrong)
		}
		text, err := json.Marshal(form)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decode(text); err != nil || !reflect.DeepEqual(again, form) {
			t.Errorf("%q becomes %+v %v, want %+v", text, again, err, form)
		}
	})
}
