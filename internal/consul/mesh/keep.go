package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/internal/pace"
)

const (
	fileVersion = 1
	saveDelay   = 200 * time.Millisecond // collects the two of them
)

// file is what is kept on disk. It holds a private key: only its owner may read it.
type file struct {
	Version int
	Place   string // of the Consul that it comes from
	Service string
	Leaf    leafAnswer
	Roots   rootsAnswer
}

// load takes over what the file holds, if there is one. One that cannot be used is
// no reason not to start.
func (m *Mesh) load() {
	if m.cfg.File == "" {
		return
	}
	c, err := m.read()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		m.cfg.Log.Warn("ignoring the last certificate of the mesh on disk", "file", m.cfg.File, "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur.Store(c)
	m.kept = true
	m.cfg.Log.Info("using the last certificate of the mesh until consul answers", "file", m.cfg.File)
}

func (m *Mesh) read() (*credentials, error) {
	text, err := files.Read(m.cfg.File, 16<<20)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	switch {
	case f.Version != fileVersion:
		return nil, fmt.Errorf("version %d, want %d", f.Version, fileVersion)
	case f.Place != m.cfg.Client.Place():
		return nil, fmt.Errorf("it comes from another consul: %q, want %q", f.Place, m.cfg.Client.Place())
	case f.Service != m.cfg.Service:
		return nil, fmt.Errorf("it is of the service %q, want %q", f.Service, m.cfg.Service)
	}
	leaf, err := newLeaf(f.Leaf)
	if err != nil {
		return nil, err
	}
	roots, err := newRoots(f.Roots)
	if err != nil {
		return nil, err
	}
	return &credentials{leaf: leaf, roots: roots}, nil
}

// keep writes the file when something changed, until ctx ends.
func (m *Mesh) keep(ctx context.Context) {
	if m.cfg.File == "" {
		return
	}
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.save:
		}
		_ = pace.Sleep(ctx, saveDelay) // at the end of ctx it is written at once
		err := m.write(m.cur.Load())
		if err != nil && !failing {
			m.cfg.Log.Warn("cannot keep the certificate of the mesh on disk", "file", m.cfg.File, "error", err)
		}
		failing = err != nil
	}
}

// write replaces the file, once there are both.
func (m *Mesh) write(c *credentials) error {
	if c.leaf == nil || c.roots == nil {
		return nil
	}
	text, err := json.Marshal(file{Version: fileVersion, Place: m.cfg.Client.Place(), Service: m.cfg.Service, Leaf: c.leaf.said, Roots: c.roots.said})
	if err != nil {
		return err
	}
	return durable.Replace(m.cfg.File, text, 0o600, time.Time{})
}
