package consul

import (
	"context"
	"encoding/json"
	"hash/maphash"
)

// summary reads Consul's one-line-per-service overview, which its own pages
// show: how many instances, on which nodes, how many checks in which state. It
// tells in one answer which of very many services moved. It does not tell a
// change of address in place.
type summary struct {
	seed maphash.Seed
	last map[uint64]struct{} // hashes of the lines of the last answer

	lines   map[uint64]struct{}
	changed []string // services whose line is another, or new
}

// reader returns what reads the next answer.
func (s *summary) reader() *parts {
	s.lines = make(map[uint64]struct{}, len(s.last))
	s.changed = nil
	return &parts{apart: true, each: func(line []byte) error {
		hash := maphash.Bytes(s.seed, line)
		s.lines[hash] = struct{}{}
		if _, ok := s.last[hash]; ok {
			return nil
		}
		var service struct{ Name string }
		if err := json.Unmarshal(line, &service); err != nil {
			return err
		}
		s.changed = append(s.changed, service.Name)
		return nil
	}}
}

// overview asks which services moved since the last time. sure is false if
// that cannot be told.
func (r *Resolver) overview(ctx context.Context, s *summary) (changed []string, sure bool) {
	first := s.last == nil
	if _, err := r.read(ctx, "/v1/internal/ui/services", query{}, s.reader()); err != nil {
		s.last = nil
		return nil, false
	}
	s.last = s.lines
	return s.changed, !first
}

// setOf returns the names as a set, nil if names is nil.
func setOf(names []string) map[string]bool {
	if names == nil {
		return nil
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}
