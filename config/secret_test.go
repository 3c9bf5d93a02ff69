package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoMistakeRepeatsAPassword: what validate says ends in logs of builds.
func TestNoMistakeRepeatsAPassword(t *testing.T) {
	clean(t)
	files := map[string]string{
		"a Consul address with a user":    `consul { address = "http://u:S3CRET@h:8500/x" }`,
		"one without a scheme":            `consul { address = "u:S3CRET@h:8500" }`,
		"one with a query":                `consul { address = "http://h:8500/?token=S3CRET" }`,
		"a Eureka URL with a query":       `resolver "eureka" { urls = ["http://u:S3CRET@h/eureka?x"] }`,
		"one with another scheme":         `resolver "eureka" { urls = ["ftp://u:S3CRET@h/eureka"] }`,
		"one that is none":                `resolver "eureka" { urls = ["http://u:S3CRET@h:port/"] }`,
		"a static instance with a user":   `resolver "static" { services = { a = ["http://u:S3CRET@h/"] } }`,
		"a bus URL":                       "dispatch \"rabbitmq\" {\n url = \"http://u:S3CRET@h/\"\n services = [\"a\"]\n}",
		"a listener with a URL":           `gateway { address = "http://u:S3CRET@h:80" }`,
		"a password where a time belongs": `gateway { timeout = "http://u:S3CRET@h:80" }`,
	}
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(text)})
			if err == nil {
				t.Fatal("it is taken")
			}
			if strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("it repeats the password: %v", err)
			}
		})
	}
}

// TestEveryAddressOfConsulIsTaken that consul/api takes, and the rest is said.
func TestEveryAddressOfConsulIsTaken(t *testing.T) {
	clean(t)
	tests := []struct {
		address string
		ok      bool
	}{
		{"https://consul.example.com", true}, {"http://10.1.2.3/foo/bar/consul", true}, {"unix:///run/consul.sock", true},
		{"consul.example.com", true}, {"http://127.0.0.1:8500/", true}, {"[::1]:8500", true},
		{"ftp://consul", false}, {"http://", false}, {"unix://", false}, {"127.0.0.1:99999", false}, {"127.0.0.1:8500/v1", false}, {"::1:8500", false},
	}
	for _, tt := range tests {
		for how, text := range map[string]string{
			"in the file":        "consul {\n address = \"" + tt.address + "\"\n}",
			"in the environment": "consul {}",
		} {
			t.Run(tt.address+" "+how, func(t *testing.T) {
				if how == "in the environment" {
					t.Setenv("CONSUL_HTTP_ADDR", tt.address)
				}
				_, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(text)})
				if (err == nil) != tt.ok {
					t.Errorf("got %v, want it taken: %v", err, tt.ok)
				}
			})
		}
	}
}

