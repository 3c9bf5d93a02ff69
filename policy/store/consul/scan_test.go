package consul_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"lictor/policy/store/consul"
)

// byTheBook reads an answer with encoding/json.
func byTheBook(data []byte) ([]consul.Scanned, error) {
	var pairs []struct {
		Key         string
		Value       *string
		ModifyIndex uint64
		CreateIndex uint64
	}
	if err := json.Unmarshal(data, &pairs); err != nil {
		return nil, err
	}
	var all []consul.Scanned
	for _, p := range pairs {
		s := consul.Scanned{Key: p.Key, Modify: p.ModifyIndex, Create: p.CreateIndex}
		if p.Value != nil {
			s.Value = *p.Value
		}
		all = append(all, s)
	}
	return all, nil
}

const twoPairs = `[{"LockIndex":0,"Key":"lictor/policy/acls/a","Flags":0,"Value":"eyJ9","CreateIndex":12,"ModifyIndex":34},
	{ "ModifyIndex" : 5, "Key":"a \"b\" \u003cé\u003e\\", "Value":null,"CreateIndex":4 , "Session":"x"} ]`

func TestScanReadsWhatConsulWrites(t *testing.T) {
	long := strings.Repeat("QUJD", 200_000)
	for _, text := range []string{
		"[]", " [ ] \n", twoPairs,
		fmt.Sprintf(`[{"Key":"k","Value":%q,"CreateIndex":1,"ModifyIndex":2},{"Key":"l","Value":"","CreateIndex":1,"ModifyIndex":3}]`, long),
	} {
		want, err := byTheBook([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
			"with the end": iotest.DataErrReader(strings.NewReader(text)),
		} {
			if name == "byte by byte" && len(text) > 10_000 {
				continue
			}
			got, err := consul.Scan(r)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %.100v, %v, want %.100v", name, got, err, want)
			}
		}
	}
}

func TestScanRefusesWhatIsNoAnswer(t *testing.T) {
	for _, text := range []string{
		"", "[", "{}", "null", "[1]", "[{}", "[{},]", "[{}{}]", "[{}] x", `[{"Key"}]`, `[{"Key":}]`, `[{"Key":"a" "b":1}]`,
		`[{"ModifyIndex":-1}]`, `[{"ModifyIndex":1e3}]`, `[{"Key":"a}]`, `[{"Key":["a"]}]`, twoPairs[:len(twoPairs)-3],
	} {
		if got, err := consul.Scan(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	if _, err := consul.Scan(iotest.TimeoutReader(strings.NewReader(strings.Repeat(" ", 1<<20)))); err == nil {
		t.Error("an error of the reader is lost")
	}
}

// FuzzScan: whatever both read, they read alike, however it comes in.
func FuzzScan(f *testing.F) {
	f.Add([]byte(twoPairs))
	f.Add([]byte("[]"))
	f.Add([]byte(`[{"Key":"\ud800","Value":"="}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := consul.Scan(bytes.NewReader(data))
		slow, slowErr := consul.Scan(iotest.OneByteReader(bytes.NewReader(data)))
		if (err == nil) != (slowErr == nil) || err == nil && fmt.Sprint(got) != fmt.Sprint(slow) {
			t.Fatalf("at once %v, %v; byte by byte %v, %v", got, err, slow, slowErr)
		}
		want, bookErr := byTheBook(data)
		// encoding/json also takes names of another case, which Consul does not write, and mends broken text.
		if err != nil || bookErr != nil || strings.ContainsAny(string(data), "\ufffd\\") || !json.Valid(data) || unusual(data) {
			return
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("read %v, want %v", got, want)
		}
	})
}

// unusual reports whether encoding/json folds the case of a name, or whether the text is no UTF-8.
func unusual(data []byte) bool {
	if strings.ToValidUTF8(string(data), "") != string(data) {
		return true
	}
	var pairs []map[string]any
	if json.Unmarshal(data, &pairs) != nil {
		return true
	}
	for _, p := range pairs {
		for name := range p {
			for _, ours := range []string{"Key", "Value", "ModifyIndex", "CreateIndex"} {
				if name != ours && strings.EqualFold(name, ours) {
					return true
				}
			}
			if p[name] == nil {
				return true // null sets nothing there, and is refused here
			}
		}
	}
	return false
}

func BenchmarkScan(b *testing.B) {
	var text bytes.Buffer
	text.WriteString("[")
	for i := range 10_000 {
		if i > 0 {
			text.WriteString(",")
		}
		fmt.Fprintf(&text, `{"LockIndex":0,"Key":"lictor/policy/credentials/%064x","Flags":0,"Value":"%s","CreateIndex":%d,"ModifyIndex":%d}`,
			i, strings.Repeat("QUJD", 40), i+1, i+2)
	}
	text.WriteString("]")
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if all, err := consul.Scan(bytes.NewReader(text.Bytes())); err != nil || len(all) != 10_000 {
			b.Fatal(err)
		}
	}
}
