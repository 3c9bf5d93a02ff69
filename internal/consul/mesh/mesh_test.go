package mesh

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewChecksItsConfig(t *testing.T) {
	good := newMesh(t, newAgent(), "", os.Stderr).cfg
	for name, edit := range map[string]func(*Config){
		"a client": func(c *Config) { c.Client = nil }, "a service": func(c *Config) { c.Service = "" }, "a log": func(c *Config) { c.Log = nil },
	} {
		cfg := good
		edit(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("it works without %s", name)
		}
	}
}

// Certificates and authorities are taken over the moment that the agent has them;
// connections from before are stale if lictor is another or trusts fewer.
func TestRotation(t *testing.T) {
	inMesh(t, func(b *bench, old *authority) {
		is := func(when string, serial int64, authorities, stale int) {
			t.Helper()
			synctest.Wait()
			if s := b.cur.Load().leaf.cert.Leaf.SerialNumber.Int64(); s != serial && serial != 0 {
				t.Errorf("%s: lictor shows certificate %d, want %d", when, s, serial)
			}
			if s := b.Status(); s.Authorities != authorities || int(b.stale.Load()) != stale || s.ID != lictorID || s.TrustDomain != testDomain || len(s.Problems) > 0 {
				t.Errorf("%s: status is %+v, connections were stale %d times, want %d authorities and %d times", when, s, b.stale.Load(), authorities, stale)
			}
		}
		serialOf := func(l leafAnswer) int64 {
			read, err := newLeaf(l)
			if err != nil {
				t.Fatal(err)
			}
			return read.cert.Leaf.SerialNumber.Int64()
		}
		is("at the start", 0, 1, 0)
		next := old.leaf(nil)
		b.agent.set(leafPath, next)
		is("another certificate", serialOf(next), 1, 1)
		b.agent.set(leafPath, next)
		is("the same one under a new index", serialOf(next), 1, 1)
		young := newAuthority(t, nil)
		b.agent.set(rootsPath, rootsOf(young, old))
		is("another authority is trusted as well", serialOf(next), 2, 1)
		for name, a := range map[string]*authority{"the old": old, "the new": young} {
			if _, err := shake(b.Mesh, a.issue(nil, testID), testWeb); err != nil {
				t.Errorf("a peer of %s authority: %v", name, err)
			}
		}
		last := young.leaf(nil)
		b.agent.set(leafPath, last)
		is("a certificate of the new authority", serialOf(last), 2, 2)
		b.agent.set(rootsPath, rootsOf(young))
		is("the old authority is trusted no more", serialOf(last), 1, 3)
		if _, err := shake(b.Mesh, old.issue(nil, testID), testWeb); err == nil {
			t.Error("a peer of the old authority is trusted")
		}
	})
}

// Intentions that changed end connections of before, at once and once more when the
// agents of sidecars have heard of it; a new index alone does not.
func TestChangedIntentionsAreHeeded(t *testing.T) {
	inMesh(t, func(b *bench, _ *authority) {
		const path = "/v1/connect/intentions/match"
		steps := []struct {
			says        string
			want, later int32
		}{{"a", 1, 2}, {"a", 2, 2}, {"b", 3, 4}}
		if b.stale.Load() != 0 {
			t.Errorf("at the start connections were stale %d times", b.stale.Load())
		}
		for _, s := range steps {
			b.agent.set(path, s.says)
			synctest.Wait()
			now := b.stale.Load()
			pass(settleTime + time.Millisecond)
			if now != s.want || b.stale.Load() != s.later {
				t.Errorf("%q: connections were stale %d times, and then %d, want %d and %d", s.says, now, b.stale.Load(), s.want, s.later)
			}
			pass(time.Minute)
		}
	})
}

// What Consul says wrongly, or not at all, changes nothing but what status says.
func TestWhatCannotBeReadChangesNothing(t *testing.T) {
	inMesh(t, func(b *bench, a *authority) {
		other := newAuthority(t, nil).leaf(nil)
		mixed := leafAnswer{CertPEM: a.leaf(nil).CertPEM, PrivateKeyPEM: other.PrivateKeyPEM}
		two := a.leaf(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) })
		many := rootsOf()
		for range maxCerts + 1 {
			many.Roots = append(many.Roots, rootAnswer{RootCert: pemOf(a.cert)})
		}
		before := b.cur.Load()
		for _, tt := range []struct {
			name, path string
			said       any
		}{
			{"no certificate", leafPath, leafAnswer{}},
			{"a key of another", leafPath, mixed},
			{"two ids", leafPath, two},
			{"no object", leafPath, "x"},
			{"too much", leafPath, leafAnswer{CertPEM: strings.Repeat("x", maxAnswer)}},
			{"no authority", rootsPath, rootsOf()},
			{"no trust domain", rootsPath, rootsAnswer{Roots: rootsOf(a).Roots}},
			{"an authority that is none", rootsPath, rootsAnswer{TrustDomain: testDomain, Roots: []rootAnswer{{RootCert: "x"}}}},
			{"an intermediate that is none", rootsPath, rootsAnswer{TrustDomain: testDomain, Roots: []rootAnswer{{RootCert: pemOf(a.cert), IntermediateCerts: []string{"x"}}}}},
			{"too many authorities", rootsPath, many},
		} {
			b.agent.mu.Lock()
			good := b.agent.said[tt.path]
			b.agent.mu.Unlock()
			b.agent.set(tt.path, tt.said)
			pass(time.Second)
			if b.cur.Load() != before || len(b.Status().Problems) != 1 {
				t.Errorf("%s: status is %+v", tt.name, b.Status())
			}
			for _, text := range b.Status().Problems {
				if strings.Contains(text, "PRIVATE") {
					t.Errorf("%s: a key stands in %q", tt.name, text)
				}
			}
			b.agent.set(tt.path, good)
			pass(time.Minute)
			if b.cur.Load() != before || len(b.Status().Problems) != 0 {
				t.Errorf("behind %q: status is %+v", tt.name, b.Status())
			}
		}
		if b.stale.Load() != 0 {
			t.Errorf("connections were stale %d times", b.stale.Load())
		}
	})
}

