//go:build integration

package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"lictor/config"
)

func deployFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestUnitsAreRight has systemd check them; it wants the program to be there.
func TestUnitsAreRight(t *testing.T) {
	together(t)
	bin, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	verifyUnits(t, strings.Replace(deployFile(t, "lictor.service"), "/usr/local/bin/lictor", bin, 1), deployFile(t, "lictor.socket"))
}

// verifyUnits has systemd look for mistakes, and for what the service could do
// besides what it is for, from 0 to 100.
func verifyUnits(t *testing.T, service, socket string) {
	t.Helper()
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "lictor.service"), filepath.Join(dir, "lictor.socket")}
	for i, text := range []string{service, socket} {
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := run(t, time.Minute, "systemd-analyze", "verify", "--man=no", paths[0], paths[1])
	// What it says of other units of this machine is not about ours.
	if ours := regexp.MustCompile(`(?m)^.*lictor\.(service|socket).*$`).FindString(out); err != nil || ours != "" {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run(t, time.Minute, "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=35", paths[0]); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestNomadJobIsRight parses the job, and validates the configuration in it.
func TestNomadJobIsRight(t *testing.T) {
	together(t)
	file, diags := hclsyntax.ParseConfig([]byte(deployFile(t, "lictor.nomad.hcl")), "lictor.nomad.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	text := ""
	var find func(*hclsyntax.Body)
	find = func(body *hclsyntax.Body) {
		for _, b := range body.Blocks {
			if data := b.Body.Attributes["data"]; b.Type == "template" && data != nil && b.Body.Attributes["env"] == nil {
				v, diags := data.Expr.Value(nil)
				if diags.HasErrors() || v.Type() != cty.String {
					t.Fatal(diags)
				}
				text += v.AsString()
			}
			find(b.Body)
		}
	}
	find(file.Body.(*hclsyntax.Body))
	if _, err := config.Parse(config.OS(), config.File{Name: "lictor.hcl", Text: []byte(text)}); err != nil || text == "" {
		t.Errorf("the configuration in the job: %v\n%s", err, text)
	}
}

// TestImageIsWhole builds what the image holds, by the command that stands in
// the Dockerfile, and runs it where nothing else is.
func TestImageIsWhole(t *testing.T) {
	together(t)
	dockerfile := deployFile(t, "Dockerfile")
	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /out/lictor \.$`).FindStringSubmatch(dockerfile)
	if build == nil {
		t.Fatal("the Dockerfile does not build lictor as this test expects")
	}
	root := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", build[1]+` -o "$0" .`, filepath.Join(root, "lictor"))
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "VERSION=image")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(root, "lictor.hcl"), []byte("data_dir = \"\"\n"+staticConfig("svc", "http://127.0.0.1:1")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"version"}, {"validate", "-config", "/lictor.hcl"}} {
		cmd := exec.Command("/lictor", args...)
		cmd.Env, cmd.Dir = []string{}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		if id := os.Geteuid(); id != 0 { // only root may change its root, or who is root in a name space
			cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil || args[0] == "version" && !strings.Contains(string(out), "image") {
			t.Errorf("lictor %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
