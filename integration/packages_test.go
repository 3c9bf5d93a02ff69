//go:build integration

package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPackageInstallsServesAndLeavesNothing builds the deb as make packages does,
// and has dpkg install it, keep what an administrator changed, and purge it, in a
// root of its own, where the program serves by the configuration that came with it.
func TestPackageInstallsServesAndLeavesNothing(t *testing.T) { // O6
	together(t)
	out := packagesTwice(t)
	root := t.TempDir()
	for _, dir := range []string{"info", "updates"} {
		if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := filesBelow(t, root)
	deb := only(t, filepath.Join(out, "*.deb"))
	dpkg := func(args ...string) {
		t.Helper()
		// The scripts of the package know DPKG_ROOT: there is no shell in that root.
		args = append([]string{"--root=" + root, "--force-script-chrootless", "--force-confdef"}, args...)
		if said, err := run(t, time.Minute, "dpkg", args...); err != nil {
			t.Fatalf("dpkg %v: %v\n%s", args, err, said)
		}
	}
	dpkg("--install", deb)
	t.Run("systemd finds nothing wrong with its units", func(t *testing.T) {
		unit := func(name string) string {
			text, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system", name))
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(string(text), "=/usr/bin/lictor", "="+root+"/usr/bin/lictor")
		}
		verifyUnits(t, unit("lictor.service"), unit("lictor.socket"))
	})
	t.Run("it serves as it was installed", func(t *testing.T) {
		const script = `ip link set lo up
chroot "$0" /usr/bin/lictor run -config /etc/lictor & pid=$!
for i in $(seq 200); do curl -sf http://127.0.0.1:8001/healthz && break; sleep 0.05; done
curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/shop
kill $pid; wait $pid && echo ended`
		said, err := run(t, time.Minute, "unshare", "-n", "--", "/bin/sh", "-c", script, root)
		if err != nil || !strings.Contains(said, "503") || !strings.HasSuffix(said, "ended\n") {
			t.Errorf("%v\n%s", err, said)
		}
	})
	const changed = "# changed\n"
	config := filepath.Join(root, "etc/lictor/lictor.hcl")
	if err := os.WriteFile(config, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg("--install", deb)
	dpkg("--remove", "lictor")
	if text, err := os.ReadFile(config); err != nil || string(text) != changed {
		t.Errorf("the changed configuration: %v, %q", err, text)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/lictor")); err == nil {
		t.Error("the program is there after remove")
	}
	dpkg("--purge", "lictor")
	if after := filesBelow(t, root); !slices.Equal(before, after) {
		t.Errorf("after purge there is %v, before there was %v", after, before)
	}
}

// TestRPMInstallsVerifiesAndLeavesNothing has rpm install, verify, replace and
// erase the package in a root of its own, which has a shell for its scripts.
func TestRPMInstallsVerifiesAndLeavesNothing(t *testing.T) { // O6
	together(t)
	root := t.TempDir()
	out, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	const shell = `for f in /bin/sh $(ldd /bin/sh | grep -o '/[^ )]*'); do mkdir -p "$0$(dirname "$f")" && cp -L "$f" "$0$f"; done`
	if said, err := run(t, time.Minute, "/bin/sh", "-c", shell, root); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	rpm := func(args ...string) string {
		t.Helper()
		said, err := run(t, time.Minute, "rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm"}, args...)...)
		if err != nil {
			t.Fatalf("rpm %v: %v\n%s", args, err, said)
		}
		return said
	}
	file := only(t, filepath.Join(out, "*.rpm"))
	rpm("--checksig", file)
	rpm("--nodeps", "--install", file)
	rpm("--nodeps", "--verify", "lictor")
	if said, err := run(t, time.Minute, "chroot", root, "/usr/bin/lictor", "validate", "-config", "/etc/lictor/lictor.hcl"); err != nil {
		t.Errorf("the configuration that came with it: %v\n%s", err, said)
	}
	const changed = "# changed\n"
	config := filepath.Join(root, "etc/lictor/lictor.hcl")
	if err := os.WriteFile(config, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	rpm("--nodeps", "--upgrade", "--replacepkgs", file)
	if text, err := os.ReadFile(config); err != nil || string(text) != changed {
		t.Errorf("the changed configuration: %v, %q", err, text)
	}
	rpm("--erase", "lictor")
	for _, left := range filesBelow(t, root) {
		if strings.Contains(left, "lictor") && left != "/etc/lictor" && left != "/etc/lictor/lictor.hcl.rpmsave" {
			t.Errorf("after erase there is %s", left)
		}
	}
	if text, err := os.ReadFile(config + ".rpmsave"); err != nil || string(text) != changed {
		t.Errorf("what was changed is not kept: %v, %q", err, text)
	}
}

// packages is the directory of the packages as make packages builds them, by the
// first test that wants them.
var packages = sync.OnceValues(func() (string, error) {
	return buildPackages(filepath.Join(buildDir, "packages"))
})

func buildPackages(out string) (string, error) {
	temp := out + ".tmp"
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("../deploy/packages/build", out, "amd64")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, said)
	}
	return out, nil
}

// packagesTwice builds the packages once more, which must give the same bytes, and
// returns their directory.
func packagesTwice(t *testing.T) string {
	t.Helper()
	out, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	again, err := buildPackages(filepath.Join(t.TempDir(), "packages"))
	if err != nil {
		t.Fatal(err)
	}
	var sums [2][]byte
	for i, dir := range []string{out, again} {
		if sums[i], err = os.ReadFile(filepath.Join(dir, "SHA256SUMS")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("the same commit gave other bytes:\n%s\n%s", sums[0], sums[1])
	}
	for _, kind := range []string{"*.deb", "*.rpm", "*.tar.gz"} {
		only(t, filepath.Join(out, kind))
	}
	var bom struct {
		Components []struct{ Name string }
	}
	text, err := os.ReadFile(only(t, filepath.Join(out, "*.cdx.json")))
	if err != nil || json.Unmarshal(text, &bom) != nil || !strings.Contains(string(text), "github.com/hashicorp/consul/api") {
		t.Errorf("the list of what is inside: %v, %d components", err, len(bom.Components))
	}
	return out
}

// only returns the one file of a pattern.
func only(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	return files[0]
}

// filesBelow lists what there is below root, but for what dpkg keeps for itself.
func filesBelow(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if rel := strings.TrimPrefix(path, root); !strings.HasPrefix(rel, "/var/lib/dpkg") {
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestExamplesAreRight: each configuration in deploy/examples loads, its policy
// can be read, and HAProxy takes the one that is its own.
func TestExamplesAreRight(t *testing.T) { // O6
	together(t)
	bin, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir("../deploy/examples", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == "policy":
			if said, err := run(t, time.Minute, bin, "policy", "check", path); err != nil {
				t.Errorf("%s: %v\n%s", path, err, said)
			}
			return fs.SkipDir
		case d.Name() == "haproxy.cfg":
			if said, err := run(t, time.Minute, "haproxy", "-c", "-f", path); err != nil {
				t.Errorf("%s: %v\n%s", path, err, said)
			}
		case strings.HasSuffix(path, ".hcl"):
			files++
			cmd := exec.Command(bin, "validate", "-config", path)
			cmd.Env = append(os.Environ(), "LICTOR_ADMIN_TOKEN="+strings.Repeat("0123456789", 4))
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}
