package trace

import "strings"

// Bounds of a tracestate that is passed on (Trace Context 3.3.1.1, 3.3.1.5).
const (
	maxState   = 512 // bytes of all members, with the commas between them
	maxMembers = 32
)

// State gathers the members of a tracestate, as they may stand on several lines,
// within the bounds: those come first that were entered last, so that what is too
// much is left out at the end, and only as whole members. The zero State is ready.
type State struct {
	size, members int
	full          bool
}

// Empty reports whether nothing was appended.
func (s *State) Empty() bool { return s.members == 0 }

// Append appends what there is room for of a line, behind what was appended
// before. What is no member by its form is left out.
func (s *State) Append(dst []byte, line string) []byte {
	for member := range strings.SplitSeq(line, ",") {
		member = strings.Trim(member, " \t")
		if !isMember(member) {
			continue
		}
		room := len(member)
		if s.members > 0 {
			room++
		}
		if s.full = s.full || s.size+room > maxState || s.members == maxMembers; s.full {
			return dst
		}
		if s.members > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, member...)
		s.size += room
		s.members++
	}
	return dst
}

// isMember reports whether a text is a key, an equals sign and a value of
// characters that may stand there.
func isMember(text string) bool {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" || value == "" || len(key) > 256 || len(value) > 256 {
		return false
	}
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("_-*/@", c) < 0 {
			return false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return true
}
