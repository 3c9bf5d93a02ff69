package middleware

import "os"

// stamp is an example of a middleware in Go: it tells clients which lictor
// answered them, in the field X-Served-By. Enable it with
//
//	middleware "stamp" {}
//
// or, for one service's debugging, with a match in the block.
type stamp struct{ edit Edit }

func newStamp() *stamp {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &stamp{Edit{Set: []Field{{Name: "X-Served-By", Value: host}}}}
}

// Apply implements Middleware. What it points to was made once: nothing is
// allocated per request.
func (s *stamp) Apply(*Request) Effect { return Effect{Response: &s.edit} }
