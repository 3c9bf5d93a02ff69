package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/url"
	"sync"
	"unicode/utf8"
)

// nameList reads the answer of catalog/services: an object whose keys are the
// names and whose values are their tags. The list wakes up at every
// registration anywhere, so an answer that is equal to the last one costs a
// hash, unless it is very long, and the tags are never decoded.
type nameList struct {
	seed  maphash.Seed
	known uint64 // hash of the last answer; 0 = none
	room  int    // how many names to expect

	hash  uint64
	names []string // nil if the answer is the known one

	parts parts        // by which the names are found; zero: they are the keys of an object
	sum   maphash.Hash // of what came
	text  *[]byte      // what came and was not scanned; nil at first
}

// maxHeld is how much of a list is held to see whether it is the known one,
// before it is scanned.
const maxHeld = 4 << 20

var lists = sync.Pool{New: func() any { return new([]byte) }}

// feed implements [reader].
func (l *nameList) feed(piece []byte) error {
	if l.text == nil {
		l.begin()
	}
	_, _ = l.sum.Write(piece) // never fails
	if len(*l.text)+len(piece) <= maxHeld {
		*l.text = append(*l.text, piece...)
		return nil
	}
	if err := l.scan(); err != nil {
		return err
	}
	return l.parts.feed(piece)
}

func (l *nameList) begin() {
	text, ok := lists.Get().(*[]byte)
	if !ok {
		text = new([]byte)
	}
	*text = (*text)[:0]
	l.text = text
	l.sum.SetSeed(l.seed)
	if l.parts.each == nil {
		l.parts = parts{names: true, each: l.key}
	}
}

// scan finds the names in what is held.
func (l *nameList) scan() error {
	if l.names == nil {
		l.names = make([]string, 0, l.room+8)
	}
	text := *l.text
	*l.text = text[:0]
	return l.parts.feed(text)
}

// end implements [reader].
func (l *nameList) end() error {
	if l.text == nil {
		return errCut
	}
	defer func() { lists.Put(l.text); l.text = nil }()
	if hash := max(l.sum.Sum64(), 1); hash == l.known {
		l.hash, l.names = hash, nil
		return nil
	}
	err := l.scan()
	if err == nil {
		err = l.parts.end()
	}
	if err != nil {
		l.names = nil
		return err
	}
	l.hash = max(l.sum.Sum64(), 1)
	return nil
}

// key takes a name as it stands in JSON, if it is not too long for a service.
func (l *nameList) key(text []byte) error {
	if len(text) > 6*maxName+2 { // \u0041 is the longest that JSON makes of a byte
		l.parts.left++
		return nil
	}
	name, err := unquote(text)
	if err != nil {
		return err
	}
	return l.add(name)
}

func (l *nameList) add(name string) error {
	if len(l.names) == maxNames {
		return fmt.Errorf("consul lists more than %d services", maxNames)
	}
	l.names = append(l.names, name)
	return nil
}

// noMesh leaves out the services of the mesh: sidecar proxies and gateways are
// registered under names of their own, and serve no path.
var noMesh = url.Values{"filter": {`ServiceKind == ""`}}

// Bounds of the catalogue: what is beyond is no service.
const (
	maxNames = 200_000
	maxName  = 256
)

// readNames asks for the names of all services.
func (r *Resolver) readNames(ctx context.Context, list *nameList, q query) (meta, error) {
	switch {
	case r.ofPeer():
		return r.readImports(ctx, list, q)
	case !r.cfg.Everywhere:
		q.Form = noMesh
	}
	return r.read(ctx, "/v1/catalog/services", q, list)
}

// unquote returns what the JSON string in text says.
func unquote(text []byte) (string, error) {
	if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return string(text[1 : len(text)-1]), nil
	}
	var s string
	err := json.Unmarshal(text, &s)
	return s, err
}
