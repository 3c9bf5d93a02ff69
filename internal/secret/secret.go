// Package secret keeps tokens, keys and URLs with passwords out of whatever is
// printed, logged or encoded.
package secret

import (
	"fmt"
	"io"
)

// Text is a string that no output shows: not fmt by any verb, not JSON, not a
// log, not even where it is a part of something else that is printed. To use
// it one has to say so: Reveal.
type Text struct {
	// fmt looks into fields that are not exported without asking their methods;
	// behind a pointer it sees an address only.
	text *string
}

// New returns a Text of s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the string itself.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Empty reports whether there is no secret. It is the same as Reveal() == "".
func (t Text) Empty() bool { return t.text == nil }

// shown stands for every secret. It does not tell how long one is.
const shown = "[secret]"

// String implements [fmt.Stringer].
func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return shown
}

// Format implements [fmt.Formatter], so that no verb shows more than String does.
func (t Text) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, t.String()) // nobody could be told
}

// MarshalText implements [encoding.TextMarshaler], and so for JSON.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
