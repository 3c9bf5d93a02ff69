package admin

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Without a token the listener, which then is on a loopback address, trusts the
// programs of this machine. A browser is one of them, but it works for whatever
// page it shows: a page of another origin may send requests here, and by a name
// of its own that it lets lead here (DNS rebinding) even read the answers. What
// follows tells such requests by what no page can change.

// refuseForeign refuses a request that a page of another origin may have made
// this machine's browser send; nil if it is none. page says that it is for a page
// of lictor's own, which knows its forms (U3).
func refuseForeign(r *http.Request, page bool) error {
	switch {
	case !localHost(r):
		return foreign("forbidden_host", "Without an admin token the Host has to be localhost or a loopback address")
	case !sameOrigin(r) || !sameSite(r):
		return foreign("forbidden_origin", "Without an admin token no page of another origin may send requests")
	case page:
		return nil
	case fromBrowser(r) && isForm(r):
		return foreign("forbidden_origin", "Without an admin token a browser may not send forms, only JSON")
	case r.Method == http.MethodPost && isText(r):
		return &Refusal{Status: http.StatusUnsupportedMediaType, Reason: "unsupported_media_type", Message: "Unsupported media type: without an admin token no text is taken, say application/json"}
	}
	return nil
}

func foreign(reason, message string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reason, Message: message}
}

// localHost reports whether the Host names this machine by itself, as a rebound
// name does not. A program that speaks HTTP/1.0 may leave it out, a browser
// never does. A browser cannot reach a unix socket, where Host means nothing.
func localHost(r *http.Request) bool {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && at.Network() == "unix" {
		return true
	}
	if r.Host == "" {
		return !r.ProtoAtLeast(1, 1)
	}
	host, _ := splitHost(r.Host)
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// splitHost parts a Host in lower case from its port, "" if it has none.
func splitHost(hostport string) (host, port string) {
	u, err := url.Parse("//" + hostport)
	if err != nil || u.Host != hostport || u.User != nil {
		return "", ""
	}
	return strings.ToLower(u.Hostname()), u.Port()
}

// sameOrigin reports whether the page that sent the request, if any did, is of
// the listener's own origin. The origin "null" is anybody's.
func sameOrigin(r *http.Request) bool {
	scheme, port := "http", "80"
	if r.TLS != nil {
		scheme, port = "https", "443"
	}
	own := strings.TrimSuffix(strings.ToLower(r.Host), ":"+port)
	for _, origin := range r.Header.Values("Origin") {
		if !strings.EqualFold(origin, scheme+"://"+own) {
			return false
		}
	}
	return true
}

// sameSite reports whether the browser, if one sent the request, says that no
// other site had a part in it (Fetch Metadata).
func sameSite(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return false
		}
	}
	return true
}

func fromBrowser(r *http.Request) bool {
	return r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil || r.Header["Sec-Fetch-Mode"] != nil
}

// isText reports whether the body says that it is plain text. It is the one type
// by which a form, even of a browser that tells nothing of itself, can be JSON.
func isText(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "text/plain"
}

// isForm reports whether a page could send the body without asking first
// (CORS: a simple request), which includes one of no type.
func isForm(r *http.Request) bool {
	if r.ContentLength == 0 {
		return false
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err != nil || kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data" || kind == "text/plain"
}
