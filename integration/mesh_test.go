//go:build integration

package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// requireMesh is a lictor that reaches nothing but the mesh of c. It keeps no
// connection to an instance unless rest says so.
func requireMesh(t *testing.T, c *consulAgent, dataDir, rest string) *lictorProcess {
	t.Helper()
	p := startLictor(t, lictorConfig{DataDir: dataDir, Rest: consulConfig(c, `connect = "require"`) + rest})
	p.Ready(t)
	return p
}

const noneKept = "dispatch \"http\" {\n  max_idle_per_instance = 0\n}\n"

// TestMeshIntentions: K3, by a real sidecar, with ACLs that deny by default, and
// then intentions do so as well.
func TestMeshIntentions(t *testing.T) {
	together(t)
	byAHeedfulAgent(t, "11111111-2222-3333-4444-000000000001", heedsIntentions)
}

func heedsIntentions(t *testing.T, c *consulAgent) bool {
	b := startBackend(t, "hello")
	register(t, c, "web", "web", b.Addr, withSidecar(t))
	startSidecar(t, c, "web")
	p := requireMesh(t, c, "", noneKept)

	p.asks(t, soon, "/web/", 403, `"reason": "intention"`)
	if e := explained(t, p, "/web/"); e.Dispatch.Intention != "denied" || e.Status != 403 || e.Reason != "intention" {
		t.Errorf("denied: explained as %+v, %+v", e, e.Dispatch)
	}
	intention(t, c, "web", api.IntentionActionAllow)
	p.asks(t, soon, "/web/", 200, "hello")
	if e := explained(t, p, "/web/"); e.Dispatch.Intention != "allowed" || e.Status != 200 {
		t.Errorf("allowed: explained as %+v, %+v", e, e.Dispatch)
	}
	if !heeded(t, c, "web", api.IntentionActionDeny) {
		return false
	}
	p.asks(t, soon, "/web/", 403, `"reason": "intention"`)
	for range 50 {
		if status, body := fetch(t, "http://"+p.Gateway+"/web/"); status != 403 {
			t.Errorf("it is denied: got %d %q", status, body)
		}
	}
	_, metrics := fetch(t, "http://"+p.Admin+"/metrics")
	if !strings.Contains(metrics, `listener="gateway",mode="enforce",reason="intention"`) || !strings.Contains(metrics, "lictor_mesh_certificate_seconds 2") {
		t.Errorf("metrics say nothing of it:\n%s", metrics)
	}
	st := statusOf(t, p)
	if st.Mesh == nil || !strings.HasSuffix(st.Mesh.ID, "/ns/default/dc/dc1/svc/lictor") || st.Mesh.Authorities != 1 || st.Mesh.Contact == nil || len(st.Problems) > 0 {
		t.Errorf("status says %+v, problems %q", st.Mesh, st.Problems)
	}
	if strings.Contains(p.Log(), "instance is ejected") {
		t.Error("a sidecar that refuses is ejected")
	}
	return true
}

// TestMeshRights: the rights of a gateway are enough for the mesh (K5).
func TestMeshRights(t *testing.T) {
	together(t)
	byAHeedfulAgent(t, "11111111-2222-3333-4444-000000000003", heedsThemByItsRights)
}

func heedsThemByItsRights(t *testing.T, c *consulAgent) bool {
	b := startBackend(t, "hello")
	register(t, c, "web", "web", b.Addr, withSidecar(t))
	startSidecar(t, c, "web")
	intention(t, c, "web", api.IntentionActionAllow)
	who := newBearer(t, c, "lictor", rights(t))
	p := requireMesh(t, &consulAgent{Addr: c.Addr, Token: who.secret}, "", "")
	p.asks(t, soon, "/web/", 200, "hello")
	if e := explained(t, p, "/web/"); e.Dispatch.Intention != "allowed" {
		t.Errorf("explained as %+v", e.Dispatch)
	}
	if !heeded(t, c, "web", api.IntentionActionDeny) {
		return false
	}
	p.asks(t, soon, "/web/", 403, `"intention"`) // though the connection was kept
	if st := statusOf(t, p); len(st.Problems) > 0 {
		t.Errorf("problems are %q", st.Problems)
	}
	return true
}

