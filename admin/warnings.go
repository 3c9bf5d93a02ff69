package admin

import (
	"strings"

	"lictor/policy"
)

// Warnings are what an answer tells of an object that is written as it was sent
// and does not do what it seems to.
func Warnings(problems policy.Problems) (texts []string) {
	for _, p := range problems {
		texts = append(texts, strings.TrimSpace(p.Field+" "+p.Text))
	}
	return texts
}
