package listener

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lictor/internal/files"
)

// material is one version of the files: certificates and client CAs. Immutable.
type material struct {
	held      []*held            // the pairs of the configuration, then those of the directory
	byFile    map[string]*held   // by CertFile
	byName    map[string][]*held // who is for a name, or a wildcard; the best comes first
	listing   []string           // of the directory
	lost      bool               // the directory cannot be read
	cas       files.Stamps
	clientCAs *x509.CertPool // nil: clients are not asked for certificates
	wrong     []error        // what is not in use, beside what each of held says
}

// load reads the files that changed since former, which is empty at the start:
// then what cannot be used of what the configuration names is an error, all at
// once. Later each file keeps its former content.
func load(c *TLSConfig, former *material, now time.Time) (*material, error) {
	m := &material{byFile: make(map[string]*held), byName: make(map[string][]*held)}
	all := slices.Clone(c.Pairs)
	if c.Dir != "" {
		all = append(all, m.list(c.Dir, former)...)
	}
	for i, p := range all {
		last := former.byFile[p.CertFile]
		if last == nil || last.Pair != p || last.changed(now) {
			last = hold(p, last, now)
			if i >= len(c.Pairs) {
				last.excuse()
			}
		}
		m.held = append(m.held, last)
		m.byFile[p.CertFile] = last
	}
	m.loadCAs(c.ClientCAFile, former.clientCAs)
	m.index(len(c.Pairs))
	if former.byFile != nil {
		return m, nil
	}
	// A pair in the directory keeps no other from being served.
	errs := slices.Clone(m.wrong)
	for _, h := range m.held[:len(c.Pairs)] {
		errs = append(errs, h.wrong)
	}
	return m, errors.Join(errs...)
}

// list returns the pairs in the directory, by its former list if it cannot be read.
func (m *material) list(dir string, former *material) []Pair {
	var err error
	if m.listing, err = listFolder(dir); err != nil {
		m.listing, m.lost = former.listing, true
		m.wrong = append(m.wrong, fmt.Errorf("cert_dir: %w", err))
	}
	all := pairs(dir, m.listing, func(certFile string) bool { return former.byFile[certFile] != nil })
	if len(all) > maxPairs {
		m.wrong = append(m.wrong, fmt.Errorf("cert_dir: %s has more than %d certificates, the rest is not used", dir, maxPairs))
		all = all[:maxPairs]
	}
	return all
}

func (m *material) loadCAs(file string, former *x509.CertPool) {
	if file == "" {
		return
	}
	m.cas = files.StampsOf(file)
	var err error
	if m.clientCAs, err = LoadPool(file); err != nil {
		m.clientCAs = former
		m.wrong = append(m.wrong, err)
	}
}

// index orders who is for a name: the certificates that the configuration names,
// as it does, and then those of the directory, who holds longest first.
func (m *material) index(named int) {
	usable := func(all []*held) []*held {
		return slices.DeleteFunc(slices.Clone(all), func(h *held) bool { return h.cert == nil })
	}
	further := usable(m.held[named:])
	slices.SortStableFunc(further, func(a, b *held) int { return b.expires.Compare(a.expires) })
	for _, h := range append(usable(m.held[:named]), further...) {
		for _, name := range h.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			m.byName[name] = append(m.byName[name], h)
		}
	}
}

// changed reports whether any of the files is another one by now, or says
// something else.
func (m *material) changed(c *TLSConfig, now time.Time) bool {
	if c.Dir != "" {
		names, err := listFolder(c.Dir)
		if (err != nil) != m.lost || err == nil && !slices.Equal(names, m.listing) {
			return true
		}
	}
	return m.cas.Changed() || slices.ContainsFunc(m.held, func(h *held) bool { return h.changed(now) })
}

// problems are why files are not in use as they are now.
func (m *material) problems() []error {
	all := slices.Clone(m.wrong)
	for _, h := range m.held {
		if h.wrong != nil {
			all = append(all, h.wrong)
		}
	}
	return all
}

// notes are what is odd about files, and does no harm.
func (m *material) notes() (all []error) {
	for _, h := range m.held {
		all = append(all, h.notes...)
	}
	return all
}

// named returns the certificate for the name that a client asks for, by its own
// name before a wildcard, of a kind that the client can verify; nil if there is
// none.
func (m *material) named(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	asked := *hello
	asked.ServerName = name
	_, parent, _ := strings.Cut(name, ".")
	for _, key := range []string{name, "*." + parent} {
		for _, h := range m.byName[key] {
			if asked.SupportsCertificate(h.cert) == nil {
				return h.cert
			}
		}
	}
	return nil
}

// unnamed returns a certificate for a client that names nobody whom we have: the
// first of a kind that it can verify, else the first; nil if there is none. Such
// a client is not refused: it judges. The order is that of the configuration and
// of the files' names, so that a renewal does not change who it is.
func (m *material) unnamed(hello *tls.ClientHelloInfo) (first *tls.Certificate) {
	asked := *hello
	asked.ServerName = ""
	for _, h := range m.held {
		switch {
		case h.cert == nil:
		case asked.SupportsCertificate(h.cert) == nil:
			return h.cert
		case first == nil:
			first = h.cert
		}
	}
	return first
}
