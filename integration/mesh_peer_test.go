//go:build integration

package integration_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	adminapi "lictor/admin/api"
)

// withSidecar registers a sidecar beside the instance, at a port of its own. Its
// health is whether it listens.
func withSidecar(t *testing.T, edit ...func(*api.AgentServiceRegistration)) registerOption {
	side := &api.AgentServiceRegistration{Port: freePort(t)}
	side.Checks = api.AgentServiceChecks{{TCP: fmt.Sprintf("127.0.0.1:%d", side.Port), Interval: "100ms", Status: api.HealthPassing}}
	for _, e := range edit {
		e(side)
	}
	return func(r *api.AgentServiceRegistration) { r.Connect = &api.AgentServiceConnect{SidecarService: side} }
}

// startSidecar runs the sidecar of an instance, as it comes with Consul, and waits
// until it takes connections. It lives until the returned function is called, or
// the test ends.
func startSidecar(t *testing.T, c *consulAgent, id string) (stop func()) {
	t.Helper()
	var output lockedBuffer
	cmd := exec.Command(c.bin, "connect", "proxy", "-sidecar-for", id, "-http-addr", c.Addr, "-token", c.Token, "-log-level", "warn")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(exited)
	}()
	stop = func() {
		_ = cmd.Process.Kill() // it may be gone already
		<-exited
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("the sidecar of %s said:\n%s", id, output.String())
		}
	})
	side, _, err := c.Client.Agent().Service(id+"-sidecar-proxy", nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "the sidecar listens", func() error {
		nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", side.Port))
		if err == nil {
			nc.Close()
		}
		return err
	})
	return stop
}

// meshPeer is an instance that speaks for itself in the mesh. It believes who has
// a certificate of the mesh, without asking Consul.
type meshPeer struct {
	Addr string
	Came atomic.Int32 // requests
}

// startMeshPeer serves with the certificate of a service, as the agent has it now.
func startMeshPeer(t *testing.T, c *consulAgent, service string) *meshPeer {
	t.Helper()
	leaf, _, err := c.Client.Agent().ConnectCALeaf(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := c.Client.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for _, root := range roots.Roots {
		pool.AppendCertsFromPEM([]byte(root.RootCertPEM))
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	p := &meshPeer{Addr: l.Addr().String()}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.Came.Add(1)
		who := r.TLS.PeerCertificates[0].URIs[0]
		fmt.Fprint(w, who.Path)
	})}
	go srv.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { srv.Close() })
	return p
}

func native(r *api.AgentServiceRegistration) { r.Connect = &api.AgentServiceConnect{Native: true} }

// intention lets lictor call a service, or not.
func intention(t *testing.T, c *consulAgent, service string, action api.IntentionAction) {
	t.Helper()
	_, _, err := c.Client.ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: service, Sources: []*api.SourceIntention{{Name: "lictor", Action: action}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// heeded is intention, and reports whether the agent lets sidecars know of it. The
// agent of Consul 1.22.5 at times follows the intentions of a service no further,
// for minutes, once it was asked about them: then its sidecars admit whom they
// admitted before.
func heeded(t *testing.T, c *consulAgent, service string, action api.IntentionAction) bool {
	t.Helper()
	intention(t, c, service, action)
	leaf, _, err := c.Client.Agent().ConnectCALeaf("lictor", nil)
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		says, err := c.Client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{
			Target: service, ClientCertURI: leaf.ServiceURI, ClientCertSerial: leaf.SerialNumber})
		if err != nil {
			t.Fatal(err)
		}
		if says.Authorized == (action == api.IntentionActionAllow) {
			return true
		}
	}
	return false
}

// byAHeedfulAgent runs a test with one Consul after the other, until it says that
// intentions were heeded.
func byAHeedfulAgent(t *testing.T, token string, test func(t *testing.T, c *consulAgent) (heeded bool)) {
	t.Helper()
	heeded := false
	for n := 0; n < 10 && !heeded && !t.Failed(); n++ {
		t.Run(fmt.Sprint("Consul ", n), func(t *testing.T) { heeded = test(t, startConsul(t, withACL(token))) })
	}
	if !heeded {
		t.Error("ten agents of Consul did not heed an intention")
	}
}

