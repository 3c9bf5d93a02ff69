package document

import (
	"fmt"
	"testing"

	"lictor/policy"
)

// TestWhatClosesIsReadBehindAnExpression checks that an ACL closes its API
// wherever the field stands that cannot be read (X6).
func TestWhatClosesIsReadBehindAnExpression(t *testing.T) {
	for _, bad := range []string{
		`upper("x")`, `"${a}"`, "[for a in [1]: a]", "(1)", "1 + 1", "true ? 1 : 2", "a.b", "a[0]", "{(a) = 1}", "!true",
	} {
		for _, format := range []string{"api = \"x\"\ngroups = %s\n", "groups = %s\napi = \"x\"\n"} {
			o, err := Parse(key(policy.KindACLs, "1"), fmt.Appendf(nil, format, bad))
			if a, ok := o.(*policy.ACL); err == nil || !ok || a.API != "x" {
				t.Errorf(format+"gives %+v, %v, want the API and an error", bad, o, err)
			}
		}
	}
}
