package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"lictor/admin/api"
	"lictor/internal/crash"
	"lictor/policy"
	dirstore "lictor/policy/store/dir"
)

const policyDirHelp = "DIR has the layout of the store: DIR/<kind>/<name>, one document a file, JSON or\n" +
	"HCL. Names with a dot in front, copies that editors leave (w~, w.bak), and files\n" +
	"beside the kinds are left alone. Links may not lead out of DIR."

// policyCommand stands for the others in the list of commands.
func policyCommand() *command {
	c := newCommand("policy", "Keep the policy as files: check, test, replay, diff, apply, export", "check|test|replay|diff|apply|export DIR",
		"Keeps a policy as files, in git perhaps.\n"+policyDirHelp)
	c.run = func() error {
		return &usageError{errors.New("lictor policy: want check, test, replay, diff, apply or export")}
	}
	return c
}

// compilePolicy puts the files of a directory, and feeds, together as a running lictor
// does.
func compilePolicy(files []policyFile, feeds ...*policy.Feed) (*policy.Set, error) {
	builder := policy.NewBuilder(policy.Options{Panicked: func(value any) { crash.Tell("policy", value) }})
	builder.SetFeeds(feeds)
	set, rejections := builder.Apply(0, changesOf(files))
	paths := make(map[policy.Key]string, len(files))
	for i := range files {
		paths[files[i].key] = files[i].path
	}
	var wrong []error
	for _, r := range rejections {
		wrong = append(wrong, fmt.Errorf("%s: %w", paths[r.Key], r.Problems))
	}
	return set, errors.Join(wrong...)
}

// policyFile is a document of a policy kept as files, as the store has it.
type policyFile struct {
	key     policy.Key
	path    string // of the file that it stands in
	inside  bool   // a filter that stands inside of its ACL
	value   []byte
	content policy.Object
}

// maxPolicy bounds what a directory may hold: it is read into memory.
const maxPolicy = 512 << 20

// policyDir is a directory that is being read. It may be anybody's: it says
// nothing of what lies outside of it, and waits for nothing.
type policyDir struct {
	root      *os.Root
	dir       string
	files     []policyFile
	leftovers []string
	size      int64
}

// readPolicy reads a directory. All mistakes are told at once.
func readPolicy(dir string) (files []policyFile, leftovers []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	defer root.Close()
	d := &policyDir{root: root, dir: dir}
	names, err := d.list(".")
	wrong := []error{err}
	for _, name := range names {
		info, err := root.Stat(name)
		kind := policy.Kind(name)
		switch {
		case err != nil:
			wrong = append(wrong, d.unreadable(name, err))
		case !info.IsDir(), name == dirstore.CasesFolder:
		case !kind.Valid():
			wrong = append(wrong, fmt.Errorf("%s: not one of the kinds %v", filepath.Join(dir, name), policy.Kinds))
		default:
			wrong = append(wrong, d.readKind(kind))
		}
	}
	wrong = append(wrong, d.twice()...)
	if err := errors.Join(wrong...); err != nil {
		return nil, nil, &usageError{err}
	}
	return d.files, d.leftovers, nil
}

// list returns the names in a folder that may mean something.
func (d *policyDir) list(folder string) (names []string, err error) {
	entries, err := fs.ReadDir(d.root.FS(), folder)
	if err != nil {
		return nil, d.unreadable(folder, err)
	}
	for _, e := range entries {
		switch {
		case e.Name()[0] == '.':
		case dirstore.IsLeftover(e.Name()) && !e.IsDir():
			d.leftovers = append(d.leftovers, filepath.Join(folder, e.Name()))
		default:
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d *policyDir) readKind(kind policy.Kind) error {
	names, err := d.list(string(kind))
	wrong := []error{err}
	for _, name := range names {
		rel := filepath.Join(string(kind), name)
		f := policyFile{key: policy.Key{Kind: kind, Name: name}, path: filepath.Join(d.dir, rel)}
		if f.value, err = d.readFile(rel); err != nil {
			wrong = append(wrong, d.unreadable(rel, err))
			continue
		}
		all, err := unfolded(f)
		wrong = append(wrong, placed(f.path, err)...)
		d.files = append(d.files, all...)
	}
	return errors.Join(wrong...)
}

// readFile reads a regular file, which a link inside the directory may lead to.
func (d *policyDir) readFile(rel string) ([]byte, error) {
	info, err := d.root.Stat(rel)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory, want a file for each object")
	case !info.Mode().IsRegular():
		return nil, errors.New("is no regular file")
	}
	f, err := d.root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("is no regular file"))
	}
	value, err := io.ReadAll(io.LimitReader(f, dirstore.MaxFile+1))
	d.size += int64(len(value))
	switch {
	case err != nil:
		return nil, err
	case len(value) > dirstore.MaxFile:
		return nil, fmt.Errorf("is larger than %d bytes", dirstore.MaxFile)
	case d.size > maxPolicy:
		return nil, fmt.Errorf("all files together are larger than %d bytes", maxPolicy)
	}
	return value, nil
}

// unreadable says of a path that it cannot be read, and why.
func (d *policyDir) unreadable(rel string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
		if info, lerr := d.root.Lstat(rel); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = fmt.Errorf("is a link that leads nowhere, or out of the directory: %w", err)
		}
	}
	return fmt.Errorf("%s: %w", filepath.Join(d.dir, rel), err)
}

// placed gives the problems of a document the place of its file; none if err is nil.
func placed(path string, err error) []error {
	if err == nil {
		return nil
	}
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
func livePolicy(client *adminClient) ([]api.Object, error) {
	list, err := liveList(client)
	if err != nil {
		return nil, err
	}
	return list.Objects, nil
}

// liveList returns the same with what else they mean something by. The running
// lictor has looked at its store for it.
func liveList(client *adminClient) (*api.List, error) {
	body, err := client.get("/policy/objects?fresh")
	if err != nil {
		return nil, err
	}
	var list api.List
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("the answer is no policy: %w", err)
	}
	slices.SortFunc(list.Objects, func(a, b api.Object) int { return cmp.Compare(a.Key, b.Key) })
	return &list, nil
}
