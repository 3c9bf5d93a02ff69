package document

import (
	"fmt"

	"lictor/policy"
)

// Check returns what is wrong with the value of a key, nil if nothing is. Unlike
// Parse it looks at each entry of a list as well, which the policy leaves out alone
// if it is wrong. An error is of the type [policy.Problems].
func Check(key policy.Key, value []byte) error {
	content, err := Parse(key, value)
	if err != nil {
		return err
	}
	list, ok := content.(*policy.List)
	if !ok {
		return nil
	}
	var wrong policy.Problems
	for i, entry := range list.Entries {
		if err := policy.CheckEntry(entry); err != nil {
			p := policy.Problem{Field: fmt.Sprintf("entries[%d]", i), Text: err.Error()}
			if i < len(list.Lines) {
				p.Line = list.Lines[i]
			}
			wrong = append(wrong, p)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}
