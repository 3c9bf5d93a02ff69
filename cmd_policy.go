package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"lictor/admin/objects"
	"lictor/policy"
	"lictor/policy/document"
)

const policyDirHelp = "DIR has the layout of the store: DIR/<kind>/<name>, one document a file, JSON or\n" +
	"HCL. Names with a dot in front, and files beside the kinds, are left alone."

// policyCommand stands for the others in the list of commands.
func policyCommand() *command {
	c := newCommand("policy", "Keep the policy as files: check, diff, apply, export", "check|diff|apply|export DIR",
		"Keeps a policy as files, in git perhaps.\n"+policyDirHelp)
	c.run = func() error { return &usageError{errors.New("lictor policy: want check, diff, apply or export")} }
	return c
}

func policyCheckCommand(stdout io.Writer) *command {
	c := newCommand("policy check", "Check a policy kept as files", "DIR",
		"Reports every mistake at once, each with its place. Needs no running lictor.\n"+policyDirHelp)
	c.takes = "a directory"
	c.run = func() error {
		files, err := readPolicy(c.arg)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "The policy is valid: %d objects.\n", len(files))
		return err
	}
	return c
}

func policyDiffCommand(stdout io.Writer) *command {
	c := newCommand("policy diff", "Compare a policy kept as files with what is live", "DIR",
		"Says what apply -prune would do. What means the same is no difference, however\nit is written.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	c.run = func() error {
		plan, err := planApply(&client, c.arg, true)
		if err != nil {
			return err
		}
		return plan.printDiff(stdout)
	}
	return c
}

func policyApplyCommand(stdout io.Writer) *command {
	c := newCommand("policy apply", "Write a policy kept as files to the store", "[-dry-run] [-prune] DIR",
		"Writes what is new or different. Each transaction of up to 64 operations is done\n"+
			"whole, and only if nothing of it was changed in the meantime; else nothing of it\n"+
			"is done. Of several, those that close come before those that open.\n\n"+
			"Nothing is deleted: a file that is not there is no order to delete, and lictor\n"+
			"keeps no record of who made an object. With -prune, objects of the kinds that\n"+
			"DIR has a folder for are deleted if they have no file.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	dry := c.flags.Bool("dry-run", false, "say what would be done, and do nothing")
	prune := c.flags.Bool("prune", false, "delete objects that have no file, of the kinds that DIR has")
	c.run = func() error {
		plan, err := planApply(&client, c.arg, *prune)
		if err != nil {
			return err
		}
		return plan.apply(&client, stdout, *dry)
	}
	return c
}

func policyExportCommand(stdout io.Writer) *command {
	c := newCommand("policy export", "Write the live policy to files", "DIR",
		"Writes each document as it stands in the store. Files that are there already are\n"+
			"overwritten, others stay.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	c.run = func() error {
		live, err := livePolicy(&client)
		if err != nil {
			return err
		}
		for _, o := range live {
			if err := exportObject(c.arg, &o); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(stdout, "Wrote %d objects to %s.\n", len(live), c.arg)
		return err
	}
	return c
}

func exportObject(dir string, o *objects.Object) error {
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok || !filepath.IsLocal(key.Name) || key.Name[0] == '.' || filepath.Base(key.Name) != key.Name {
		return fmt.Errorf("%s: its name is no file's name", o.Key)
	}
	folder := filepath.Join(dir, string(key.Kind))
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, key.Name), o.Value, 0o600)
}

// policyFile is a document of a policy kept as files.
type policyFile struct {
	key     policy.Key
	path    string
	value   []byte
	content policy.Object
}

// readPolicy reads a directory. All mistakes are told at once.
func readPolicy(dir string) ([]policyFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, &usageError{err}
	}
	var files []policyFile
	var wrong []error
	for _, e := range entries {
		if !e.IsDir() || e.Name()[0] == '.' {
			continue
		}
		folder := filepath.Join(dir, e.Name())
		if kind := policy.Kind(e.Name()); !kind.Valid() {
			wrong = append(wrong, fmt.Errorf("%s: not one of the kinds %v", folder, policy.Kinds))
			continue
		}
		more, err := readKind(folder, policy.Kind(e.Name()))
		files = append(files, more...)
		wrong = append(wrong, err)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, &usageError{err}
	}
	return files, nil
}

func readKind(folder string, kind policy.Kind) ([]policyFile, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []policyFile
	var wrong []error
	for _, e := range entries {
		f := policyFile{key: policy.Key{Kind: kind, Name: e.Name()}, path: filepath.Join(folder, e.Name())}
		switch {
		case e.Name()[0] == '.':
			continue
		case e.IsDir():
			wrong = append(wrong, fmt.Errorf("%s: is a directory, want a file for each object", f.path))
			continue
		}
		if f.value, err = os.ReadFile(f.path); err != nil {
			wrong = append(wrong, err)
			continue
		}
		if err := objects.Check(f.key, f.value); err != nil {
			wrong = append(wrong, placed(f.path, err)...)
			continue
		}
		f.content, _ = document.Parse(f.key, f.value) // Check did as well
		files = append(files, f)
	}
	return files, errors.Join(wrong...)
}

// placed gives the problems of a document the place of its file.
func placed(path string, err error) []error {
	problems, ok := errors.AsType[policy.Problems](err)
	if !ok {
		return []error{fmt.Errorf("%s: %w", path, err)}
	}
	all := make([]error, len(problems))
	for i, p := range problems {
		text := p.Text
		if p.Field != "" {
			text = p.Field + ": " + text
		}
		all[i] = fmt.Errorf("%s:%d: %s", path, max(p.Line, 1), text)
	}
	return all
}

// livePolicy returns the documents of a running lictor, by key.
func livePolicy(client *adminClient) ([]objects.Object, error) {
	body, err := client.get("/policy/objects")
	if err != nil {
		return nil, err
	}
	var list objects.List
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("the answer is no policy: %w", err)
	}
	slices.SortFunc(list.Objects, func(a, b objects.Object) int { return cmp.Compare(a.Key, b.Key) })
	return list.Objects, nil
}
