package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"lictor/integration/port"
)

// lab is the program under attack with everything around it. One lictor serves
// in plain text and the forward proxy, a second one by TLS.
type lab struct {
	dir     string
	program string
	cert    tls.Certificate
	closers []func()

	plain, secure lictor
	egress        string   // address of the plain one's forward proxy
	policy        string   // directory of its policy
	targets       []string // addresses of the hostile backends
}

// lictor is one process.
type lictor struct {
	name    string
	gateway string
	admin   string
	config  string
	log     string // path of what it said

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd is over
	lives  int           // how often it was started
	ready  bool          // it has said so since its last start
}

func newLab(o options) (*lab, error) {
	dir, err := os.MkdirTemp("", "adversary-")
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs(o.lictor)
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, program: program, policy: filepath.Join(dir, "policy")}
	l.closers = append(l.closers, func() { os.RemoveAll(dir) })
	if err := l.build(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// build opens the backends and writes certificates, policy and configurations.
func (l *lab) build() error {
	cert, err := selfSigned(l.dir)
	if err != nil {
		return err
	}
	l.cert = cert
	ports, err := port.Free(5)
	if err != nil {
		return err
	}
	address := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	l.egress = address(4)
	l.plain = lictor{name: "plain", gateway: address(0), admin: address(1), config: filepath.Join(l.dir, "plain.hcl"), log: filepath.Join(l.dir, "plain.log")}
	l.secure = lictor{name: "secure", gateway: address(2), admin: address(3), config: filepath.Join(l.dir, "secure.hcl"), log: filepath.Join(l.dir, "secure.log")}

	backends, err := l.backends()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(l.policy, "consumers"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(l.policy, "blacklist"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.policy, "blacklist", "closed"), []byte("/calm/closed\n"), 0o644); err != nil {
		return err
	}
	extra := fmt.Sprintf("egress {\n address = %q\n deny_private = false\n connect_ports = []\n}\npolicy {\n store = \"file\"\n dir = %q\n}\nconsul {\n address = %q\n}\nresolver \"consul\" {\n}\n",
		l.egress, l.policy, backends["consul"])
	delete(backends, "consul")
	if err := l.plain.write("", backends, extra); err != nil {
		return err
	}
	secure := fmt.Sprintf("tls {\n cert_file = %q\n key_file = %q\n}\n", filepath.Join(l.dir, "cert.pem"), filepath.Join(l.dir, "cert.key"))
	return l.secure.write(secure, backends, "policy {\n store = \"memory\"\n}\n")
}

// write writes the configuration: time limits are short, so that what the storm
// leaves behind ends soon after it.
func (p *lictor) write(gateway string, services map[string]string, rest string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir = \"\"\ngateway {\n address = %q\n timeout = \"8s\"\n header_timeout = \"5s\"\n idle_timeout = \"5s\"\n stream_idle = \"5s\"\n drain = \"2s\"\n%s}\n", p.gateway, gateway)
	fmt.Fprintf(&b, "admin {\n address = %q\n}\n%sresolver \"static\" {\n services = {\n", p.admin, rest)
	for name, url := range services {
		fmt.Fprintf(&b, "  %s = [%q]\n", name, url)
	}
	fmt.Fprintf(&b, " }\n}\ndispatch \"http\" {\n upstream_tls {\n ca_file = %q\n }\n}\n", filepath.Join(filepath.Dir(p.config), "cert.pem"))
	return os.WriteFile(p.config, []byte(b.String()), 0o600)
}

// start starts both processes and waits until they answer.
func (l *lab) start(ctx context.Context) error {
	for _, p := range []*lictor{&l.plain, &l.secure} {
		if err := p.start(ctx, l.program); err != nil {
			return err
		}
		l.closers = append(l.closers, p.kill)
	}
	return nil
}

func (p *lictor) start(ctx context.Context, program string) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	defer lying.Store(lying.Swap(false)) // a start needs a good answer of Consul
	cmd := exec.Command(program, "run", "-config", p.config)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // told by exited
		close(exited)
	}()
	p.mu.Lock()
	p.cmd, p.exited, p.ready = cmd, exited, false
	p.lives++
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var told []byte
	for {
		if resp, err := http.Get("http://" + p.admin + "/readyz"); err == nil {
			told, _ = io.ReadAll(resp.Body) // only told
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				p.mu.Lock()
				p.ready = true
				p.mu.Unlock()
				return nil
			}
		}
		select {
		case <-exited:
			return fmt.Errorf("lictor ended at its start:\n%s", p.said())
		case <-ctx.Done():
			return fmt.Errorf("lictor did not become ready: %s\n%s", told, p.said())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// said is the end of what the process wrote.
func (p *lictor) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if i := bytes.Index(text, []byte("panic: ")); i >= 0 {
		text = text[i:]
		return string(text[:min(len(text), 1500)])
	}
	if i := bytes.Index(text, []byte("fatal error: ")); i >= 0 {
		text = text[i:]
		return string(text[:min(len(text), 1500)])
	}
	return string(text[max(0, len(text)-1500):])
}

// process returns the running process and a channel that is closed at its end.
func (p *lictor) process() (*os.Process, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process, p.exited
}

func (p *lictor) alive() bool {
	_, exited := p.process()
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// life numbers the processes that there were, 0 while there is none that
// serves: what fails while it changes fails for a reason that is told already.
func (p *lictor) life() int {
	if !p.alive() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready {
		return 0
	}
	return p.lives
}

func (p *lictor) signal(sig os.Signal) {
	process, _ := p.process()
	_ = process.Signal(sig) // it may be gone, which is told elsewhere
}

func (p *lictor) kill() {
	p.signal(syscall.SIGKILL)
	_, exited := p.process()
	<-exited
}

func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
}

// figures are what must be back after a storm.
type figures struct {
	goroutines, descriptors, resident int // resident in KiB
}

func (f figures) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d MiB", f.goroutines, f.descriptors, f.resident>>10)
}

// measure returns the figures of both processes together.
func (l *lab) measure(ctx context.Context) (sum figures, err error) {
	for _, p := range []*lictor{&l.plain, &l.secure} {
		f, err := p.measure(ctx)
		if err != nil {
			return sum, err
		}
		sum.goroutines += f.goroutines
		sum.descriptors += f.descriptors
		sum.resident += f.resident
	}
	return sum, nil
}

func (p *lictor) measure(ctx context.Context) (f figures, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return f, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			f.goroutines, err = strconv.Atoi(n)
		}
	}
	if err = errors.Join(err, lines.Err()); err != nil {
		return f, err
	}
	process, _ := p.process()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", process.Pid))
	f.descriptors = len(open)
	f.resident = p.resident()
	return f, err
}

// resident is the resident memory in KiB, 0 if the process is gone.
func (p *lictor) resident() int {
	process, _ := p.process()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
	if err != nil {
		return 0
	}
	_, line, _ := strings.Cut(string(text), "VmRSS:")
	var n int
	fmt.Sscan(line, &n)
	return n
}

// selfSigned makes a certificate for 127.0.0.1 and writes it to dir.
func selfSigned(dir string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "adversary"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "cert.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
