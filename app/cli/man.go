package cli

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"lictor/internal/version"
)

func manCommand(stdout io.Writer) *command {
	c := newCommand("man", "Print the manual page", "",
		"Prints the manual page, in the form that man reads:\nlictor man >/usr/local/share/man/man1/lictor.1")
	c.run = func() error { return printManual(stdout) }
	return c
}

// printManual writes the help of every command as one page (groff_man(7)).
func printManual(out io.Writer) error {
	var page strings.Builder
	fmt.Fprintf(&page, ".TH LICTOR 1 \"\" \"lictor %s\"\n", roff(version.Number))
	page.WriteString(".SH NAME\nlictor \\- an HTTP gateway for services in Consul\n" +
		".SH SYNOPSIS\n.B lictor\n.I command\n.RI [ arguments ]\n.SH COMMANDS\n")
	for _, c := range all(io.Discard) {
		fmt.Fprintf(&page, ".SS %s\n%s.\n", roff(strings.TrimSpace("lictor "+c.name+" "+c.usage)), roff(c.synopsis))
		for paragraph := range strings.SplitSeq(c.help, "\n\n") {
			fmt.Fprintf(&page, ".PP\n%s\n", roff(paragraph))
		}
		c.flags.VisitAll(func(f *flag.Flag) { page.WriteString(manualFlag(f)) })
	}
	page.WriteString(".SH ENVIRONMENT\n" +
		".TP\n.B LICTOR_ADMIN_ADDR\nURL of the admin listener, where \\-admin is not given.\n" +
		".TP\n.B LICTOR_ADMIN_TOKEN\nAdmin token, where \\-token is not given.\n" +
		".SH EXIT STATUS\n0: done. 1: failed, or what \\-exit\\-code asks about is so. 2: the command line or the configuration is wrong.\n")
	_, err := io.WriteString(out, page.String())
	return err
}

func manualFlag(f *flag.Flag) string {
	name, usage := flag.UnquoteUsage(f)
	text := "\\fB\\-" + roff(f.Name) + "\\fR"
	if name != "" {
		text += " \\fI" + roff(name) + "\\fR"
	}
	if f.DefValue != "" && f.DefValue != "false" {
		usage += " (default " + f.DefValue + ")"
	}
	return ".TP\n" + text + "\n" + roff(usage) + "\n"
}

// roff makes text of s that means itself: dashes that can be copied, no escapes,
// and no line that would be taken for a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