// A mistake tells its place, and nothing of what another file or the environment holds.
func TestNoMistakeRepeatsOtherFiles(t *testing.T) {
	clean(t)
	t.Setenv("HUSH", "S3CRET")
	dir := t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("S3CRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"an address from the environment": `gateway { address = env("HUSH") }`,
		"one in a string":                 `gateway { address = "x${env("HUSH")}" }`,
		"a time from a file":              fmt.Sprintf("gateway { timeout = file(%q) }", other),
		"a list":                          fmt.Sprintf("gateway { trusted_proxies = [file(%q)] }", other),
		"a part of a list":                `gateway { trusted_proxies = [for a in ["HUSH"] : env(a)] }`,
		"a name":                          fmt.Sprintf("resolver \"static\" {\n services = { (join(file(%q))) = [] }\n}", other),
		"a key":                           fmt.Sprintf("resolver \"static\" {\n services = { \"/${file(%q)}\" = [] }\n}", other),
		"a word":                          `log_level = env("HUSH")`,
		"a level of nothing":              `gateway { max_body = env("HUSH") }`,
		"an expression":                   "middleware \"m\" {\n match {\n headers = { \"Authorization\" = \"~^Bearer (${env(\"HUSH\")}$\" }\n }\n record = true\n}",
		"a field to match":                "middleware \"m\" {\n match {\n headers = { \"/${env(\"HUSH\")}\" = \"x\" }\n }\n record = true\n}",
		"a field to set":                  "middleware \"m\" {\n request {\n set = { \"Proxy-${env(\"HUSH\")}\" = \"x\" }\n }\n}",
		"its value":                       "middleware \"m\" {\n request {\n set = { (env(\"HUSH\")) = \"\\u0001\" }\n }\n}",
		"a field to remove":               "middleware \"m\" {\n request {\n remove = [\"Proxy-${env(\"HUSH\")}\"]\n }\n}",
		"a field of telemetry":            `telemetry { headers = { "/${env("HUSH")}" = "x" } }`,
		"a service's option":              "resolver \"static\" {\n services = { a = [] }\n meta = { a = { (env(\"HUSH\")) = \"x\" } }\n}",
		"a service of options":            `resolver "static" { meta = { (env("HUSH")) = {} } }`,
		"a place that needs a token":      `admin { address = "${env("HUSH")}:80" }`,
		"a place that is taken":           "gateway { address = \"${env(\"HUSH\")}:80\" }\nlistener \"l\" { address = \"${env(\"HUSH\")}:80\" }",
		"a domain":                        "admin {\n access \"a\" {\n token = \"x\"\n may = [\"mapping:t\"]\n domains = [env(\"HUSH\")]\n }\n}",
		"a key that is there twice":       `log_level = { for a in ["HUSH", "HUSH"] : env(a) => a }["x"]`,
		"a file that is not there":        `log_level = file(env("HUSH"))`,
		"an element that is not there":    `log_level = { a = "info" }[env("HUSH")]`,
		"a part of an object":             `log_level = { "${env("HUSH")}" = "info" }.x`,
		"a number that is none":           `gateway { max_fields = 1 + env("HUSH") }`,
		"a directory for a log":           `decision_log { path = "${env("HUSH")}/" }`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(text)})
			if err == nil || !strings.Contains(err.Error(), "a.hcl:") || strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, text := range map[string]string{"a.hcl": "S3CRET = 1\n", "b.hcl": "S3CRET x {\n"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(other), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(filepath.Dir(other), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "b.hcl:1") || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("links out of the directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.hcl"), []byte("data_dir = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever prints a configuration shows no secret of it.
func TestAConfigurationShowsNoSecret(t *testing.T) {
	clean(t)
	t.Setenv("CONSUL_HTTP_TOKEN", "S3CRET-env")
	for _, text := range []string{"", `
admin { token = "S3CRET-admin" }
consul { token = "S3CRET-consul" }
resolver "eureka" { urls = ["http://u:S3CRET-eureka@h/eureka"] }
dispatch "rabbitmq" {
  url      = "amqp://u:S3CRET-bus@h/"
  services = ["a"]
}`} {
		cfg, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{string(asJSON), fmt.Sprint(cfg), fmt.Sprintf("%+v %#v", *cfg, *cfg), fmt.Sprintf("%#v %v", cfg.Resolvers, cfg.RabbitMQ)} {
			if strings.Contains(shown, "S3CRET") {
				t.Errorf("it shows a secret: %s", shown)
			}
		}
		for _, r := range cfg.Resolvers {
			if r.Eureka != nil && r.Eureka.URLs[0].Reveal() != "http://u:S3CRET-eureka@h/eureka" {
				t.Error("a secret is lost")
			}
		}
	}
}

// A port that does not exist is a mistake, in the address of whatever option.
func TestPortsThatDoNotExist(t *testing.T) {
	clean(t)
	for _, port := range []string{"99999", "65536", "-1", "x"} {
		for name, text := range map[string]string{
			"gateway":     `gateway { address = "127.0.0.1:%s" }`,
			"egress":      `egress { address = ":%s" }`,
			"admin":       `admin { address = "127.0.0.1:%s" }`,
			"consul":      `consul { address = "127.0.0.1:%s" }`,
			"consul, URL": `consul { address = "https://127.0.0.1:%s/x" }`,
			"static":      `resolver "static" { services = { a = ["http://127.0.0.1:%s/"] } }`,
			"eureka":      `resolver "eureka" { urls = ["http://127.0.0.1:%s/eureka"] }`,
			"bus":         "dispatch \"rabbitmq\" {\n url = \"amqp://127.0.0.1:%s/\"\n services = [\"a\"]\n}",
			"dns":         `egress { dns_servers = ["127.0.0.1:%s"] }`,
			"connect":     `egress { connect_ports = [%s] }`,
		} {
			if name == "connect" && port == "x" {
				continue // a word is another mistake there
			}
			_, err := Parse(OS(), File{Name: "a.hcl", Text: fmt.Appendf(nil, text, port)})
			if err == nil || !strings.Contains(err.Error(), "a.hcl:") {
				t.Errorf("%s, port %s: got %v", name, port, err)
			}
		}
	}
}
