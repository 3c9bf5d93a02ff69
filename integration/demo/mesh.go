package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hashicorp/consul/api"

	"lictor/integration/port"
)

// showMesh puts a service into Consul's mesh, behind the sidecar that comes with
// Consul, and has an intention forbid lictor to call it. The sidecar lives until
// the returned function is called.
func showMesh(ctx context.Context, gateway, dir string, agent *child) (stop func(), err error) {
	side, err := startMeshed(dir, agent)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			side.stop()
		}
	}()
	const path = "/meshed/hello"
	if err := agent.until(ctx, "the sidecar works", func() error { return answersWith(gateway+path, http.StatusOK, nil) }); err != nil {
		return nil, err
	}
	fmt.Printf("# this service is in the mesh: lictor shows a certificate to its sidecar, and the other way round\n")
	if err := answersWith(gateway+path, http.StatusOK, os.Stdout); err != nil {
		return nil, err
	}
	intentions := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "meshed",
		Sources: []*api.SourceIntention{{Name: "lictor", Action: api.IntentionActionDeny}}}
	if _, _, err := agent.client.ConfigEntries().Set(intentions, nil); err != nil {
		return nil, err
	}
	if err := agent.until(ctx, "the intention is in force", func() error { return answersWith(gateway+path, http.StatusForbidden, nil) }); err != nil {
		return nil, err
	}
	fmt.Printf("# forbid it\n$ consul intention create -deny lictor meshed\n\n")
	if err := answersWith(gateway+path, http.StatusForbidden, os.Stdout); err != nil {
		return nil, err
	}
	if _, err := agent.client.ConfigEntries().Delete(api.ServiceIntentions, "meshed", nil); err != nil {
		return nil, err
	}
	return side.stop, nil
}

// startMeshed registers a service with a sidecar, and runs both.
func startMeshed(dir string, agent *child) (*child, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from the mesh, you asked for %s", r.URL.Path)
	}))
	ports, err := port.Free(1)
	if err != nil {
		return nil, err
	}
	err = agent.client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "meshed", ID: "meshed", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{Port: ports[0],
			Checks: api.AgentServiceChecks{{TCP: fmt.Sprintf("127.0.0.1:%d", ports[0]), Interval: "1s", Status: api.HealthPassing}}}},
	})
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "sidecar.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(agent.cmd.Path, "connect", "proxy", "-sidecar-for", "meshed", "-http-addr", agent.address)
	cmd.Stdout, cmd.Stderr = log, log
	return start(cmd)
}

// answersWith reports as an error that url is answered otherwise than by the
// status, and shows the request on out, if it is not nil, as curl would.
func answersWith(url string, want int, out io.Writer) error {
	resp, err := http.Get("http://" + url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("got %s, want %d", resp.Status, want)
	}
	if out != nil {
		fmt.Fprintf(out, "$ curl -i 'http://%s'\n%s %s\n\n%s\n\n", url, resp.Proto, resp.Status, strings.TrimSpace(string(body)))
	}
	return err
}
