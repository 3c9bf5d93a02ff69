package mesh

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
)

const (
	testDomain = "11111111-2222-3333-4444-555555555555.consul"
	testWeb    = "/ns/default/dc/dc1/svc/web"
	testID     = "spiffe://" + testDomain + testWeb
	lictorID   = "spiffe://" + testDomain + "/ns/default/dc/dc1/svc/lictor"
)

// authority signs certificates of a mesh.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials struct {
	sync.Mutex
	last int64
}

func template(name string) *x509.Certificate {
	serials.Lock()
	defer serials.Unlock()
	serials.last++
	return &x509.Certificate{
		SerialNumber: big.NewInt(serials.last), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority returns one that is signed by another, nil for a root.
func newAuthority(t testing.TB, by *authority) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	tmpl := template("authority")
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage, tmpl.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	tmpl.SubjectKeyId = big.NewInt(time.Now().UnixNano() + tmpl.SerialNumber.Int64()).Bytes()
	if by == nil {
		by = &authority{cert: tmpl, key: a.key}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, a.key.Public(), by.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// issue signs a certificate that edit makes of a usual one.
func (a *authority) issue(edit func(*x509.Certificate), ids ...string) tls.Certificate {
	a.t.Helper()
	tmpl, key := template("service"), newKey(a.t)
	for _, id := range ids {
		u, err := url.Parse(id)
		if err != nil {
			a.t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	if edit != nil {
		edit(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// leaf is a certificate of lictor's as Consul answers it.
func (a *authority) leaf(edit func(*x509.Certificate)) leafAnswer {
	a.t.Helper()
	cert := a.issue(edit, lictorID)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return leafAnswer{
		CertPEM:       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
		PrivateKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
}

// rootsOf is what Consul answers about authorities.
func rootsOf(all ...*authority) rootsAnswer {
	said := rootsAnswer{TrustDomain: testDomain}
	for _, a := range all {
		said.Roots = append(said.Roots, rootAnswer{RootCert: pemOf(a.cert)})
	}
	return said
}

// fakeAgent answers what a Mesh asks, blocking queries too.
type fakeAgent struct {
	mu      sync.Mutex    // guards all
	index   uint64        // begins at 1: what was never set has an index too
	changed chan struct{} // closed at every change
	said    map[string]any
	at      map[string]uint64
	away    bool
	status  int // instead of 200; 0 = 200

	intention func(service string) (allowed bool, err error)
}

const (
	leafPath  = "/v1/agent/connect/ca/leaf/lictor"
	rootsPath = "/v1/agent/connect/ca/roots"
)

func newAgent() *fakeAgent {
	return &fakeAgent{changed: make(chan struct{}), said: map[string]any{}, at: map[string]uint64{"/v1/connect/intentions/match": 1}, index: 1}
}

func (f *fakeAgent) edit(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// set has the agent answer something else at path.
func (f *fakeAgent) set(path string, what any) {
	f.edit(func() {
		f.index++
		f.said[path], f.at[path] = what, f.index
	})
}

// RoundTrip implements [http.RoundTripper].
func (f *fakeAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	q, path := req.URL.Query(), req.URL.Path
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	over := time.Now().Add(wait)
	for {
		f.mu.Lock()
		if f.away {
			f.mu.Unlock()
			return nil, errors.New("connection refused")
		}
		changed := f.changed
		if f.at[path] > index || index == 0 || f.status != 0 || !time.Now().Before(over) {
			said, at, status, ask := f.said[path], f.at[path], f.status, f.intention
			f.mu.Unlock()
			if ask != nil && path == "/v1/connect/intentions/check" {
				allowed, err := ask(q.Get("source") + " to " + q.Get("destination"))
				if err != nil {
					return nil, err
				}
				said = map[string]bool{"Allowed": allowed}
			}
			return answer(status, at, said), nil
		}
		f.mu.Unlock()
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-changed:
		case <-time.After(time.Until(over)):
		}
	}
}

func answer(status int, index uint64, said any) *http.Response {
	text, err := json.Marshal(said)
	if err != nil {
		panic(err)
	}
	if status == 0 {
		status = http.StatusOK
	} else {
		text = []byte("the fake refuses")
	}
	return &http.Response{StatusCode: status, Header: http.Header{"X-Consul-Index": {strconv.FormatUint(index, 10)}},
		Body: io.NopCloser(bytes.NewReader(text))}
}

// bench is a Mesh that runs against a fake, in fake time.
type bench struct {
	*Mesh
	agent *fakeAgent
	log   *bytes.Buffer // read it while nothing runs
	stale atomic.Int32  // how often OnChange was called
	stop  func()
}

func newMesh(t testing.TB, agent http.RoundTripper, file string, log io.Writer) *Mesh {
	t.Helper()
	c, err := client.New(client.Config{API: &api.Config{Address: "consul.test", HttpClient: &http.Client{Transport: agent}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Client: c, Service: "lictor", File: file, Log: hclog.New(&hclog.LoggerOptions{Output: log, DisableTime: true})})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// start runs a Mesh; stop must be called in the same bubble.
func start(t *testing.T, agent *fakeAgent, file string) *bench {
	t.Helper()
	b := &bench{agent: agent, log: new(bytes.Buffer)}
	b.Mesh = newMesh(t, agent, file, b.log)
	b.OnChange(func() { b.stale.Add(1) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("it said:\n%s", b.log)
		}
		if strings.Contains(b.log.String(), "PRIVATE KEY") {
			t.Error("a key stands in the log")
		}
	}
	synctest.Wait()
	return b
}

// inMesh runs test in a bubble, with a Mesh that has what it needs.
func inMesh(t *testing.T, test func(b *bench, a *authority)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, agent := newAuthority(t, nil), newAgent()
		agent.set(rootsPath, rootsOf(a))
		agent.set(leafPath, a.leaf(nil))
		b := start(t, agent, "")
		defer b.stop()
		test(b, a)
	})
}

// pass lets time pass.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }
