package config

import "testing"

func TestHSTS(t *testing.T) { // D24
	tests := []struct{ name, value, want string }{ // want "" = refused
		{"a year", "1y", "max-age=31536000"},
		{"days", "90d", "max-age=7776000"},
		{"forget it", "0d", "max-age=0"},
		{"subdomains", "2y; includeSubDomains", "max-age=63072000; includeSubDomains"},
		{"in another case and without spaces", "1y;INCLUDESUBDOMAINS", "max-age=31536000; includeSubDomains"},
		{"for the lists of browsers", "1y; includeSubDomains; preload", "max-age=31536000; includeSubDomains; preload"},
		{"preload without subdomains", "1y; preload", ""},
		{"preload for too short", "364d; includeSubDomains; preload", ""},
		{"a word twice", "1y; preload; preload", ""},
		{"nothing behind the semicolon", "1y;", ""},
		{"another word", "1y; always", ""},
		{"another field", "1y\r\nX: y", ""},
		{"no unit", "31536000", ""},
		{"a unit of Go", "24h", ""},
		{"negative", "-1d", ""},
		{"longer than anybody means", "11y", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := hsts(tt.value); got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q %v, want %q", got, err, tt.want)
			}
		})
	}
}
