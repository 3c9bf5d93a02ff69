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
	c := newCommand("policy export", "Write the live policy to files", "[-prune] DIR",
		"Writes each document to a file, for people and version control: JSON with a line\n"+
			"for each field, and names of consumers where the store has ids. HCL and lists of\n"+
			"lines stay as somebody wrote them, with their comments. What apply writes of it\n"+
			"means the same, and export writes the same again. Files that are there already\n"+
			"are overwritten, others stay.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	prune := c.flags.Bool("prune", false, "remove files whose object is gone, in the folders of kinds")
	c.run = func() error {
		live, err := livePolicy(&client)
		if err != nil {
			return err
		}
		removed, err := exportAll(c.arg, live, *prune)
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

// exportAll writes documents to a directory, and through no link out of it. With
// prune it then removes the files that stand for none of them, and tells which.
func exportAll(dir string, list []api.Object, prune bool) (removed []string, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	names := namesOf(list)
	written := make(map[string]bool, len(list))
	for i := range list {
		path, err := exportObject(root, &list[i], names)
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

// exportObject writes a document and returns its path below root.
func exportObject(root *os.Root, o *api.Object, names consumerNames) (string, error) {
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok || !filepath.IsLocal(key.Name) || key.Name[0] == '.' || filepath.Base(key.Name) != key.Name || dirstore.IsLeftover(key.Name) {
		return "", fmt.Errorf("%s: its name is no file's name", o.Key)
	}
	text, err := exportText(o, names)
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.Key, err)
	}
	if err := root.MkdirAll(string(key.Kind), 0o750); err != nil {
		return "", err
	}
	path := filepath.Join(string(key.Kind), key.Name)
	return path, root.WriteFile(path, text, 0o600)
}

// exportText is what a file says of a document. One that cannot be read stays as it
// is, for whoever repairs it.
func exportText(o *api.Object, names consumerNames) ([]byte, error) {
	content := contentOf(o)
	switch text := bytes.TrimLeft(o.Value, "\ufeff \t\r\n"); {
	case content == nil, len(text) == 0:
		return o.Value, nil
	case text[0] != '{' && text[0] != '[': // written by hand, with comments perhaps
		return append(bytes.TrimRight(o.Value, "\n"), '\n'), nil
	}
	return document.Text(names.put(content))
}
