// Package geoip looks up the country of an address in an .mmdb file (F1), which
// is read again when it changes.
package geoip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oschwald/maxminddb-golang/v2"

	"lictor/internal/crash"
	"lictor/internal/files"
	"lictor/internal/pace"
	"lictor/policy"
)

// Reader is a data base of countries. It implements policy.Locator.
type Reader struct {
	path    string
	log     hclog.Logger
	current atomic.Pointer[database]
	problem atomic.Pointer[string] // see Problem; never nil

	seen files.Stamp // of the version that was looked at last
	flaw error       // what is wrong with that one
}

// database is one version of the file.
type database struct {
	reader  *maxminddb.Reader
	mu      sync.Mutex                         // serialises writers of records
	records atomic.Pointer[map[uintptr]string] // country by record: they are few, and strings are not made twice
}

// maxFile is the most bytes of a data base.
const maxFile = 2 << 30

// Open reads the data base at path.
func Open(path string, log hclog.Logger) (*Reader, error) {
	r := &Reader{path: path, log: log}
	r.problem.Store(new(string))
	if err := r.look(); err != nil {
		return nil, fmt.Errorf("geoip: %w", err)
	}
	return r, nil
}

// look reads the file if it is another one than that which was looked at last. The
// error is what is wrong with the file as it is now: one that cannot be read may be
// readable the next time without having changed.
func (r *Reader) look() error {
	now := files.StampOf(r.path) // before it is read: what is written meanwhile is another version
	if now == r.seen && now != (files.Stamp{}) {
		return r.flaw
	}
	// Read, not mapped: a file that is written over in place must not change
	// under a look-up, and an old version goes when nobody uses it.
	data, err := files.Read(r.path, maxFile)
	if err != nil {
		return err
	}
	r.seen, r.flaw = now, r.use(data)
	return r.flaw
}

// use puts a version of the file in force, unless something is wrong with it.
func (r *Reader) use(data []byte) (err error) {
	defer crash.Contain("geoip", func() { err = errors.New("the data base is broken") })
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return err
	}
	if err := verify(reader); err != nil {
		return err
	}
	db := &database{reader: reader}
	db.records.Store(&map[uintptr]string{})
	r.current.Store(db)
	r.log.Info("geoip data base read", "path", r.path, "built", reader.Metadata.BuildTime())
	return nil
}

// verify goes through the tree and the countries in it. The end of a file, which
// is all that opening it looks at, may be whole and its tree broken: whoever is
// looked up there would have no country, and rules that deny by it would open. So
// they would with a data base of something else, in which nobody has a country.
// The reader's own check is stricter, and refuses what others write.
func verify(reader *maxminddb.Reader) error {
	checked, known := make(map[uintptr]bool), false
	networks := uint(0)
	for found := range reader.Networks() {
		if err := found.Err(); err != nil {
			return err
		}
		if networks++; networks > 2*reader.Metadata.NodeCount+1 {
			return errors.New("the tree of the data base runs in circles")
		}
		if checked[found.Offset()] {
			continue
		}
		checked[found.Offset()] = true
		switch decode(found) {
		case policy.CountryUnknown:
			return fmt.Errorf("the country of %s cannot be read", found.Prefix())
		case "":
		default:
			known = true
		}
	}
	if !known {
		return errors.New("nothing in the data base has a country.iso_code")
	}
	return nil
}

// checkEvery is how often the file is looked at.
const checkEvery = time.Second

// Run reads the file again when it has changed, until ctx ends. A version that
// cannot be used leaves the former one in use, which Problem tells.
func (r *Reader) Run(ctx context.Context) error {
	pace.Every(ctx, checkEvery, func(time.Time) { r.tell(r.look()) })
	return nil
}

// Problem is why what is in use is not what is in the file, "" if it is.
func (r *Reader) Problem() string { return *r.problem.Load() }

// tell notes how a look went, and logs a failure once.
func (r *Reader) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if was := *r.problem.Swap(&text); text != "" && text != was {
		r.log.Error("cannot use the new geoip data base, keeping the former one", "path", r.path, "error", err)
	}
}

// Country returns the ISO 3166-1 code of the country of an address:
// country.iso_code, else registered_country.iso_code. It is "" if the data base
// has none for it, and policy.CountryUnknown if the look-up failed.
func (r *Reader) Country(a netip.Addr) (code string) {
	defer crash.Contain("geoip", func() { code = policy.CountryUnknown })
	db := r.current.Load()
	found := db.reader.Lookup(a.Unmap())
	switch {
	case found.Err() != nil:
		return policy.CountryUnknown
	case !found.Found():
		return ""
	}
	offset := found.Offset()
	if code, ok := (*db.records.Load())[offset]; ok {
		return code
	}
	return db.remember(offset, decode(found))
}

func decode(found maxminddb.Result) (code string) {
	for _, field := range []string{"country", "registered_country"} {
		if err := found.DecodePath(&code, field, "iso_code"); err != nil {
			return policy.CountryUnknown
		} else if code != "" {
			return code
		}
	}
	return ""
}

// maxRecords bounds what is remembered. A data base of countries has some
// hundred records, one of cities too many.
const maxRecords = 4096

func (db *database) remember(offset uintptr, code string) string {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(*db.records.Load()) >= maxRecords {
		return code
	}
	next := maps.Clone(*db.records.Load())
	next[offset] = code
	db.records.Store(&next)
	return code
}
