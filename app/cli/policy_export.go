package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
	dirstore "lictor/policy/store/dir"
)

func policyExportCommand(stdout io.Writer) *command {
	c := newCommand("policy export", "Write the live policy to files", "[-prune] [-flat] DIR",
		"Writes each document to a file, for people and version control: JSON with a line\n"+
			"for each field, and names of consumers where the store has ids. HCL and lists of\n"+
			"lines stay as somebody wrote them, with their comments, and so does a file in HCL\n"+
			"that says what the store does of an ACL with filters inside. A filter that one ACL\n"+
			"alone uses stands inside of it. What apply writes of it means the same, and\n"+
			"export writes the same again. Files that are there already are overwritten,\n"+
			"others stay.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	prune := c.flags.Bool("prune", false, "remove files whose object is gone, in the folders of kinds")
	flat := c.flags.Bool("flat", false, "a file for each filter, as a directory that is served (store = \"file\") has them")
	c.run = func() error {
		live, err := livePolicy(&client)
		if err != nil {
			return err
		}
		var inside map[string]*policy.Filter
		if !*flat {
			inside = ownedFilters(live)
		}
		removed, err := exportAll(c.arg, live, inside, *prune)
		if err != nil {
			return err
		}
		for _, name := range removed {
			fmt.Fprintf(stdout, "- %s\n", oneLine(name))
		}
		held := ""
		if n := countHeld(live); n > 0 {
			held = fmt.Sprintf(" %d of them the store has lost: they are in force, and apply restores them.", n)
		}
		gone := ""
		if *prune {
			gone = fmt.Sprintf(" Removed %d files of objects that are gone.", len(removed))
		}
		_, err = fmt.Fprintf(stdout, "Wrote %d objects to %s.%s%s\n", len(live), c.arg, held, gone)
		return err
	}
	return c
}

func countHeld(list []api.Object) (held int) {
	for i := range list {
		if list[i].Held {
			held++
		}
	}
	return held
}

// exportAll writes documents to a directory, and through no link out of it; filters of
// inside into their ACLs, and what was their file goes. With prune it then removes the
// files that stand for none of them, and tells which.
func exportAll(dir string, list []api.Object, inside map[string]*policy.Filter, prune bool) (removed []string, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x := exporter{root: root, names: namesOf(list), inside: inside}
	written := make(map[string]bool, len(list))
	for i := range list {
		path, err := x.object(&list[i])
		if err != nil {
			return nil, err
		}
		written[path] = true
	}
	if prune {
		return pruneFiles(root, written)
	}
	return nil, nil
}

// pruneFiles removes the objects of a directory that are not among written.
func pruneFiles(root *os.Root, written map[string]bool) (removed []string, err error) {
	for _, kind := range policy.Kinds {
		entries, err := fs.ReadDir(root.FS(), string(kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		for _, e := range entries {
			path := filepath.Join(string(kind), e.Name())
			if e.IsDir() || written[path] || e.Name()[0] == '.' || dirstore.IsLeftover(e.Name()) {
				continue
			}
			if err := root.Remove(path); err != nil {
				return removed, err
			}
			removed = append(removed, path)
		}
	}
	slices.Sort(removed)
	return removed, nil
}

// exporter writes documents to files.
type exporter struct {
	root   *os.Root
	names  consumerNames
	inside map[string]*policy.Filter // that stand in the files of their ACLs
}

// object writes a document and returns its path below root; "" if it stands in
// another file.
func (x *exporter) object(o *api.Object) (string, error) {
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok || !filepath.IsLocal(key.Name) || key.Name[0] == '.' || filepath.Base(key.Name) != key.Name || dirstore.IsLeftover(key.Name) {
		return "", fmt.Errorf("%s: its name is no file's name", o.Key)
	}
	path := filepath.Join(string(key.Kind), key.Name)
	if key.Kind == policy.KindFilters && x.inside[key.Name] != nil {
		if err := x.root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return "", nil
	}
	if key.Kind == policy.KindACLs && x.stands(key, path, o) {
		return path, nil
	}
	text, err := x.text(o)
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.Key, err)
	}
	if err := x.root.MkdirAll(string(key.Kind), 0o750); err != nil {
		return "", err
	}
	return path, x.root.WriteFile(path, text, 0o600)
}

// stands reports whether the file of an ACL stays as it is: it was written in HCL with
// filters inside of it, perhaps with comments, which the documents in the store have
// not, and says what these do.
func (x *exporter) stands(key policy.Key, path string, o *api.Object) bool {
	text, err := (&policyDir{root: x.root}).readFile(path)
	if err != nil || isJSON(text) {
		return false
	}
	content, inside, err := document.File(key, text)
	live, isACL := contentOf(o).(*policy.ACL)
	if err != nil || !isACL || len(inside) == 0 || !sameText(x.names.put(content), x.names.put(live)) {
		return false
	}
	for _, name := range live.Filters {
		at := slices.IndexFunc(inside, func(f *policy.Filter) bool { return f.Name == name })
		if f := x.inside[name]; (f != nil) != (at >= 0) || f != nil && !sameText(f, inside[at]) {
			return false
		}
	}
	return true
}

func sameText(a, b policy.Object) bool {
	one, err := document.JSON(a)
	other, wrong := document.JSON(b)
	return err == nil && wrong == nil && bytes.Equal(one, other)
}

// text is what a file says of a document. One that cannot be read stays as it is, for
// whoever repairs it.
func (x *exporter) text(o *api.Object) ([]byte, error) {
	content := contentOf(o)
	switch {
	case content == nil, len(bytes.TrimLeft(o.Value, "\ufeff \t\r\n")) == 0:
		return o.Value, nil
	case !isJSON(o.Value): // written by hand, with comments perhaps
		return append(bytes.TrimRight(o.Value, "\n"), '\n'), nil
	}
	named := x.names.put(content)
	if acl, ok := named.(*policy.ACL); ok && slices.ContainsFunc(acl.Filters, func(name string) bool { return x.inside[name] != nil }) {
		return document.FileText(acl, x.inside)
	}
	return document.Text(named)
}
