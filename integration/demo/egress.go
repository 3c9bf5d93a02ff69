package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// showEgress has an application call outside through the forward proxy: what
// may be reached, what may not, and a blacklist that is written meanwhile. The
// "outside" is a server of the demo; allow_private lets the egress reach it.
func showEgress(ctx context.Context, egress string, agent *child) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from outside, you asked for %s", r.URL.Path)
	}))
	outside := "http://localhost:" + fmt.Sprint(l.Addr().(*net.TCPAddr).Port) + "/page"
	calls := []struct {
		says, url string
		want      int
	}{
		{"through the forward proxy an application may call outside", outside, 200},
		{"but not the metadata service of a cloud", "http://169.254.169.254/latest/meta-data/", 403},
		{"nor what keeps the policy, whatever lists say", "http://" + agent.address + "/v1/kv/lictor/policy/blacklist/demo", 403},
	}
	for _, c := range calls {
		fmt.Printf("# %s\n", c.says)
		if err := callOut(ctx, egress, c.url, c.want); err != nil {
			return err
		}
	}
	fmt.Printf("# forbid it, in Consul\n$ consul kv put lictor/policy/blacklist/demo localhost\n\n")
	if _, err := agent.client.KV().Put(&api.KVPair{Key: "lictor/policy/blacklist/demo", Value: []byte("localhost")}, nil); err != nil {
		return err
	}
	err = agent.until(ctx, "the blacklist is in force", func() error {
		status, _, err := throughProxy(ctx, egress, outside)
		if err == nil && status != http.StatusForbidden {
			err = errors.New("it is not yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("# and it is out of reach")
	return callOut(ctx, egress, outside, http.StatusForbidden)
}

// callOut shows a call as curl would.
func callOut(ctx context.Context, egress, target string, want int) error {
	fmt.Printf("$ curl -x http://%s '%s'\n", egress, target)
	status, body, err := throughProxy(ctx, egress, target)
	if err != nil {
		return err
	}
	fmt.Printf("%d %s\n\n%s\n\n", status, http.StatusText(status), strings.TrimSpace(body))
	if status != want {
		return fmt.Errorf("%s: got %d, want %d", target, status, want)
	}
	return nil
}

func throughProxy(ctx context.Context, egress, target string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, "", err
	}
	via := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: egress}), DisableKeepAlives: true}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}