// setCA changes the mesh's authority. A private key that is another makes it another.
func setCA(t *testing.T, c *consulAgent, config map[string]any) {
	t.Helper()
	eventually(t, soon, "the authority is changed", func() error { // it may be at work
		now, _, err := c.Client.Connect().CAGetConfig(nil)
		if err != nil {
			return err
		}
		for key, value := range config {
			now.Config[key] = value
		}
		_, err = c.Client.Connect().CASetConfig(now, nil)
		return err
	})
}

// activeRoot is the authority that signs now.
func activeRoot(t *testing.T, c *consulAgent) string {
	t.Helper()
	roots, _, err := c.Client.Connect().CARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	return roots.ActiveRootID
}

// signedByActive reports as an error that the sidecar of an instance does not show a
// certificate yet of the authority that signs now.
func signedByActive(t *testing.T, c *consulAgent, id string) error {
	t.Helper()
	side, _, err := c.Client.Agent().Service(id+"-sidecar-proxy", nil)
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := c.Client.Connect().CARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	//nolint:gosec // whom it shows itself as is looked at below
	nc, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", side.Port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer nc.Close()
	for _, root := range roots.Roots {
		block, _ := pem.Decode([]byte(root.RootCertPEM))
		if !root.Active || block == nil {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		return nc.ConnectionState().PeerCertificates[0].CheckSignatureFrom(cert)
	}
	return errors.New("no authority signs")
}

// statusOf is the whole status.
func statusOf(t *testing.T, p *lictorProcess) (st adminapi.Status) {
	t.Helper()
	status, body := fetch(t, "http://"+p.Admin+"/status")
	if err := json.Unmarshal([]byte(body), &st); err != nil || status != http.StatusOK {
		t.Fatalf("status: %d %q, %v", status, body, err)
	}
	return st
}

// instancesOf tells which instances of a service are known, "mesh" before those that are in it.
func instancesOf(st adminapi.Status, service string) string {
	var all []string
	for _, s := range st.Services {
		if s.Name != service {
			continue
		}
		for _, i := range s.Instances {
			text := i.Address
			if i.Mesh != "" {
				text = "mesh " + text
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}

// asks waits until a path is answered by the status, with a text in its body.
func (p *lictorProcess) asks(t *testing.T, limit time.Duration, path string, want int, text string) {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("%s is %d %s", path, want, text), func() error {
		status, body := fetch(t, "http://"+p.Gateway+path)
		if status != want || !strings.Contains(body, text) {
			return fmt.Errorf("got %d %q", status, body)
		}
		return nil
	})
}

// explained is what /explain says of a path.
func explained(t *testing.T, p *lictorProcess, path string) (e adminapi.Explanation) {
	t.Helper()
	resp, err := client.Post("http://"+p.Admin+"/explain", "application/json", strings.NewReader(fmt.Sprintf(`{"url": %q}`, path)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != http.StatusOK || e.Dispatch == nil {
		t.Fatalf("explain: %s %+v %v", resp.Status, e, err)
	}
	return e
}

// askAll asks for a path all the time, by kept connections, until stop is called,
// which returns how many requests there were and fails the test for each that
// was not 200.
func askAll(t *testing.T, url string) (stop func() int64) {
	t.Helper()
	over := make(chan struct{})
	done := make(chan struct{}, loaders)
	var sent, failed atomic.Int64
	for range loaders {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
				sent.Add(1)
				if err := get200(url); err != nil && failed.Add(1) <= 10 {
					t.Errorf("at %s: %v", time.Now().Format("15:04:05.000"), err)
				}
			}
		}()
	}
	return func() int64 {
		close(over)
		for range loaders {
			<-done
		}
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d requests failed", n, sent.Load())
		}
		return sent.Load()
	}
}

const loaders = 8

func get200(url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s", resp.Status, body)
	}
	return err
}

// startH2CBackend serves HTTP/2 alone, without TLS, and returns its address.
func startH2CBackend(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}
