package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
)

func policyCheckCommand(stdout io.Writer) *command {
	c := newCommand("policy check", "Check a policy kept as files", "[-exit-code] [-explain] [-services LIST] [-admin URL] DIR",
		"Reports every mistake at once, each with its place, and notes what refers to\n"+
			"nothing, can match nothing or makes no difference. Needs no running lictor:\n"+
			"which services there are it knows by -services, or asks by -admin.\n"+policyDirHelp)
	c.takes = "a directory"
	client := adminClient{}
	c.flags.StringVar(&client.address, "admin", "", "`URL` of the admin listener of a lictor that knows the services")
	c.flags.StringVar(&client.token, "token", "", "admin `token`; or set LICTOR_ADMIN_TOKEN")
	services := c.flags.String("services", "", "comma-separated `list` of the services that there are")
	explain := c.flags.Bool("explain", false, "say of each rule in plain words what it does")
	exitCode := c.exitCode("if there is something to note")
	c.run = func() error {
		known, err := knownServices(&client, *services)
		if err != nil {
			return err
		}
		files, leftovers, err := readPolicy(c.arg)
		if err != nil {
			return err
		}
		for _, name := range leftovers {
			fmt.Fprintf(stdout, "Not read, as it looks like a copy that an editor left: %s\n", oneLine(name))
		}
		set, err := compilePolicy(files)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "The policy is valid: %d objects.\n", len(files))
		notes := notesOnFiles(set, files, known)
		for _, n := range notes {
			fmt.Fprintf(stdout, "Note: %s: %s\n", strings.TrimPrefix(n.Path, "policy/"), harmless(n.String()))
		}
		if *explain {
			explainFiles(stdout, files)
		}
		if *exitCode && len(notes) > 0 {
			return errNotWell
		}
		return nil
	}
	return c
}

// knownServices returns what tells whether there is a service; nil if nothing does.
func knownServices(client *adminClient, list string) (func(name string) bool, error) {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if client.address != "" {
		body, err := client.get("/status")
		if err != nil {
			return nil, err
		}
		var status api.Status
		if err := json.Unmarshal(body, &status); err != nil {
			return nil, fmt.Errorf("the answer is no status: %w", err)
		}
		for i := range status.Services {
			names = append(names, status.Services[i].Name)
		}
	} else if list == "" {
		return nil, nil
	}
	return func(name string) bool { return slices.Contains(names, name) }, nil
}

// notesOnFiles tells what in a policy refers to nothing, can match nothing, or makes no
// difference, by key.
func notesOnFiles(set *policy.Set, files []policyFile, known func(string) bool) []policy.Note {
	notes := append(set.Notes(known), policy.Idle(changesOf(files))...)
	slices.SortStableFunc(notes, func(a, b policy.Note) int { return cmp.Compare(a.Path, b.Path) })
	return notes
}

// changesOf reads files into changes for a policy that has nothing yet.
func changesOf(files []policyFile) []policy.Change {
	changes := make([]policy.Change, len(files))
	for i := range files {
		changes[i] = document.Change(files[i].key, uint64(i+1), uint64(i+1), files[i].value)
	}
	return changes
}

// maxWords bounds what is said of one list, which may have thousands of entries.
const maxWords = 50

// explainFiles says what each rule does.
func explainFiles(out io.Writer, files []policyFile) {
	for i := range files {
		words := policy.Words(files[i].content)
		fmt.Fprintf(out, "%s/%s\n", files[i].key.Kind, oneLine(files[i].key.Name))
		for n, sentence := range words {
			if n == maxWords {
				fmt.Fprintf(out, "    and %d entries more\n", len(words)-n)
				break
			}
			fmt.Fprintf(out, "    %s\n", harmless(sentence))
		}
	}
}