func TestARefusalIsAnErrorOfTheLog(t *testing.T) {
	inMesh(t, func(b *bench, _ *authority) {
		b.agent.edit(func() { b.agent.status = 403 })
		pass(5 * time.Minute)
		b.agent.edit(func() { b.agent.status = 0 })
		pass(time.Minute)
		log := b.log.String()
		if strings.Count(log, "[ERROR]") != 1 || !strings.Contains(log, "consul refuses lictor its certificate of the mesh") || strings.Count(log, "the mesh can be followed again") != 1 {
			t.Errorf("it said:\n%s", log)
		}
	})
}

// A start while Consul is away uses what was there before, if it is lictor's own.
func TestTheLastCertificateIsKept(t *testing.T) {
	first := filepath.Join(t.TempDir(), "mesh.json")
	var a *authority
	synctest.Test(t, func(t *testing.T) {
		a = newAuthority(t, nil)
		agent := newAgent()
		agent.set(rootsPath, rootsOf(a))
		b := start(t, agent, first)
		pass(time.Second)
		if _, err := os.Stat(first); err == nil {
			t.Error("half of it is kept")
		}
		agent.set(leafPath, a.leaf(nil))
		pass(time.Minute)
		b.stop()
		if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the file is %v, %v", info, err)
		}
	})
	text, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*file)
		used bool
	}{
		{"as it was", func(*file) {}, true},
		{"of another version", func(f *file) { f.Version = 9 }, false},
		{"of another consul", func(f *file) { f.Place = "x" }, false},
		{"of another service", func(f *file) { f.Service = "x" }, false},
		{"without its key", func(f *file) { f.Leaf.PrivateKeyPEM = "" }, false},
		{"without authorities", func(f *file) { f.Roots.Roots = nil }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f file
			if err := json.Unmarshal(text, &f); err != nil {
				t.Fatal(err)
			}
			tt.edit(&f)
			edited, _ := json.Marshal(f)
			path := filepath.Join(t.TempDir(), "mesh.json")
			if err := os.WriteFile(path, edited, 0o600); err != nil {
				t.Fatal(err)
			}
			agent := newAgent()
			agent.away = true
			b := start(t, agent, path)
			defer b.stop()
			pass(time.Second)
			if s := b.Status(); (b.Ready() == nil) != tt.used || s.Kept != tt.used || (s.ID == lictorID) != tt.used {
				t.Errorf("%s: status is %+v", tt.name, s)
			}
			agent.set(rootsPath, rootsOf(a))
			agent.set(leafPath, a.leaf(nil))
			agent.edit(func() { agent.away = false })
			pass(time.Minute)
			if s := b.Status(); s.Kept || b.Ready() != nil || len(s.Problems) > 0 {
				t.Errorf("%s: consul came, status is %+v", tt.name, s)
			}
		})
	}
}

// A file that cannot be written is told once, and lictor works on.
func TestAFileThatCannotBeWrittenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, agent := newAuthority(t, nil), newAgent()
		agent.set(rootsPath, rootsOf(a))
		agent.set(leafPath, a.leaf(nil))
		b := start(t, agent, filepath.Join(t.TempDir(), "none", "mesh.json"))
		pass(time.Minute)
		agent.set(leafPath, a.leaf(nil))
		pass(time.Minute)
		b.stop()
		if strings.Count(b.log.String(), "cannot keep the certificate of the mesh on disk") != 1 || b.Ready() != nil {
			t.Errorf("it said:\n%s", b.log)
		}
	})
}

func FuzzWhatConsulSays(f *testing.F) {
	a := newAuthority(f, nil)
	leaf, err := json.Marshal(a.leaf(nil))
	if err != nil {
		f.Fatal(err)
	}
	roots, err := json.Marshal(rootsOf(a))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(leaf))
	f.Add(string(roots))
	f.Fuzz(func(t *testing.T, text string) {
		if l, err := readLeaf(strings.NewReader(text)); err == nil && (l.id() == "" || len(l.cert.Certificate) == 0) {
			t.Errorf("it has no id or certificate: %+v", l)
		} else if errors.Is(err, ErrNoCertificate) {
			t.Error("Consul's fault is taken for lictor's")
		}
		if r, err := readRoots(strings.NewReader(text)); err == nil && (len(r.certs) == 0 || r.trustDomain == "" || len(r.certs)+len(r.between) > maxCerts) {
			t.Errorf("got %+v", r)
		}
	})
}
