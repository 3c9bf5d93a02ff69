package dir

import (
	"strings"
)

// leftovers are the ends of names that editors and package managers give to
// copies they leave beside a file: Emacs, Vim, nano, patch, merge tools, dpkg, rpm.
var leftovers = []string{
	"~", "#", ".bak", ".swp", ".swo", ".swn", ".swx", ".orig", ".rej", ".tmp", ".old", ".save",
	".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".ucf-old", ".ucf-new", ".ucf-dist",
	".rpmsave", ".rpmnew", ".rpmorig", "___jb_tmp___", "___jb_old___", ".kate-swp",
}

// IsLeftover reports whether a file of this name in a folder is what an editor
// or a package manager left there, rather than a document that somebody means:
// a copy of a former list must not stay in force beside the new one.
func IsLeftover(name string) bool {
	for _, end := range leftovers {
		if len(name) >= len(end) && strings.EqualFold(name[len(name)-len(end):], end) {
			return true
		}
	}
	return strings.HasPrefix(name, "#") || isVimProbe(name)
}

// isVimProbe knows the files with which Vim tries whether it may write to a
// folder: 4913, and 123 more each time that name is taken.
func isVimProbe(name string) bool {
	switch name {
	case "4913", "5036", "5159", "5282", "5405":
		return true
	}
	return false
}
