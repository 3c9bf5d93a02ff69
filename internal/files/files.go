// Package files reads the files of others, without waiting for anybody, and tells
// whether one is another by now.
package files

import (
	"os"
	"syscall"
	"time"
)

// Stamp tells versions of a file apart, also those whose size and time somebody
// made the same. The zero Stamp is that of a file that cannot be looked at.
type Stamp struct {
	device, inode     uint64
	size              int64
	modified, changed time.Time
}

// StampOf looks at a file, or at what a link leads to.
func StampOf(path string) Stamp {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}
	}
	return StampIn(info)
}

// StampIn is the stamp in what [os.Stat] says of a file.
func StampIn(info os.FileInfo) Stamp {
	s := Stamp{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode, s.changed = uint64(st.Dev), st.Ino, time.Unix(st.Ctim.Unix())
	}
	return s
}

// Stamps are those of several files, by path; a path of "" is no file.
type Stamps map[string]Stamp

// StampsOf looks at files.
func StampsOf(paths ...string) Stamps {
	all := make(Stamps, len(paths))
	for _, path := range paths {
		if path != "" {
			all[path] = StampOf(path)
		}
	}
	return all
}

// Changed reports whether any of the files is another one by now.
func (s Stamps) Changed() bool {
	for path, was := range s {
		if StampOf(path) != was {
			return true
		}
	}
	return false
}
