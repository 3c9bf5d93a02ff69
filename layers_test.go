package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestLayers checks who may import whom, indirect imports included. An entry of
// forbidden that ends in "/" stands for everything below it.
func TestLayers(t *testing.T) {
	const (
		consul = "github.com/hashicorp/consul/api"
		hcl    = "github.com/hashicorp/hcl/v2"
		hclog  = "github.com/hashicorp/go-hclog"
	)
	// The core is values: it can be read, tested and trusted without a network.
	core := []string{"net", "net/http", consul, hcl, hclog, "lictor/admin", "lictor/config", "lictor/proxy/gateway", "lictor/proxy/", "lictor/app/supervisor"}
	edge := []string{hcl, "lictor/admin", "lictor/config", "lictor/proxy/gateway", "lictor/proxy/", "lictor/app/supervisor"}
	forbidden := map[string][]string{
		"lictor/internal/consul":  {hcl, "lictor/admin", "lictor/config", "lictor/policy", "lictor/internal/consul/presence", "lictor/proxy/gateway", "lictor/proxy/", "lictor/resolver", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/internal/uri":     append([]string{"lictor/policy", "lictor/resolver"}, core...),
		"lictor/policy":           append([]string{"lictor/resolver", "lictor/policy/"}, core...),
		"lictor/resolver":         append([]string{"lictor/policy", "lictor/resolver/"}, core...),
		"lictor/proxy/middleware": {"net", "net/http", consul, hcl, hclog, "lictor/config", "lictor/proxy/gateway", "lictor/proxy/http1"},
		"lictor/resolver/consul":  append([]string{"lictor/policy"}, edge...),
		"lictor/resolver/eureka":  append([]string{"lictor/policy", consul}, edge...),
		"lictor/resolver/static":  append([]string{"lictor/policy", consul}, edge...),
		"lictor/config":           {"lictor/admin", "lictor/proxy/gateway", "lictor/proxy/http1", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/app/supervisor":   {"net/http", consul, hcl, "lictor/admin", "lictor/config", "lictor/proxy/gateway", "lictor/resolver"},
		"lictor/proxy/gateway":    {hcl, consul, "lictor/admin", "lictor/config", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/proxy/own":        {hcl, consul, "lictor/admin", "lictor/config", "lictor/policy", "lictor/proxy/gateway", "lictor/proxy/http1", "lictor/resolver", "lictor/app/supervisor"},
		"lictor/proxy/egress":     {hcl, consul, "lictor/admin", "lictor/config", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/proxy/egress/dns": {hcl, consul, "lictor/admin", "lictor/config", "lictor/policy", "lictor/proxy/gateway", "lictor/resolver", "lictor/app/supervisor"},
		"lictor/proxy/http2":      {hcl, consul, "lictor/admin", "lictor/config", "lictor/policy", "lictor/proxy/gateway", "lictor/resolver", "lictor/app/supervisor"},
		"lictor/app/listener":     {hcl, consul, "lictor/admin", "lictor/config", "lictor/policy", "lictor/proxy/gateway", "lictor/proxy/", "lictor/resolver", "lictor/supervisor"},
		"lictor/proxy/http1":      {hcl, consul, "lictor/admin", "lictor/config", "lictor/policy", "lictor/resolver", "lictor/app/supervisor"},
		"lictor/admin":            {"lictor/config", "lictor/proxy/gateway", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/admin/edit":       {"lictor/admin", "lictor/config", "lictor/proxy/gateway", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/admin/form":       {hcl, consul, "lictor/admin", "lictor/config", "lictor/policy", "lictor/proxy/gateway", "lictor/resolver"},
		"lictor/admin/access":     {"lictor/config", "lictor/proxy/gateway", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/admin/mapping":    {"lictor/config", "lictor/proxy/gateway", "lictor/resolver/", "lictor/app/supervisor"},
		"lictor/admin/objects":    {"lictor/config", "lictor/proxy/gateway", "lictor/resolver/", "lictor/app/supervisor"},
	}
	for pkg, bad := range forbidden {
		t.Run(pkg, func(t *testing.T) {
			out, err := exec.Command("go", "list", "-deps", pkg).Output()
			if err != nil {
				t.Fatal(err)
			}
			for dep := range strings.Lines(string(out)) {
				dep = strings.TrimSpace(dep)
				if dep != pkg && slices.ContainsFunc(bad, func(b string) bool {
					return dep == b || strings.HasSuffix(b, "/") && strings.HasPrefix(dep, b)
				}) {
					t.Errorf("%s must not import %s", pkg, dep)
				}
			}
		})
	}
}
