//go:build !race

package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whatever nests, a text that would overflow the parser's stack is a mistake
// with a place, and so is one that would take it for ever.
func TestTextsThatAreTooMuch(t *testing.T) {
	const n = 150_000
	deep := func(open, middle, shut string) string {
		k := min(n, (maxFile-100)/(len(open)+len(shut)))
		return "data_dir = " + strings.Repeat(open, k) + middle + strings.Repeat(shut, k) + "\n"
	}
	tests := map[string]string{
		"parentheses":            deep("(", "1", ")"),
		"parentheses, left open": "data_dir = " + strings.Repeat("(", n),
		"brackets":               deep("[", "", "]"),
		"brackets on lines":      deep("[\n", "", "\n]"),
		"braces":                 deep("{a=", "1", "}"),
		"braces, left open":      "data_dir = " + strings.Repeat("{a=", n),
		"templates":              deep(`"${`, "1", `}"`),
		"templates, left open":   "data_dir = " + strings.Repeat(`"${`, n),
		"template conditions":    `data_dir = "` + strings.Repeat("%{if a}", n/3) + `"`,
		"template loops":         `data_dir = "` + strings.Repeat("%{for a in b}", n/6) + `"`,
		"heredocs":               "data_dir = " + strings.Repeat("<<A\n${", n/2),
		"calls":                  deep("f(", "1", ")"),
		"not":                    deep("!", "true", ""),
		"minus":                  deep("-", "1", ""),
		"sums":                   deep("1+", "1", ""),
		"sums over lines":        "data_dir = [" + strings.Repeat("1\n+", n) + "1]\n",
		"ands":                   deep("a&&", "a", ""),
		"conditions":             deep("a?b:", "c", ""),
		"conditions, leftwards":  deep("(a)?", "c", ":b"),
		"indexes":                deep("a[", "0", "]"),
		"chains of indexes":      "data_dir = a" + strings.Repeat("[0]", n) + "\n",
		"splats":                 "data_dir = a" + strings.Repeat("[*]", n) + "\n",
		"attribute splats":       "data_dir = a" + strings.Repeat(".*.b", n/2) + "\n",
		"loops":                  deep("[for a in b: ", "1", "]"),
		"blocks":                 strings.Repeat("gateway {\n", n/3),
		"blocks with labels":     strings.Repeat(`middleware "x" {`+"\n", n/6),
		"parts of a string":      `data_dir = "` + strings.Repeat("%%{", n) + `"`,
		"other parts":            `data_dir = "` + strings.Repeat("${a}", n/2) + `"`,
		"lines of a heredoc":     "data_dir = <<E\n" + strings.Repeat("x\n", n) + "E\n",
		"lines, flush":           "data_dir = <<-E\n" + strings.Repeat("x\n", n) + "E\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := Parse(OS(), File{Name: "x.hcl", Text: []byte(text)})
			if err == nil || !strings.Contains(err.Error(), "x.hcl:") {
				t.Errorf("got %.200v, want a mistake with its place", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(err.Error()) > 200*(maxProblems+1) {
				t.Errorf("the mistakes have %d bytes", len(err.Error()))
			}
		})
	}
}

// What an operator may well write is not too much.
func TestTextsThatAreNotTooMuch(t *testing.T) {
	clean(t)
	var services, middleware strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&services, "    s%d = [\"http://127.0.0.1:%d\", \"http://127.0.0.2:%d\"]\n", i, i+1, i+1)
	}
	for i := range 300 {
		fmt.Fprintf(&middleware, "middleware \"m%d\" {\n  match {\n    paths = [\"/a\", \"/b\"]\n  }\n  block {\n    status = 403\n  }\n}\n", i)
	}
	cidrs := strings.Repeat(`"10.0.0.0/8", `, 20_000)
	text := "gateway {\n  trusted_proxies = [" + cidrs + "]\n}\nresolver \"static\" {\n  services = {\n" + services.String() + "  }\n}\n" + middleware.String() +
		"data_dir = \"${env(\"A\", \"${env(\"B\", (\"x\"))}\")}/y\"\n"
	cfg, err := Parse(OS(), File{Name: "x.hcl", Text: []byte(text)})
	if err != nil {
		t.Fatalf("%.500v", err)
	}
	if len(cfg.Resolvers[0].Static.Services) != 5000 || len(cfg.Gateway.TrustedProxies) != 20_000 || cfg.DataDir != "x/y" {
		t.Error("something is missing")
	}
}
