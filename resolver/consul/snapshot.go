package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/internal/pace"
	"lictor/resolver"
)

const (
	// snapshotVersion changes whenever resolver.Service or the numbers of its
	// constants do; a file of another version is not read.
	snapshotVersion = 2

	maxSnapshot = 4 << 30 // bytes of a file

	saveDelay  = time.Second // collects changes that come together
	touchEvery = time.Minute // the file's time tells until when its content was right
)

// snapshot is the head of the file. The services stand apart, for each is
// encoded only when it changed.
type snapshot struct {
	Version  int
	Tag      string    // of the configuration that it was made under
	Connect  Connect   `json:",omitempty"` // likewise: where the mesh is required, nothing else may come back
	Place    string    // of the Consul that it comes from
	Saved    time.Time // of the last contact with Consul
	Index    uint64    // of the list of names
	Services []*resolver.Service
}

// check returns what is wrong with a file's content.
func (s *snapshot) check(tag, place string) error {
	switch {
	case s.Place != place:
		return fmt.Errorf("it comes from another consul: %q, want %q", s.Place, place)
	case s.Version != snapshotVersion:
		return fmt.Errorf("version %d, want %d", s.Version, snapshotVersion)
	case s.Tag != tag:
		return fmt.Errorf("made for the tag %q, want %q", s.Tag, tag)
	}
	for _, service := range s.Services {
		if service == nil || service.Name == "" {
			return errors.New("a service without a name")
		}
		for _, i := range service.Instances {
			if i == nil || i.State > resolver.LastResort || i.Protocol > resolver.H2 || i.Weight < 0 {
				return fmt.Errorf("service %q: an instance makes no sense", service.Name)
			}
		}
	}
	return nil
}

// readSnapshot reads a file; its data is known to be right as of when the file
// was written or touched last.
func readSnapshot(file, tag, place string) (snapshot, error) {
	var s snapshot
	info, err := os.Stat(file)
	if err != nil {
		return s, err
	}
	text, err := files.Read(file, maxSnapshot)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, err
	}
	if info.ModTime().After(s.Saved) {
		s.Saved = info.ModTime()
	}
	s.Saved = durable.NotAhead(s.Saved)
	return s, s.check(tag, place)
}

// load takes over the last good catalog, if there is one, and returns the
// index of its list of names, else 0. A file that cannot be read is no reason
// not to start.
func (r *Resolver) load() (index uint64) {
	if r.cfg.SnapshotFile == "" {
		return 0
	}
	s, err := readSnapshot(r.cfg.SnapshotFile, r.selection.Load().Tag, r.cfg.Client.Place())
	if err == nil && s.Connect != r.cfg.Connect {
		err = fmt.Errorf("made for connect = %q, want %q", cmp.Or(s.Connect, "off"), cmp.Or(r.cfg.Connect, "off"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		r.log.Warn("ignoring the last known services on disk", "file", r.cfg.SnapshotFile, "error", err)
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, service := range s.Services {
		service.Hosts = r.restoredLocked(service.Hosts)
		if r.exposes(service.Name) {
			r.truth = r.truth.With([]*resolver.Service{service}, nil)
			if service.Loaded {
				r.followLocked(service)
			}
		}
	}
	r.status.Ready, r.status.Snapshot, r.status.Since = true, true, s.Saved
	r.showLocked()
	r.log.Info("serving the last known services until consul answers", "file", r.cfg.SnapshotFile,
		"services", r.truth.Len(), "age_s", int(time.Since(s.Saved).Seconds()))
	return max(s.Index, 1)
}

// saver writes snapshots.
type saver struct {
	r       *Resolver
	encoded map[*resolver.Service][]byte // services do not change, so each is encoded once
	contact time.Time                    // as the file tells
	failing bool
}

// keepSnapshot writes the catalog when it changed, until ctx ends; then once
// more, with the time of the last contact.
func (r *Resolver) keepSnapshot(ctx context.Context) {
	if r.cfg.SnapshotFile == "" {
		return
	}
	s := saver{r: r}
	touch := time.NewTicker(touchEvery)
	defer touch.Stop()
	for {
		select {
		case <-ctx.Done():
			s.write()
			return
		case <-touch.C:
			s.touch()
		case <-r.save:
			_ = pace.Sleep(ctx, saveDelay) // at the end of ctx it is written at once
			s.write()
		}
	}
}

// write replaces the file. Nothing is written before Consul has answered, about
// every service since the tag was changed.
func (s *saver) write() {
	r := s.r
	r.mu.Lock()
	truth, contact, index, tag, mixed := r.truth, r.status.Contact, r.namesIndex, r.selection.Load().Tag, r.otherTagLocked() != ""
	r.mu.Unlock()
	if contact.IsZero() || mixed {
		return
	}
	text, err := s.encode(truth, tag, contact, index)
	if err == nil {
		err = durable.Replace(r.cfg.SnapshotFile, text, 0o600, time.Time{})
	}
	if err == nil {
		s.contact = contact
	} else if !s.failing {
		r.log.Warn("cannot keep the last known services on disk", "file", r.cfg.SnapshotFile, "error", err)
	}
	s.failing = err != nil
}

// touch tells by the file's time that its content was still right at the last contact.
func (s *saver) touch() {
	s.r.mu.Lock()
	contact := s.r.status.Contact
	s.r.mu.Unlock()
	if s.contact.IsZero() || !contact.After(s.contact) {
		return
	}
	if os.Chtimes(s.r.cfg.SnapshotFile, contact, contact) == nil {
		s.contact = contact
	}
}

// encode returns the file's content.
func (s *saver) encode(truth *resolver.Catalog, tag string, contact time.Time, index uint64) ([]byte, error) {
	head, err := json.Marshal(snapshot{Version: snapshotVersion, Tag: tag, Connect: s.r.cfg.Connect, Place: s.r.cfg.Client.Place(), Saved: contact, Index: index,
		Services: []*resolver.Service{}})
	if err != nil {
		return nil, err
	}
	text := slices.Grow(head[:len(head)-len("]}")], 256*truth.Len())
	encoded := make(map[*resolver.Service][]byte, truth.Len())
	for service := range truth.All() {
		one, ok := s.encoded[service]
		if !ok {
			if one, err = json.Marshal(service); err != nil {
				return nil, err
			}
		}
		if len(encoded) > 0 {
			text = append(text, ',')
		}
		text = append(append(text, '\n'), one...)
		encoded[service] = one
	}
	s.encoded = encoded
	return append(text, "]}\n"...), nil
}
