//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// promtool runs Prometheus's own check of what we ship for it.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, time.Minute, tool, args...); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	together(t)
	promtool(t, "check", "rules", "../deploy/prometheus/alerts.yml")
	promtool(t, "test", "rules", "../deploy/prometheus/alerts_test.yml")
}

// TestAlertsAndDashboardKnowTheirMetrics looks up each metric that they ask for,
// and has Prometheus parse each expression.
func TestAlertsAndDashboardKnowTheirMetrics(t *testing.T) {
	together(t)
	reference, err := os.ReadFile("../docs/reference/metrics.md") // a unit test holds it against the source
	if err != nil {
		t.Fatal(err)
	}
	exprs := dashboardExprs(t)
	if len(exprs) < 20 {
		t.Fatalf("only %d expressions were found", len(exprs))
	}
	for _, text := range append(exprs, deployFile(t, "prometheus/alerts.yml")) {
		for _, name := range regexp.MustCompile(`lictor_[a-z_]+`).FindAllString(text, -1) {
			bare := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !strings.Contains(string(reference), "`"+bare+"`") && !strings.Contains(string(reference), "`"+name+"`") {
				t.Errorf("there is no metric %s", name)
			}
		}
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, expr := range exprs {
		expr = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$service", ".*").Replace(expr)
		fmt.Fprintf(&rules, "  - record: dashboard:expr%d\n    expr: %q\n", i, expr)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// dashboardExprs returns the expressions of the dashboard's panels.
func dashboardExprs(t *testing.T) (exprs []string) {
	t.Helper()
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal([]byte(deployFile(t, "grafana/lictor.json")), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	return exprs
}
