package config

import (
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
