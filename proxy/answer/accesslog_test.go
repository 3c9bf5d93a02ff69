package answer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccessLogFormatIsChecked(t *testing.T) {
	if _, err := NewAccessLog("-", "xml"); err == nil || !strings.Contains(err.Error(), "json, common or combined") {
		t.Errorf("got %v", err)
	}
}

// A log file that is moved away goes on under its name after Reopen, and not a
// line is lost, neither then nor at the end.
func TestAccessLogReopens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := NewAccessLog(path, "common")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	x := new(Line)
	log.Write(x)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log.Write(x)
	if err := log.Reopen(); err != nil {
		t.Fatal(err)
	}
	log.Write(x)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for name, want := range map[string]int{path + ".1": 2, path: 1} {
		b, err := os.ReadFile(name)
		if err != nil || strings.Count(string(b), "\n") != want {
			t.Errorf("%s: %q %v, want %d lines", name, b, err, want)
		}
	}
	log.path = filepath.Join(path, "not", "there")
	if err := log.Reopen(); err == nil {
		t.Error("opened a file in a file")
	}
}
