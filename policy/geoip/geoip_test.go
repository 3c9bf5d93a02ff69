package geoip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"lictor/policy"
)

// write makes a data base (F2, F3) of countries by network. A network whose
// country begins with '~' has only a registered country, one with '!' has the number
// of a system and no country.
func write(t *testing.T, path string, countries map[string]string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-Country", RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, code := range countries {
		_, ipnet, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		field := "country"
		if code[0] == '~' {
			field, code = "registered_country", code[1:]
		}
		record := mmdbtype.Map{mmdbtype.String(field): mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
		if code[0] == '!' {
			record = mmdbtype.Map{"autonomous_system_number": mmdbtype.String(code[1:])}
		}
		if err := tree.Insert(ipnet, record); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// F1, F4, C29
func TestCountry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.mmdb")
	write(t, path, map[string]string{"127.0.0.1/32": "US", "127.0.0.2/32": "CA", "127.0.0.3/32": "~FR", "2001:db8::/32": "DE"})
	r, err := Open(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, addr, want string }{
		{"an IPv4 address", "127.0.0.1", "US"},
		{"its neighbour", "127.0.0.2", "CA"},
		{"a registered country serves where there is no other", "127.0.0.3", "FR"},
		{"an unknown address has none", "127.0.0.4", ""},
		{"an IPv4 address in IPv6", "::ffff:127.0.0.1", "US"},
		{"an IPv6 address", "2001:db8::1", "DE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second time from memory
				if got := r.Country(netip.MustParseAddr(tt.addr)); got != tt.want {
					t.Errorf("Country(%s) is %q, want %q", tt.addr, got, tt.want)
				}
			}
		})
	}
	us := netip.MustParseAddr("127.0.0.1")
	if n := testing.AllocsPerRun(100, func() { r.Country(us) }); n != 0 {
		t.Errorf("Country allocates %v times, want 0", n)
	}
}

// following opens the data base at path and follows it until the test is over.
func following(t *testing.T, path string) *Reader {
	t.Helper()
	r, err := Open(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// looked waits until the file was looked at once more.
func looked() {
	time.Sleep(checkEvery + 1)
	synctest.Wait()
}

// put writes a file beside path and puts it into its place, as old as any other one. It
// takes none away before: the next one could get the inode of that.
func put(t *testing.T, path string, text []byte) {
	t.Helper()
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Chtimes(path+".new", at, at), os.Rename(path+".new", path))
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFormerDataBaseStaysUntilTheFileIsAGoodOne(t *testing.T) { // F1
	good := func(country string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { write(t, path, map[string]string{"127.0.0.0/8": country}) }
	}
	tests := []struct {
		name    string
		replace func(t *testing.T, path string)
		stays   bool
	}{
		{"another data base is read", good("FR"), false},
		{"one of the same size and time is read", func(t *testing.T, path string) {
			aside := path + ".fr"
			good("FR")(t, aside)
			text, err := os.ReadFile(aside)
			if err != nil {
				t.Fatal(err)
			}
			put(t, path, text)
		}, false},
		{"what is no data base is not", func(t *testing.T, path string) { put(t, path, []byte("no data base")) }, true},
		{"nor is an empty file", func(t *testing.T, path string) { put(t, path, nil) }, true},
		{"nor one in which nobody has a country", func(t *testing.T, path string) { write(t, path, map[string]string{"127.0.0.0/8": "!64496"}) }, true},
		{"nor one without any network", func(t *testing.T, path string) { write(t, path, nil) }, true},
		{"a file that is gone is missed", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"so is one that is a directory", func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "c.mmdb")
				good("US")(t, path)
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				put(t, path, text)
				r := following(t, path)
				looked()
				if got := r.Problem(); got != "" {
					t.Errorf("at first: %s", got)
				}
				tt.replace(t, path)
				looked()
				want := map[bool]string{true: "US", false: "FR"}[tt.stays]
				if got := r.Country(netip.MustParseAddr("127.0.0.1")); got != want || (r.Problem() != "") != tt.stays {
					t.Errorf("the country is %q, want %q; the problem is %q", got, want, r.Problem())
				}
				if info, err := os.Stat(path); err == nil && info.IsDir() {
					os.Remove(path)
				}
				good("DE")(t, path)
				looked()
				if got := r.Country(netip.MustParseAddr("127.0.0.1")); got != "DE" || r.Problem() != "" {
					t.Errorf("after it was mended the country is %q, the problem %q", got, r.Problem())
				}
			})
		})
	}
}

func TestADataBaseWithoutCountriesIsNone(t *testing.T) { // F1
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	write(t, path, map[string]string{"127.0.0.0/8": "!64496"})
	if _, err := Open(path, hclog.NewNullLogger()); err == nil {
		t.Error("it is taken")
	}
}

func TestMissingFileIsAnError(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), hclog.NewNullLogger()); err == nil {
		t.Error("no error")
	}
}

// TestABrokenTreeIsNoDataBase damages a file in each part: either it is refused,
// or no look-up says that a country is known to be none where there was one.
func TestABrokenTreeIsNoDataBase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.mmdb")
	write(t, path, map[string]string{"127.0.0.0/8": "US", "10.0.0.0/8": "CA", "2001:db8::/32": "DE"})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, damage := range []struct {
		name     string
		from, to int
		with     byte
	}{
		{"the root is zero", 0, 6, 0}, {"the root is ones", 0, 6, 0xff}, {"the tree is zero", 0, len(good) / 2, 0}, {"the tree is ones", 0, len(good) / 2, 0xff},
		{"one node is ones", 60, 66, 0xff}, {"all is ones", 0, len(good), 0xff},
	} {
		data := bytes.Clone(good)
		for i := damage.from; i < damage.to; i++ {
			data[i] = damage.with
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path, hclog.NewNullLogger())
		if err != nil {
			refused++
			continue
		}
		for addr, want := range map[string]string{"127.0.0.1": "US", "10.0.0.1": "CA", "2001:db8::1": "DE"} {
			if got := r.Country(netip.MustParseAddr(addr)); got != want && got != policy.CountryUnknown {
				t.Errorf("%s: the country of %s is %q", damage.name, addr, got)
			}
		}
	}
	if refused < 4 {
		t.Errorf("only %d of the damaged files are refused", refused)
	}
}