// TestMeshNeedsTheRight: without the right to write the service lictor there is no
// certificate, and that is said.
func TestMeshNeedsTheRight(t *testing.T) {
	together(t)
	c := startConsul(t, withACL("11111111-2222-3333-4444-000000000002"))
	_, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "less", Rules: `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } key_prefix "" { policy = "read" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: "less"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	peer := startMeshPeer(t, c, "web")
	register(t, c, "web", "web", peer.Addr, native)
	c.Token = token.SecretID
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, `connect = "require"`)})
	eventually(t, soon, "it is told", func() error {
		if log := p.Log(); !strings.Contains(log, "consul refuses lictor its certificate of the mesh") {
			return fmt.Errorf("log:\n%s", log)
		}
		return nil
	})
	status, body := fetch(t, "http://"+p.Admin+"/readyz")
	if all := strings.Join(statusOf(t, p).Problems, "\n"); status != 503 || !strings.Contains(all, "mesh: lictor has no certificate of the mesh") || !strings.Contains(all, "403") {
		t.Errorf("ready is %d %s, problems:\n%s", status, body, all)
	}
	p.asks(t, soon, "/web/", 503, `"reason": "unreachable"`)
}

// TestMeshPreferAndRequire: a service that comes into the mesh and leaves it.
func TestMeshPreferAndRequire(t *testing.T) {
	together(t)
	c := startConsul(t)
	b := startBackend(t, "hello")
	register(t, c, "web", "web", b.Addr)
	prefer := startLictor(t, lictorConfig{Rest: consulConfig(c, `connect = "prefer"`)})
	require := requireMesh(t, c, "", "")
	prefer.Ready(t)
	prefer.asks(t, soon, "/web/", 200, "hello")
	require.asks(t, soon, "/web/", 503, `"reason": "no_healthy_instance"`)

	register(t, c, "web", "web", b.Addr, withSidecar(t))
	stop := startSidecar(t, c, "web")
	require.asks(t, soon, "/web/", 200, "hello")
	eventually(t, soon, "both go by the mesh", func() error {
		for _, p := range []*lictorProcess{prefer, require} {
			if got := instancesOf(statusOf(t, p), "web"); !strings.HasPrefix(got, "mesh ") || strings.Contains(got, b.Addr) {
				return fmt.Errorf("instances are %q", got)
			}
		}
		return nil
	})
	over := askAll(t, "http://"+prefer.Gateway+"/web/")
	holds(t, time.Second, "it serves", func() error { return nil })
	if n := over(); n == 0 {
		t.Error("nothing was asked")
	}
	deregister(t, c, "web-sidecar-proxy")
	stop()
	prefer.asks(t, soon, "/web/", 200, "hello")
	eventually(t, soon, "the mesh has no instance", func() error {
		if got := instancesOf(statusOf(t, require), "web"); got != "" {
			return fmt.Errorf("instances are %q", got)
		}
		return nil
	})
	holds(t, 2*time.Second, "it is not reached otherwise", func() error {
		if status, body := fetch(t, "http://"+require.Gateway+"/web/"); status != 503 {
			return fmt.Errorf("got %d %q", status, body)
		}
		return nil
	})
}

// TestMeshWrongPeer: a peer with a certificate of the mesh, but another service's.
func TestMeshWrongPeer(t *testing.T) {
	together(t)
	c := startConsul(t)
	right, wrong := startMeshPeer(t, c, "web"), startMeshPeer(t, c, "other")
	register(t, c, "web", "web", right.Addr, native)
	register(t, c, "taken", "taken", wrong.Addr, native)
	p := requireMesh(t, c, "", "")
	p.asks(t, soon, "/web/", 200, "/ns/default/dc/dc1/svc/lictor")
	p.asks(t, soon, "/taken/", 503, `"reason": "unreachable"`)
	register(t, c, "taken", "more", right.Addr, native) // of two, one is ejected, and says why
	eventually(t, soon, "status says who it is", func() error {
		fetch(t, "http://"+p.Gateway+"/taken/")
		for _, i := range explained(t, p, "/taken/").Dispatch.Instances {
			if strings.Contains(i.Note, "/svc/taken") && strings.Contains(i.Note, "the peer is not trusted: it is ") {
				return nil
			}
		}
		return fmt.Errorf("explained as %+v", explained(t, p, "/taken/").Dispatch)
	})
	if n := wrong.Came.Load(); n != 0 {
		t.Errorf("%d requests came to the wrong peer", n)
	}
}

// newCAKey is the private key of another authority.
func newCAKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// TestMeshAuthorityRotates: under load, by real sidecars; lictor's certificate and
// those of the sidecars follow within half a minute (Consul spreads them).
func TestMeshAuthorityRotates(t *testing.T) {
	together(t)
	c := startConsul(t)
	a, b := startBackend(t, "hello"), startBackend(t, "hello")
	register(t, c, "web", "a", a.Addr, withSidecar(t))
	register(t, c, "web", "b", b.Addr, withSidecar(t))
	startSidecar(t, c, "a")
	startSidecar(t, c, "b")
	all := []*lictorProcess{requireMesh(t, c, "", ""), requireMesh(t, c, "", noneKept)}
	for _, p := range all {
		p.asks(t, soon, "/web/", 200, "hello")
		stop := askAll(t, "http://"+p.Gateway+"/web/")
		defer func() { t.Logf("%d requests", stop()) }()
	}
	old, before := activeRoot(t, c), statusOf(t, all[0]).Mesh
	setCA(t, c, map[string]any{"PrivateKey": newCAKey(t)})
	if activeRoot(t, c) == old {
		t.Fatal("the authority is the same")
	}
	for _, p := range all {
		eventually(t, time.Minute, "lictor has a certificate of the new authority", func() error {
			if st := statusOf(t, p).Mesh; st.Authorities != 2 || !st.NotAfter.After(*before.NotAfter) {
				return fmt.Errorf("status says %+v", st)
			}
			return nil
		})
	}
	for _, id := range []string{"a", "b"} {
		eventually(t, time.Minute, "so has the sidecar of "+id, func() error { return signedByActive(t, c, id) })
	}
}

// TestMeshCertificateRotates: under load, every two seconds. Consul hands out
// another certificate at every question if one holds for less than ten minutes.
func TestMeshCertificateRotates(t *testing.T) {
	together(t)
	c := startConsul(t)
	peer := startMeshPeer(t, c, "web")
	register(t, c, "web", "web", peer.Addr, native)
	setCA(t, c, map[string]any{"LeafCertTTL": "9m", "SkipValidate": true, "CSRMaxPerSecond": 5})
	p := requireMesh(t, c, "", "")
	p.asks(t, soon, "/web/", 200, "svc/lictor")
	stop := askAll(t, "http://"+p.Gateway+"/web/")
	seen := map[time.Time]bool{}
	eventually(t, time.Minute, "six certificates came", func() error {
		if seen[*statusOf(t, p).Mesh.NotAfter] = true; len(seen) < 6 {
			return fmt.Errorf("%d came", len(seen))
		}
		return nil
	})
	if n := stop(); n < 100 {
		t.Errorf("only %d requests were sent", n)
	}
}

// TestMeshWithoutConsul: the last certificate serves on while Consul is away, over
// a restart too, until it runs out; then nothing is sent, and Consul's return mends it.
func TestMeshWithoutConsul(t *testing.T) {
	together(t)
	c := startConsul(t, persistent(t))
	peer := startMeshPeer(t, c, "web") // its own certificate holds for days
	register(t, c, "web", "web", peer.Addr, native)
	setCA(t, c, map[string]any{"LeafCertTTL": "100s", // of which one minute is over from the start
		"SkipValidate": true, "CSRMaxPerSecond": 5})
	dir := t.TempDir()
	p := requireMesh(t, c, dir, noneKept)
	p.asks(t, soon, "/web/", 200, "svc/lictor")
	file := filepath.Join(dir, "mesh.json")
	eventually(t, soon, "the certificate is kept", func() error { _, err := os.Stat(file); return err })
	eventually(t, soon, "the service is kept", func() error {
		text, err := os.ReadFile(filepath.Join(dir, "catalog-consul.json"))
		if err == nil && !strings.Contains(string(text), "/svc/web") {
			err = fmt.Errorf("it holds %s", text)
		}
		return err
	})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	c.Kill(t)
	p.Kill(t)
	p.Start(t)
	p.asks(t, soon, "/web/", 200, "svc/lictor")
	if st := statusOf(t, p); !st.Mesh.LastGood || st.Mesh.Contact != nil {
		t.Errorf("a start without Consul: status says %+v", st.Mesh)
	}
	p.asks(t, time.Minute, "/web/", 503, `"reason": "unreachable"`)
	came := peer.Came.Load()
	if all := strings.Join(statusOf(t, p).Problems, "\n"); !strings.Contains(all, "it ran out at ") {
		t.Errorf("problems are:\n%s", all)
	}
	holds(t, time.Second, "nothing is sent", func() error {
		if status, body := fetch(t, "http://"+p.Gateway+"/web/"); status != 503 || peer.Came.Load() != came {
			return fmt.Errorf("got %d %q", status, body)
		}
		return nil
	})
	c.Start(t)
	p.asks(t, 30*time.Second, "/web/", 200, "svc/lictor")
	if _, body := fetch(t, "http://"+p.Admin+"/status"); strings.Contains(body+p.Log(), "PRIVATE KEY") {
		t.Error("a key stands in the status or the log")
	}
}

// TestMeshInside: HTTP/2 inside of the mesh's TLS, through a real sidecar.
func TestMeshInside(t *testing.T) {
	together(t)
	c := startConsul(t)
	b := startH2CBackend(t)
	register(t, c, "h2", "h2", b, withMeta(map[string]string{"lictor-protocol": "h2c"}), withSidecar(t))
	startSidecar(t, c, "h2")
	p := requireMesh(t, c, "", "")
	p.asks(t, soon, "/h2/", 200, "HTTP/2.0")
}
