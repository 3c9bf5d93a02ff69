package dir

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// vanishedLocked notes that the directory itself cannot be listed: its objects are
// held, and its folders forgotten, so that others in their place are not taken for
// them. d.mu is held.
func (d *Store) vanishedLocked(err error) {
	if errors.Is(err, fs.ErrNotExist) && d.mirror.Status().Loaded {
		s := &scan{d: d, tree: &tree{}, unread: map[string]unread{}}
		s.missing(&mirror.Meaning{})
		d.folders = nil
		d.mirror.Publish(store.Update{Changes: s.changes, Index: d.index, LastGood: d.mirror.Status().LastGood})
	}
	d.reportLocked(err)
}

// missing notes what is not there any more: it was deleted, or it is held if the
// way it vanished looks like an accident (X6).
func (s *scan) missing(meant *mirror.Meaning) {
	d := s.d
	lost := map[string][]store.Object{} // by kind
	known := map[string]int{}           // how many there were of it
	for _, kind := range d.mirror.Kinds() {
		for o := range d.mirror.OfKind(kind) {
			if o.Held {
				continue
			}
			if at, why := s.tree.isBroken(o.Key()); why != nil {
				s.unread[at] = unread{why: why.Error(), there: s.tree.broken[at] == nil || s.unread[at].there}
				continue
			}
			known[kind]++
			switch {
			case s.seen[o.Key()]:
			case meant.Cover(o):
				s.deleted(*o)
				known[kind]--
			default:
				lost[kind] = append(lost[kind], *o)
			}
		}
	}
	accident := s.allLost(lost)
	for kind, objects := range lost {
		why := ""
		switch {
		case accident:
			why = "everything vanished together with its folders"
		case len(objects) == known[kind]:
			why = s.doubtKind(kind, len(objects))
		}
		if why == "" {
			for _, o := range objects {
				s.deleted(o)
			}
			continue
		}
		s.hold(kind, objects, why)
	}
	s.release(meant)
}

// allLost reports whether nothing at all is left, not even the folder of what was lost.
func (s *scan) allLost(lost map[string][]store.Object) bool {
	if len(s.seen) > 0 {
		return false
	}
	for kind := range lost {
		if id, there := s.tree.folders[kind]; there && s.sameFolder(kind, id) {
			return false
		}
	}
	return true
}

// sameFolder reports whether the folder of a kind is the one that was read
// before. Of an earlier life nothing is known, and nothing held against it.
func (s *scan) sameFolder(kind string, now folderID) bool {
	then, known := s.d.folders[kind]
	return !known || then == now
}

// doubtKind returns why it is not believed that all objects of a kind were
// deleted, or "". Whoever deletes them leaves their folder; a volume that is not
// mounted, or a link that was turned to somewhere else, does not.
func (s *scan) doubtKind(kind string, count int) string {
	now, there := s.tree.folders[kind]
	switch {
	case kind == "":
		return ""
	case !there && count >= mirror.LeastOfKind:
		return "all of its kind vanished together with their folder"
	case !there || s.sameFolder(kind, now):
		return ""
	case count >= mirror.LeastOfKind:
		return "another folder is in the place of that of their kind, and has none of them"
	case s.isEmpty(kind):
		return "an empty folder is in the place of that of their kind"
	}
	return ""
}

// isEmpty reports whether nothing at all was found in the folder of a kind.
func (s *scan) isEmpty(kind string) bool {
	for key := range s.seen {
		if strings.HasPrefix(key, kind+"/") {
			return false
		}
	}
	return true
}

// hold keeps objects of a kind in force that vanished.
func (s *scan) hold(kind string, objects []store.Object, why string) {
	d := s.d
	for _, o := range objects {
		o.Held, o.Why = true, why
		s.changes = append(s.changes, store.Change{Object: o})
	}
	d.log.Error("objects vanished from the policy and stay in force, as this looks like an accident",
		"path", filepath.Join(d.dir, kind), "objects", len(objects), "reason", why, "to_mean_it_make", filepath.Join(d.dir, store.ClearedMark(kind, "")))
}

// release lets go of what is held and whose loss is meant.
func (s *scan) release(meant *mirror.Meaning) {
	for _, o := range s.d.mirror.Held() {
		if !s.seen[o.Key()] && meant.Cover(&o) {
			s.deleted(o)
		}
	}
}
