package consul

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"lictor/internal/files"
	"lictor/internal/secret"
)

// maxToken is the most bytes of a token, with the white space around it.
const maxToken = 4 << 10

// Identity is as whom Consul is asked, by a token, and by what certificates of
// TLS. Where they stand in files each query looks whether those are others by
// now, and goes by the new ones. [NewIdentity] makes it; all clients of one
// Consul share it, from any number of goroutines.
type Identity struct {
	report func(what string, err error)

	mu       sync.Mutex // guards what follows
	token    secret.Text
	file     string // that the token comes from; "" = none
	written  files.Stamp
	tls      api.TLSConfig
	material *tls.Config
	stamps   files.Stamps
	problems map[string]error // of the files that cannot be used, by what they hold
	contacts map[*Contact]bool
}

// IdentityConfig is what an Identity is made of. Its zero value asks as nobody.
type IdentityConfig struct {
	Token     secret.Text
	TokenFile string // holds the token instead; "" = it stands in Token
	TLS       api.TLSConfig

	// Report is told when a file is another one: err is why it cannot be used, so
	// that the former one stays; nil = it is in use. what is "token" or
	// "certificates". It must not block; nil = nobody is told.
	Report func(what string, err error)
}

// NewIdentity reads the files; one that cannot be used is an error.
func NewIdentity(cfg IdentityConfig) (*Identity, error) {
	i := &Identity{report: cfg.Report, token: cfg.Token, file: cfg.TokenFile, tls: cfg.TLS,
		problems: make(map[string]error), contacts: make(map[*Contact]bool)}
	if i.report == nil {
		i.report = func(string, error) {}
	}
	var err error
	if i.file != "" {
		i.written = files.StampOf(i.file)
		if i.token, err = readToken(i.file); err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
	}
	i.stamps = i.stampTLS()
	if i.material, err = readTLS(i.tls); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return i, nil
}

// PrepareToken reads another token, or that in another file; put has Consul asked by it
// from the next query on. An error is a file that cannot be used.
func (i *Identity) PrepareToken(token secret.Text, file string) (put func(), err error) {
	written := files.StampOf(file)
	if file != "" {
		if token, err = readToken(file); err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
	}
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		same := token.Reveal() == i.token.Reveal()
		i.token, i.file, i.written = token, file, written
		delete(i.problems, "token")
		if !same {
			i.renewedLocked()
		}
	}, nil
}

// Problems are the files that cannot be used, so that the former ones stay.
func (i *Identity) Problems() (all []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, what := range []string{"token", "certificates"} {
		if err := i.problems[what]; err != nil {
			all = append(all, "the new "+what+" cannot be used, the former stays: "+err.Error())
		}
	}
	return all
}

// tell has a contact woken when Consul is asked as somebody else: what was
// refused may be allowed now.
func (i *Identity) tell(c *Contact) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.contacts[c] = true
}

func (i *Identity) renewedLocked() {
	for c := range i.contacts {
		c.renewed()
	}
}

// current returns the token and how TLS is spoken, as of now.
func (i *Identity) current() (secret.Text, *tls.Config) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file != "" {
		if now := files.StampOf(i.file); now != i.written {
			i.rereadLocked("token", func() error {
				token, err := readToken(i.file)
				if err == nil {
					i.token, i.written = token, now
				}
				return err
			})
		}
	}
	if i.stamps.Changed() {
		i.rereadLocked("certificates", func() error {
			stamps := i.stampTLS()
			material, err := readTLS(i.tls)
			if err == nil {
				i.material, i.stamps = material, stamps
			}
			return err
		})
	}
	return i.token, i.material
}

// rereadLocked takes over a file that is another one. While it cannot be used,
// as when it is being written, it is tried again, and told of once.
func (i *Identity) rereadLocked(what string, read func() error) {
	was, err := i.problems[what], read()
	if err == nil {
		delete(i.problems, what)
		i.report(what, nil)
		i.renewedLocked()
		return
	}
	i.problems[what] = err
	if was == nil || was.Error() != err.Error() {
		i.report(what, err)
	}
}

func (i *Identity) stampTLS() files.Stamps {
	return files.StampsOf(i.tls.CAFile, i.tls.CAPath, i.tls.CertFile, i.tls.KeyFile)
}

// maxMaterial is the most bytes of a file with a key or certificates, and of those of a
// directory together.
const maxMaterial = 4 << 20

// readTLS reads the files that cfg names, and makes of them how TLS is spoken.
func readTLS(cfg api.TLSConfig) (*tls.Config, error) {
	var err error
	read := func(path string, into *[]byte) {
		if path != "" && err == nil {
			*into, err = files.Read(path, maxMaterial)
		}
	}
	if cfg.CAFile == "" && cfg.CAPath != "" && len(cfg.CAPem) == 0 {
		cfg.CAPem, err = readAuthorities(cfg.CAPath)
	}
	read(cfg.CAFile, &cfg.CAPem)
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		cfg.CertPEM, cfg.KeyPEM = nil, nil
	}
	read(cfg.CertFile, &cfg.CertPEM)
	read(cfg.KeyFile, &cfg.KeyPEM)
	if err != nil {
		return nil, err
	}
	cfg.CAFile, cfg.CAPath, cfg.CertFile, cfg.KeyFile = "", "", "", ""
	return api.SetupTLSConfig(&cfg)
}

// readAuthorities reads all files in and below a directory, as consul/api does.
func readAuthorities(dir string) (all []byte, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.Read(path, maxMaterial)
		if err != nil {
			return err
		}
		if all = append(append(all, text...), '\n'); len(all) > maxMaterial {
			return fmt.Errorf("the files in %s have more than %d bytes", dir, maxMaterial)
		}
		return nil
	})
	return all, err
}

// readToken reads the token in a file. Its errors do not repeat what stands there.
func readToken(path string) (secret.Text, error) {
	text, err := files.Read(path, maxToken)
	if err != nil {
		return secret.Text{}, err
	}
	token := strings.TrimSpace(string(text))
	switch {
	case token == "":
		return secret.Text{}, fmt.Errorf("%s: there is no token in it", path)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return secret.Text{}, errors.New(path + ": want one token of printable characters")
	}
	return secret.New(token), nil
}
