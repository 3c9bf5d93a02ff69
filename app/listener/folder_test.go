package listener

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/app/listener/certtest"
)

// desk is a directory of certificates and who serves them.
type desk struct {
	*testing.T
	dir string
	ca  *certtest.CA
	tls *TLS
	log bytes.Buffer
}

func newDesk(t *testing.T) *desk { return &desk{T: t, dir: t.TempDir(), ca: certtest.NewCA(t)} }

// serve begins, with further pairs or without.
func (d *desk) serve(pairs ...Pair) {
	d.Helper()
	var err error
	if d.tls, err = NewTLS(TLSConfig{Pairs: pairs, Dir: d.dir, Log: hclog.New(&hclog.LoggerOptions{Output: &d.log})}); err != nil {
		d.Fatal(err)
	}
}

// put makes the files of a certificate, its key in a file of its own.
func (d *desk) put(stem string, names ...string) {
	d.Helper()
	cert, key := certtest.Write(d, d.TempDir(), stem, d.ca.Issue(d, names...))
	d.move(key, stem+".key")
	d.move(cert, stem+".crt")
}

func (d *desk) move(from, name string) {
	d.Helper()
	if err := os.Rename(from, filepath.Join(d.dir, name)); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) write(name, text string) {
	d.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) remove(names ...string) {
	d.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
			d.Fatal(err)
		}
	}
}

