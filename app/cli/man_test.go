package cli

import (
	"flag"
	"io"
	"strings"
	"testing"
)

func TestManualHasEveryCommandAndFlag(t *testing.T) {
	var page strings.Builder
	if err := printManual(&page); err != nil {
		t.Fatal(err)
	}
	for _, c := range all(io.Discard) {
		_, section, ok := strings.Cut(page.String(), strings.TrimSpace("\n.SS lictor "+c.name+" "+roff(c.usage))+"\n")
		if !ok {
			t.Errorf("%s is not in it", c.name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n.S")
		c.flags.VisitAll(func(f *flag.Flag) {
			if !strings.Contains(section, `\fB\-`+roff(f.Name)+`\fR`) {
				t.Errorf("%s -%s is not in it", c.name, f.Name)
			}
		})
	}
}

func TestTextForManMeansItself(t *testing.T) {
	for text, want := range map[string]string{
		"plain":         "plain",
		"-a":            `\-a`,
		`a\fBb`:         `a\efBb`,
		".SH x":         `\&.SH x`,
		"a\n.TP\n'b\nc": "a\n\\&.TP\n\\&'b\nc",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
