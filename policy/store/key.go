package store

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// ClearedName is the mark, of no kind, that says that an emptied policy is
// meant: without it the loss of every object at once is not believed. With a
// kind behind it, ".cleared:acls", it means that kind, and with a name as well,
// ".cleared:acls:a", that object; see [ClearedMark].
const ClearedName = ".cleared"

// ClearedMark is the name of the mark for a kind, or for one object of it.
func ClearedMark(kind, name string) string {
	if name == "" {
		return ClearedName + ":" + kind
	}
	return ClearedName + ":" + kind + ":" + name
}

// IsMark reports whether a name is that of a mark.
func IsMark(name string) bool {
	rest, ok := strings.CutPrefix(name, ClearedName)
	return ok && (rest == "" || rest[0] == ':')
}

// Size is what ops count against MaxBytes: about the length of Consul's
// transaction, in which values are in base64. A single Put counts its value alone.
func Size(ops ...Op) int {
	if len(ops) == 1 {
		return len(ops[0].Value)
	}
	const frame = 192 // the JSON around an operation, with a prefix of usual length
	sum := 0
	for _, op := range ops {
		sum += base64.StdEncoding.EncodedLen(len(op.Value)) + len(op.Kind) + len(op.Name) + frame
	}
	return sum
}

// CheckOps returns what is wrong with a write before any store was asked.
func CheckOps(ops []Op) error {
	switch {
	case len(ops) == 0:
		return fmt.Errorf("%w: no operations", ErrInvalid)
	case len(ops) > MaxOps:
		return fmt.Errorf("%w: %d operations, want at most %d", ErrTooLarge, len(ops), MaxOps)
	case Size(ops...) > MaxBytes:
		return fmt.Errorf("%w: %d bytes, want at most %d", ErrTooLarge, Size(ops...), MaxBytes)
	}
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		key := Key(op.Kind, op.Name)
		if seen[key] {
			return fmt.Errorf("%w: two operations on %s", ErrInvalid, key)
		}
		seen[key] = true
		if !ValidKey(op.Kind, op.Name) {
			return fmt.Errorf("%w: %q is not a kind and a name", ErrInvalid, key)
		}
		if op.Verb > Verify || op.Check.Absent && op.Check.Index != 0 || op.Verb == Verify && op.Check == (Check{}) {
			return fmt.Errorf("%w: contradictory operation on %s", ErrInvalid, key)
		}
	}
	return nil
}

// ValidKey reports whether an object of this kind and name can be written. A
// name is one path segment, so that it is a file name, too; a dot in front is
// kept for the store itself.
func ValidKey(kind, name string) bool {
	if kind == "" {
		return IsMark(name) && len(name) <= 255 && !strings.ContainsFunc(name, notInName)
	}
	return ValidKind(kind) && ValidKind(name)
}

// ValidKind reports whether a kind can be written: it is one path segment, without
// a dot in front.
func ValidKind(s string) bool {
	return s != "" && len(s) <= 255 && s[0] != '.' && !strings.ContainsFunc(s, notInName)
}

func notInName(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }

// Key is the key of an object: kind/name, or the name alone for an object of no kind.
func Key(kind, name string) string {
	if kind == "" {
		return name
	}
	return kind + "/" + name
}

// SplitKey is the reverse of [Key]. ok is false for keys that are no objects:
// names with a dot in front beside the kinds, and the folders that Consul's UI
// makes.
func SplitKey(key string) (kind, name string, ok bool) {
	if key == "" || key[0] == '.' || key[len(key)-1] == '/' {
		return "", "", false
	}
	kind, name, found := strings.Cut(key, "/")
	if !found {
		return "", kind, true
	}
	return kind, name, true
}
