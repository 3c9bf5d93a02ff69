package admin

import (
	"strings"

	"lictor/policy"
)

// Warnings returns the texts for the warnings of an answer: the object is written as
// it was sent, and something in it has no effect.
func Warnings(problems policy.Problems) (texts []string) {
	for _, p := range problems {
		texts = append(texts, strings.TrimSpace(p.Field+" "+p.Text))
	}
	return texts
}
