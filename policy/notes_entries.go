package policy

import (
	"fmt"
	"slices"
	"strings"
)

// notesOf tells what in an object can match nothing, or not what its writer
// meant. entries tells it of those of a list.
func notesOf(k Key, o Object, entries Problems) (notes Problems) {
	if left := leftover(k.Name); left != "" {
		notes = append(notes, Problem{Text: fmt.Sprintf("the name ends in %q, as what an editor leaves behind: it is in force like any other", left)})
	}
	switch x := o.(type) {
	case *List:
		return append(notes, x.notes(entries)...)
	case *Plugin:
		if x.Name == (cors{}).name() {
			return append(notes, corsNotes(x)...)
		}
	case *Filter:
		for i, m := range x.Methods {
			if text := methodNote(m); text != "" {
				notes = append(notes, Problem{Field: fmt.Sprintf("methods[%d]", i), Text: text})
			}
		}
		for i, p := range x.Paths {
			if text := pathNote(p); text != "" {
				notes = append(notes, Problem{Field: fmt.Sprintf("paths[%d]", i), Text: fmt.Sprintf("%.200q: %s", p, text)})
			}
		}
	}
	return notes[:min(len(notes), maxProblems)]
}

// leftover returns the ending of a name by which programs mark copies that are
// not meant to count, "" if it has none.
func leftover(name string) string {
	for _, end := range []string{"~", ".bak", ".old", ".orig", ".save", ".swp", ".tmp", ".rej", ".new"} {
		if strings.HasSuffix(name, end) && len(name) > len(end) {
			return end
		}
	}
	return ""
}

func (l *List) notes(entries Problems) Problems {
	if len(l.Entries) == 0 {
		text := "the list has no entry, so it denies nothing"
		if l.Allow {
			text = "the whitelist has no entry, so it restricts nothing"
		}
		return Problems{{Field: "entries", Text: text}}
	}
	return entries
}

// useless says why an entry matches less than it seems to, "" if it does not.
func (r *listRule) useless(d Direction) string {
	tls := strings.Contains(strings.ToLower(r.text), "https://")
	switch {
	case !(d.covers(Ingress) && r.speaksAt(gateway) || d.covers(Egress) && r.speaksAt(egress)):
		if r.isPath() {
			return "a path says nothing at the egress, where the host decides: write the host or a URL"
		}
		return "an address with a port is a destination, and the direction ingress has none"
	case r.method == "CONNECT":
		return "a tunnel is matched by host, address or service, never by a URL: write the host"
	case d.covers(Egress) && tls && (r.method != "" || r.paths[0] != ""):
		return "what goes through a tunnel is not seen, so at the egress it matches no HTTPS of ordinary clients: write the host"
	case r.isPath() && pathNote(r.text) != "":
		return pathNote(r.text)
	}
	return methodNote(r.method)
}

// pathNote says what is odd about the path of a rule.
func pathNote(text string) string {
	switch {
	case strings.Contains(text, "*"):
		return "a * in a path stands for itself; a path covers all below it"
	case strings.HasPrefix(text, "//"):
		return "begins with //, so it is a path and no host"
	}
	return ""
}

// methodNote says that a method is one that nobody has registered.
func methodNote(method string) string {
	if method == "" || slices.Contains(registeredMethods, method) {
		return ""
	}
	return fmt.Sprintf("%.40q is none of the methods that are registered for HTTP", method)
}

// registeredMethods are those of the IANA registry, and PURGE, which caches use.
var registeredMethods = strings.Fields(`ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE
	MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PURGE PUT QUERY
	REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE`)