// shown is the common name of what a client sees that asks for a server, or why
// it sees none.
func (d *desk) shown(server string) string {
	d.Helper()
	state, err := shake(d.T, d.tls.Config(), &tls.Config{ServerName: server, InsecureSkipVerify: true})
	if err != nil {
		return "none"
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// shows looks at the files and compares what clients see: server, common name ...
func (d *desk) shows(want ...string) {
	d.Helper()
	d.tls.look(time.Now())
	for i := 0; i < len(want); i += 2 {
		if got := d.shown(want[i]); got != want[i+1] {
			d.Errorf("%s: got the certificate %q, want %q", want[i], got, want[i+1])
		}
	}
}

func TestCertificatesOfADirectoryComeAndGo(t *testing.T) {
	d := newDesk(t)
	d.serve()
	d.shows("a.test", "none")
	if told := d.tls.Problems(); len(told) != 1 || !strings.Contains(told[0], "every handshake fails") {
		t.Errorf("status tells %q", told)
	}
	d.put("b", "b1", "b.test")
	d.put("c", "c1", "*.c.test", "c.test")
	d.shows("b.test", "b1", "B.TEST", "b1", "x.c.test", "c1", "c.test", "c1", "x.y.c.test", "b1", "other.test", "b1", "", "b1")
	d.put("d", "d1", "x.c.test")
	d.shows("x.c.test", "d1", "y.c.test", "c1")
	d.put("b", "b2", "b.test")
	d.shows("b.test", "b2")
	d.remove("d.crt", "d.key")
	d.shows("x.c.test", "c1")
	if told := d.tls.Problems(); len(told) > 0 {
		t.Errorf("status tells %q", told)
	}
}

func TestABadPairLeavesTheLastGoodOneAndAllOthers(t *testing.T) {
	big := strings.Repeat("x", maxPEM+1)
	tests := []struct {
		name, told string
		spoil      func(d *desk)
	}{
		{"nonsense for a certificate", "a.crt: tls: failed to find any PEM data", func(d *desk) { d.write("a.crt", "nonsense") }},
		{"the key of another one", "private key does not match", func(d *desk) {
			d.put("spare", "spare", "spare.test")
			d.move(filepath.Join(d.dir, "spare.key"), "a.key")
			d.remove("spare.crt")
		}},
		{"no key any more", "there is no key for it", func(d *desk) { d.remove("a.key") }},
		{"no certificate any more, but its key", "a.crt: no such file", func(d *desk) { d.remove("a.crt") }},
		{"a key that is too long", "more than 1048576 bytes", func(d *desk) { d.write("a.key", big) }},
		{"a pipe that nobody writes to", "is no file", func(d *desk) {
			d.remove("a.key")
			if err := syscall.Mkfifo(filepath.Join(d.dir, "a.key"), 0o600); err != nil {
				d.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.put("a", "a1", "a.test")
			d.put("b", "b1", "b.test")
			d.serve()
			tt.spoil(d)
			d.put("b", "b2", "b.test")
			d.shows("a.test", "a1", "b.test", "b2")
			d.shows("a.test", "a1", "b.test", "b2")
			told := d.tls.Problems()
			if len(told) != 1 || !strings.Contains(told[0], tt.told) {
				t.Errorf("status tells %q, want %q", told, tt.told)
			}
			if n := strings.Count(d.log.String(), "keeping its former content"); n != 1 {
				t.Errorf("the log tells %d times:\n%s", n, &d.log)
			}
			_ = os.Remove(filepath.Join(d.dir, "a.key")) // where it is a pipe
			d.put("a", "a2", "a.test")
			d.shows("a.test", "a2")
			if told := d.tls.Problems(); len(told) > 0 {
				t.Errorf("after it was repaired status tells %q", told)
			}
		})
	}
}

func TestABadPairDoesNotKeepLictorFromStarting(t *testing.T) {
	d := newDesk(t)
	d.write("a.crt", "nonsense")
	d.write("a.key", "nonsense")
	d.put("b", "b1", "b.test")
	d.serve()
	d.shows("a.test", "b1")
	if told := d.tls.Problems(); len(told) != 1 || !strings.Contains(told[0], "a.crt") {
		t.Errorf("status tells %q", told)
	}
	if _, err := NewTLS(TLSConfig{Dir: d.dir + "/none", Log: hclog.NewNullLogger()}); err == nil {
		t.Error("it starts without its directory")
	}
}

func TestAuthoritiesAndOtherFilesAreNoPairs(t *testing.T) {
	d := newDesk(t)
	d.put("tls", "t1", "t.test")
	d.move(d.ca.WriteCA(t, t.TempDir()), "ca.crt") // as cert-manager has it
	d.move(d.ca.WriteCA(t, t.TempDir()), "ca-bundle.pem")
	d.write("README", "not read")
	d.write(".hidden.crt", "not read")
	d.serve()
	d.shows("t.test", "t1", "", "t1")
	if told := d.tls.Problems(); len(told) > 0 {
		t.Errorf("status tells %q", told)
	}
	if !strings.Contains(d.log.String(), "ca.crt: there is no key for it") {
		t.Errorf("the log does not tell:\n%s", &d.log)
	}
}

func TestAPEMFileMayHoldItsKeyOrHaveItBeside(t *testing.T) {
	d := newDesk(t)
	cert, key := certtest.Write(t, t.TempDir(), "x", d.ca.Issue(t, "x1", "x.test"))
	var both []byte
	for _, file := range []string{key, cert} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	if rest, _ := pem.Decode(both); rest == nil {
		t.Fatal("no PEM")
	}
	d.write("x.pem", string(both))
	d.serve()
	d.shows("x.test", "x1")
	cert, key = certtest.Write(t, t.TempDir(), "x", d.ca.Issue(t, "x2", "x.test"))
	d.move(key, "x.key")
	d.move(cert, "x.pem")
	d.shows("x.test", "x2")
}

// TestACertificateThatIsAwayWhileItIsReplacedIsShown takes it away, by each of the names
// that it may have.
func TestACertificateThatIsAwayWhileItIsReplacedIsShown(t *testing.T) {
	for _, ext := range []string{".crt", ".pem"} {
		d := newDesk(t)
		d.put("a", "a1", "a.test")
		cert, key := certtest.Write(t, t.TempDir(), "x", d.ca.Issue(t, "x1", "x.test"))
		d.move(key, "x.key")
		d.move(cert, "x"+ext)
		d.serve()
		d.remove("x" + ext)
		d.shows("x.test", "x1")
		d.shows("x.test", "x1") // and is, as long as it is away
		if told := d.tls.Problems(); len(told) != 1 || !strings.Contains(told[0], "x"+ext) {
			t.Errorf("%s: status tells %q", ext, told)
		}
		d.remove("x.key")
		d.shows("x.test", "a1")
	}
}

// TestFilesThatKubernetesReplacesAtOneStroke plays its volumes: names lead over
// a link to a directory of each version.
func TestFilesThatKubernetesReplacesAtOneStroke(t *testing.T) {
	d := newDesk(t)
	version := func(n int) {
		dir := filepath.Join(d.dir, fmt.Sprintf("..v%d", n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := certtest.Write(t, dir, "tls", d.ca.Issue(t, fmt.Sprintf("v%d", n), "k.test"))
		d.move(cert, fmt.Sprintf("..v%d/tls.crt", n))
		d.move(key, fmt.Sprintf("..v%d/tls.key", n))
		if err := os.Symlink(filepath.Base(dir), filepath.Join(d.dir, "..new")); err != nil {
			t.Fatal(err)
		}
		d.move(filepath.Join(d.dir, "..new"), "..data")
	}
	version(1)
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(d.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	d.serve()
	d.shows("k.test", "v1")
	version(2)
	d.shows("k.test", "v2")
	if err := os.RemoveAll(filepath.Join(d.dir, "..v2")); err != nil {
		t.Fatal(err)
	}
	d.shows("k.test", "v2")
}

func TestOfSeveralCertificatesForANameTheOneThatHoldsLongestIsShown(t *testing.T) {
	d := newDesk(t)
	d.put("site-1", "old", "s.test")
	later := time.Now().Add(48 * time.Hour)
	cert, key := certtest.Write(t, t.TempDir(), "s", d.ca.Until(t, later, "new", "s.test"))
	d.move(cert, "site-2.crt")
	d.move(key, "site-2.key")
	d.serve()
	d.shows("s.test", "new", "", "old")
	if until := d.tls.Shown()["s.test"].Expires; !until.Before(later.Add(-time.Hour)) {
		t.Errorf("the first to expire is not told, but %v", until)
	}
	cert, key = certtest.Write(t, t.TempDir(), "s", d.ca.Issue(t, "named", "s.test"))
	d.serve(Pair{cert, key})
	d.shows("s.test", "named")
}

func TestADirectoryThatIsAwayOrHasTooMuchTakesNothingAway(t *testing.T) {
	d := newDesk(t)
	d.put("a", "a1", "a.test")
	d.serve()
	if err := os.Rename(d.dir, d.dir+".away"); err != nil {
		t.Fatal(err)
	}
	d.shows("a.test", "a1")
	d.shows("a.test", "a1")
	if told := strings.Join(d.tls.Problems(), "\n"); !strings.Contains(told, "cert_dir: open "+d.dir) {
		t.Errorf("status tells %q", told)
	}
	if err := os.Rename(d.dir+".away", d.dir); err != nil {
		t.Fatal(err)
	}
	d.put("a", "a2", "a.test")
	d.shows("a.test", "a2")
	defer func(pairs, names int) { maxPairs, maxNames = pairs, names }(maxPairs, maxNames)
	maxPairs, maxNames = 10, 40
	for i := range maxPairs {
		d.write(fmt.Sprintf("z%d.crt", i), "")
	}
	d.shows("a.test", "a2")
	if told := strings.Join(d.tls.Problems(), "\n"); !strings.Contains(told, "more than 10 certificates") {
		t.Errorf("status does not tell that there are too many")
	}
	for i := range maxNames - maxPairs {
		d.write(fmt.Sprintf("y%d.txt", i), "")
	}
	d.shows("a.test", "a2")
	if told := strings.Join(d.tls.Problems(), "\n"); !strings.Contains(told, "more than 40 files") {
		t.Errorf("status does not tell that there are too many files")
	}
}

func TestAKeyThatEverybodyMayReadIsTold(t *testing.T) {
	d := newDesk(t)
	d.put("a", "a1", "a.test")
	if err := os.Chmod(filepath.Join(d.dir, "a.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.serve()
	d.shows("a.test", "a1")
	if !strings.Contains(d.log.String(), "everybody on this machine may read") {
		t.Errorf("the log does not tell:\n%s", &d.log)
	}
}
