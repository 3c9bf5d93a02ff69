package message

import (
	"strings"
	"testing"
)

func TestIDOf(t *testing.T) {
	tests := []struct {
		name string
		want FieldID
	}{
		{"Host", FieldHost},
		{"hOST", FieldHost},
		{"Hos", Other},
		{"Hosts", Other},
		{"", Other},
		{"-", Other},
		{"_", Other},
		{"TE", FieldTE},
		{"content-length", FieldContentLength},
		{"Content-Lengt\x28", Other}, // '(' is 'h' without two bits
		{"Transfer-Encoding", FieldTransferEncoding},
		{"X-Forwarded-For", FieldXForwardedFor},
		{"X-Forwarded-Host", FieldXForwardedHost},
		{"X-Forwarded-Port", FieldXForwardedPort},
		{"X-Forwarded-Ssl", FieldXForwarded},
		{"X-Forwarded-", FieldXForwarded},
		{"X-Forwarded", Other},
		{"X-Forwarded-" + strings.Repeat("a", 100), FieldXForwarded},
		{"x-consumer-username", FieldXConsumer},
		{"X-WASP-STATUS", FieldXWASP},
		{"X-WASP-A", FieldXWASP},
		{"X-WASPA", Other},
		{"X_WASP_A", FieldAlias},
		{"X-Wasp_A", FieldAlias},
		{"CONTENT_LENGTH", FieldAlias},
		{"Content.Length", FieldAlias},
		{"Content__Length", Other},
		{"proxy_authorization", FieldAlias},
		{"X_Real_IP", FieldAlias},
		{"User_Agent", Other}, // known, but nothing hangs on it
	}
	for _, tt := range tests {
		if got := IDOf(tt.name); got != tt.want {
			t.Errorf("IDOf(%q) = %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Every known name must be found whatever its case, which their table
// could get wrong.
func TestKnownNamesAreFoundInAnyCase(t *testing.T) {
	for name, id := range knownNames {
		if got := IDOf(strings.ToUpper(name)); got != id {
			t.Errorf("IDOf(%q) = %d, want %d", strings.ToUpper(name), got, id)
		}
		alias := strings.ReplaceAll(name, "-", "_")
		if got := IDOf(alias); alias != name && id < FieldAlias && got != FieldAlias {
			t.Errorf("IDOf(%q) = %d, want FieldAlias", alias, got)
		}
	}
	if n := len(knownNames); n != 34 {
		t.Errorf("got %d known names, want 34", n)
	}
}

func TestValidFieldValueLooksAtEveryByte(t *testing.T) {
	for length := range 20 {
		for at := range length {
			b := []byte(strings.Repeat("\xe9", length))
			for c := range 256 {
				b[at] = byte(c)
				want := c >= ' ' && c != 0x7f || c == '\t'
				if got := ValidFieldValue(string(b)); got != want {
					t.Fatalf("%q: got %v, want %v", b, got, want)
				}
			}
		}
	}
}

func TestValidFieldName(t *testing.T) {
	const tokens = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		if got, want := ValidFieldName("x"+string([]byte{byte(c)})), strings.IndexByte(tokens, byte(c)) >= 0; got != want {
			t.Errorf("%#x in a name: got %v, want %v", c, got, want)
		}
	}
	if ValidFieldName("") {
		t.Error("an empty name is valid")
	}
}

func TestEqualFoldIsOnlyForASCIILetters(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"Host", "hOST", true},
		{"Host", "Hos", false},
		{"@[`{", "`{@[", false},
		{"K", "\u212a", false}, // the Kelvin sign folds to k in Unicode
	}
	for _, tt := range tests {
		if got := EqualFold(tt.a, tt.b); got != tt.want {
			t.Errorf("EqualFold(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestHasToken(t *testing.T) {
	tests := []struct {
		value string
		want  bool
	}{
		{"close", true},
		{"CLOSE", true},
		{" a ,\tclose\t, b", true},
		{",,close", true},
		{"", false},
		{",", false},
		{"closed", false},
		{"a close", false},
		{"close;a", false},
		{"\"close\"", false},
	}
	for _, tt := range tests {
		if got := HasToken(tt.value, "close"); got != tt.want {
			t.Errorf("HasToken(%q) = %v, want %v", tt.value, got, tt.want)
		}
	}
}

func TestTheTwoFormsOfConnectionSpecificAgree(t *testing.T) {
	n := 0
	for name, id := range knownNames {
		if ConnectionSpecific(name) != id.ConnectionSpecific() {
			t.Errorf("%s: the name and the id do not agree", name)
		}
		if id.ConnectionSpecific() {
			n++
		}
	}
	if n != 5 || !ConnectionSpecific([]byte("upgrade")) || FieldAccept.HopByHop() || Other.HopByHop() || FieldAlias.HopByHop() {
		t.Errorf("%d fields are connection-specific, want 5", n)
	}
}
