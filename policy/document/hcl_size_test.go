package document

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// FuzzMostTokens: the lexer makes no more tokens of anything than we count.
func FuzzMostTokens(f *testing.F) {
	for _, seed := range []string{"", "a = 1", `a = ["b", "$${c}", "%%{", "${d}"]`, "a = <<E\n x\nE\n", "# c\n// d\n/* e */ f {}", "1a1a", "\"a\nb", `"\u0061\`, "\"\xff\xfe\"", "a\r\n\"\r\"", "\"$\"%$%\"", "/*\"*/\"(((\"", "$${${"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
		if n := mostTokens(text); n < len(tokens) {
			t.Errorf("%q has %d tokens, but at most %d are counted", text, len(tokens), n)
		}
	})
}

func TestDocumentOfTooManyTokens(t *testing.T) {
	for name, text := range map[string]string{
		"brackets": "x = " + strings.Repeat("(", maxTokens),
		"escapes":  `name = "` + strings.Repeat("$${", maxTokens) + `"`,
		"fields":   strings.Repeat("a1=1\n", maxTokens/2),
		"a list":   "x = [" + strings.Repeat("1,", maxTokens) + "1]",
		"heredoc":  "x = <<E\n" + strings.Repeat("${", maxTokens),
	} {
		if _, problems := parseHCL([]byte(text)); len(problems) != 1 || !strings.Contains(problems[0].Text, "too many") {
			t.Errorf("%s: %.300v", name, problems)
		}
	}
	list := "values = [\n" + strings.Repeat("  \"https://one.example.com/a/b?c=d\",\n", 13_000) + "]\n"
	if n := mostTokens([]byte(list)); n > maxTokens {
		t.Errorf("a list of %d bytes counts as %d tokens", len(list), n)
	}
}
