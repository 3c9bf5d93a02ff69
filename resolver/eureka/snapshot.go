package eureka

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/resolver"
)

// snapshotVersion changes whenever resolver.Service or the numbers of its
// constants do; a file of another version is not read.
const snapshotVersion = 1

const maxSnapshot = 4 << 30 // bytes of a file

// saveEvery is how often the file is written although nothing changed, so that
// it tells until when its content was right.
const saveEvery = time.Minute

type snapshot struct {
	Version  int
	Saved    time.Time // of the last contact with a server
	Services []*resolver.Service
}

// check returns what is wrong with a file's content.
func (s *snapshot) check() error {
	if s.Version != snapshotVersion {
		return fmt.Errorf("version %d, want %d", s.Version, snapshotVersion)
	}
	for _, service := range s.Services {
		if service == nil || service.Name == "" || service.Name != lower(service.Name) {
			return errors.New("a service without a proper name")
		}
		for _, i := range service.Instances {
			if i == nil || i.State > resolver.LastResort || i.Protocol > resolver.H2 || i.Weight < 0 {
				return fmt.Errorf("service %q: an instance makes no sense", service.Name)
			}
		}
		sortInstances(service)
	}
	return nil
}

// load takes over the last good catalog, if there is one. A file that cannot
// be read is no reason not to start.
func (r *Resolver) load() {
	if r.cfg.SnapshotFile == "" {
		return
	}
	var s snapshot
	text, err := files.Read(r.cfg.SnapshotFile, maxSnapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		r.log.Warn("ignoring the last known services on disk", "file", r.cfg.SnapshotFile, "error", err)
		return
	}
	s.Saved = durable.NotAhead(s.Saved)
	r.catalog.Store(resolver.NewFoldedCatalog(s.Services...))
	r.mu.Lock()
	r.status.Ready, r.status.Snapshot, r.status.Since = true, true, s.Saved
	r.mu.Unlock()
	r.log.Info("serving the last known services until eureka answers", "file", r.cfg.SnapshotFile,
		"services", len(s.Services), "age_s", int(time.Since(s.Saved).Seconds()))
}

// save keeps the catalog on disk, as of contact.
func (r *Resolver) save(contact time.Time, changed bool) {
	if r.cfg.SnapshotFile == "" || !changed && contact.Sub(r.saved) < saveEvery {
		return
	}
	s := snapshot{Version: snapshotVersion, Saved: contact}
	for service := range r.catalog.Load().All() {
		s.Services = append(s.Services, service)
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = durable.Replace(r.cfg.SnapshotFile, text, 0o600, time.Time{})
	}
	if err != nil {
		r.log.Warn("cannot keep the last known services on disk", "file", r.cfg.SnapshotFile, "error", err)
	}
	r.saved = contact // tried again in a while, not at each refresh
}
