package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lictor/admin/api"
	"lictor/app"
	"lictor/app/listener/certtest"
	"lictor/config"
	"lictor/internal/eventually"
)

func TestMetricsTellWhatIsInForceAndUntilWhen(t *testing.T) {
	cert, key := certtest.Write(t, t.TempDir(), "site", certtest.NewCA(t).Issue(t, "shop.example"))
	at, token := serve(t, func(cfg *config.Config) {
		cfg.Gateway.TLS.Certificates = []config.KeyPair{{CertFile: cert, KeyFile: key}}
	})
	var text string
	eventually.True(t, "the policy is in force", func() bool {
		text = scrape(t, at.Admin.String(), token)
		return strings.Contains(text, "lictor_policy_info{")
	})
	for _, want := range []string{
		`lictor_build_info{commit="unknown",go="go1.`,
		`lictor_policy_info{hash="00000000"} 1`,
		"lictor_policy_held_objects 0",
		"lictor_config_last_reload_successful 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics does not have %s", want)
		}
	}
	if left := value(t, text, `lictor_certificate_expiry_seconds{listener="gateway",name="shop.example"}`); left < 3600 || left > 24*3600 {
		t.Errorf("the certificate lasts %v s, want at most the day that it was made for", left)
	}
	if read := value(t, text, "lictor_config_last_reload_seconds"); read < 1.7e9 {
		t.Errorf("the configuration was read at %v", read)
	}
	if status, _ := ask(t, http.MethodPost, "http://"+at.Admin.String()+"/blacklist", token, `{"name": "x", "entries": ["/x"]}`); status != http.StatusCreated {
		t.Fatalf("got %d, want 201", status)
	}
	if hash := regexp.MustCompile(`lictor_policy_info\{hash="([0-9a-f]{8})"\} 1`).FindStringSubmatch(scrape(t, at.Admin.String(), token)); hash == nil || hash[1] == "00000000" {
		t.Errorf("the hash after a change is %v", hash)
	}
}

// TestStatusTellsOfCertificates: P8.
func TestStatusTellsOfCertificates(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	certtest.Write(t, dir, "fresh", ca.Issue(t, "fresh.example"))
	certtest.Write(t, dir, "late", ca.Until(t, time.Now().Add(4*time.Minute), "late.example"))
	if err := os.WriteFile(filepath.Join(dir, "bad.pem"), []byte("PRIVATE KEY-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	at, token := serve(t, func(cfg *config.Config) { cfg.Gateway.TLS.CertDir = dir })
	st := status(t, at, token)
	var got []string
	for _, c := range st.Certificates {
		got = append(got, fmt.Sprint(c.Listener, " ", c.Name, " ", c.Days))
	}
	if want := []string{"gateway late.example 0", "gateway fresh.example 0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	told := strings.Join(st.Problems, "\n")
	for _, want := range []string{"gateway: tls: the certificate of late.example expires at ", "bad.pem: "} {
		if !strings.Contains(told, want) {
			t.Errorf("status tells\n%s\nwant %q", told, want)
		}
	}
	if strings.Contains(told, "fresh") {
		t.Errorf("status tells\n%s", told)
	}
}

// status returns /status.
func status(t *testing.T, at app.Addresses, token string) (st api.Status) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, at.Admin.String(), token, "/status")), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// scrape returns /metrics.
func scrape(t *testing.T, admin, token string) string {
	t.Helper()
	return get(t, admin, token, "/metrics")
}

func get(t *testing.T, admin, token, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Admin-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// value returns the value of a series.
func value(t *testing.T, text, series string) float64 {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+series+" ") // not its HELP
	if !ok {
		t.Fatalf("/metrics does not have %s", series)
	}
	v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
