// Package hops keeps a request from travelling for ever: by the marks that each
// listener leaves in Via, and by the number of proxies that a client allows.
package hops

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"lictor/proxy/http1/message"
)

// product is what every lictor is called in Via, followed by a dash and an id.
const product = "lictor"

// MaxMarks is how many lictors one request may have passed. A request that is
// handed around by many of them, of which none sees it twice, ends here.
const MaxMarks = 8

// Mark is the name of one listener in Via (RFC 9110 7.6.3), by which it knows
// requests that it forwarded itself. It is drawn by chance, so that nobody has
// to give names, and a client cannot guess it. Each listener has its own: a
// backend of the gateway that calls others through the egress is no loop.
type Mark string

// NewMark returns a mark that no other listener has.
func NewMark() Mark {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return Mark(product + "-" + hex.EncodeToString(id[:]))
}

// Loops reports whether a request with these fields was here before, or passed
// more lictors than a request may. It looks for the marks wherever they stand,
// not only where the grammar of Via wants them: whoever sends a comment that does
// not end would hide the marks behind it, and nobody can make one up.
func (m Mark) Loops(fields []message.Field) bool {
	marks := 0
	for i := range fields {
		f := &fields[i]
		if f.ID != message.FieldVia {
			continue
		}
		if strings.Contains(f.Value, string(m)) {
			return true
		}
		marks += strings.Count(f.Value, " "+product)
	}
	return marks >= MaxMarks
}
