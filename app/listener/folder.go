package listener

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// How many certificates of a directory are used, and how many names in it are
// looked at: three files for each certificate, and some that are none of ours. A
// test has fewer.
var maxPairs, maxNames = 1000, 4000

// listFolder returns the names of the files in a directory that may be of a
// certificate, sorted. Hidden ones are left out, as those by which Kubernetes
// replaces all files at one stroke.
func listFolder(dir string) ([]string, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0) // a pipe in its place would wait for its writer
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxNames + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > maxNames {
		return nil, fmt.Errorf("%s has more than %d files", dir, maxNames)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".") || !slices.Contains([]string{".crt", ".pem", ".key"}, filepath.Ext(name))
	})
	slices.Sort(names)
	return names, nil
}

// pairs returns the pairs among the names of a directory's files: NAME.crt or
// NAME.pem with the key in NAME.key, or in NAME.pem itself. A key alone is one
// whose certificate is away, while somebody replaces it: the one that was known.
func pairs(dir string, names []string, known func(certFile string) bool) (all []Pair) {
	there := func(name string) bool { _, found := slices.BinarySearch(names, name); return found }
	for _, name := range names {
		ext := filepath.Ext(name)
		stem := strings.TrimSuffix(name, ext)
		p := Pair{CertFile: filepath.Join(dir, name), KeyFile: filepath.Join(dir, stem+".key")}
		switch {
		case ext == ".pem" && !there(stem+".key"):
			p.KeyFile = p.CertFile
		case ext == ".key" && (there(stem+".crt") || there(stem+".pem")):
			continue
		case ext == ".key":
			if p.CertFile = filepath.Join(dir, stem+".pem"); !known(p.CertFile) {
				p.CertFile = filepath.Join(dir, stem+".crt")
			}
		}
		all = append(all, p)
	}
	return all
}
