//go:build go1.27 && !http2legacy

package http2

// From Go 1.27 on golang.org/x/net/http2 wraps net/http, and does not tell any
// more that an instance's GOAWAY left a request unprocessed: such requests would
// get 502 instead of another instance. The tag keeps the former code; it goes
// once docs/decisions/0008-outward-http2.md is decided anew.
var _ = build_with_Go_1_26_or_with_tags_http2legacy
