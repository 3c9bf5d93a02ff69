package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tree is what a directory shows at a moment. Links are followed, to files and
// to folders, wherever they lead.
type tree struct {
	files   map[string]bool     // keys of the files that may be documents
	folders map[string]folderID // the folders that could be listed, "." being the directory itself
	broken  map[string]error    // keys and folders that are there but cannot be looked at
	ignored []string            // files that an editor or a package manager left
	links   map[string]bool     // paths of the links on the way to the folders and files, and of what they lead to
	ways    map[folderID]int    // in how many ways a folder was reached
}

// folderID tells a folder from another one that takes its place: a volume that
// is mounted over it, what a link leads to now, one that was made anew.
// The time of its birth counts because inodes are used again.
type folderID struct {
	device, inode uint64
	born          unix.StatxTimestamp
}

const (
	maxDepth = 16 // of folders in folders
	maxLinks = 40 // on the way to one file, as the kernel has it
	maxWays  = 64 // to one folder: links of folders to folders would make them more with each
)

// lookAt looks at everything in a directory. It fails if the directory itself
// cannot be listed; whatever else cannot be is in broken.
func lookAt(dir string) (*tree, error) {
	t := &tree{files: map[string]bool{}, folders: map[string]folderID{}, broken: map[string]error{}, links: map[string]bool{}, ways: map[folderID]int{}}
	if err := t.folder(dir, ".", nil); err != nil {
		return nil, err
	}
	return t, nil
}

// CasesFolder is the folder of a directory that holds what lictor policy test
// tries (R4). It is no part of the policy.
const CasesFolder = "tests"

// folder lists one folder. above are those in which it lies.
func (t *tree) folder(dir, rel string, above []folderID) error {
	path := filepath.Join(dir, rel)
	if err := t.follow(path); err != nil {
		return err
	}
	id, err := folderAt(path)
	if err != nil {
		return err
	}
	for _, outer := range above {
		if outer == id {
			return errors.New("leads back to a folder above it")
		}
	}
	if len(above) > maxDepth {
		return fmt.Errorf("lies in more than %d folders", maxDepth)
	}
	if t.ways[id]++; t.ways[id] > maxWays {
		return fmt.Errorf("is reached in more than %d ways, by links", maxWays)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	t.folders[rel] = id
	for _, e := range entries {
		if e.Name()[0] != '.' && filepath.Join(rel, e.Name()) != CasesFolder {
			t.entry(dir, filepath.Join(rel, e.Name()), append(above, id))
		}
	}
	return nil
}

// entry looks at what a folder has.
func (t *tree) entry(dir, rel string, above []folderID) {
	path := filepath.Join(dir, rel)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return // gone since the folder was listed
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if err = t.follow(path); err == nil {
			info, err = os.Stat(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("is a link that leads nowhere")
		}
	}
	switch {
	case err == nil && info.IsDir():
		err = t.folder(dir, rel, above)
	case IsLeftover(filepath.Base(rel)):
		t.ignored = append(t.ignored, rel)
		return
	case err == nil && info.Mode().IsRegular():
		t.files[rel] = true
	case err == nil:
		err = errors.New("is neither a file nor a folder")
	}
	if err != nil {
		t.broken[rel] = withoutPath(err)
	}
}

// follow notes the links on the way to path, and where they lead: when one of
// them is turned, what lies behind it is another.
func (t *tree) follow(path string) error {
	target, links, err := resolve(path)
	for _, link := range links {
		t.links[link] = true
	}
	if len(links) > 0 && err == nil {
		t.links[target] = true
	}
	return err
}

// isBroken returns why a key cannot be looked at, and where that lies: itself, or
// a folder above it.
func (t *tree) isBroken(key string) (at string, why error) {
	for at = key; at != "."; at = filepath.Dir(at) {
		if why = t.broken[at]; why != nil {
			return at, why
		}
		if at != key && t.files[at] { // that is not how one deletes
			return at, errors.New("is a file in the place of a folder")
		}
	}
	if _, isFolder := t.folders[key]; isFolder {
		return key, errors.New("is a folder in the place of a file")
	}
	return "", nil
}

// folderAt returns which folder path leads to.
func folderAt(path string) (folderID, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME|unix.STATX_TYPE, &st); err != nil {
		return folderID{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return folderID{}, syscall.ENOTDIR
	}
	id := folderID{device: unix.Mkdev(st.Dev_major, st.Dev_minor), inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.born = st.Btime
	}
	return id, nil
}

// resolve follows the links of path and returns where it leads, whether or not
// something is there, and the links on the way.
func resolve(path string) (target string, links []string, err error) {
	rest := parts(path)
	at := "/"
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return filepath.Join(append([]string{next}, rest...)...), links, nil
		case err != nil:
			return "", links, err
		case info.Mode()&fs.ModeSymlink == 0:
			at = next
			continue
		}
		if links = append(links, next); len(links) > maxLinks {
			return "", links, syscall.ELOOP
		}
		to, err := os.Readlink(next)
		if err != nil {
			return "", links, err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(parts(to), rest...)
	}
	return at, links, nil
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// withoutPath is an error of the file system without the path, which the
// caller tells in its own way, so that the same fault always has the same text.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
