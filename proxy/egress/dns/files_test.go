package dns

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a file says is not guessed while it is read for the first time: with no servers
// those who come then would ask this machine, and with no hosts a server.
func TestWhoComesWhileAFileIsReadForTheFirstTimeWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("it"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	early := false
	w := watched[string]{path: path}
	w.parse = func(text string) string {
		go func() { got <- w.get() }()
		select {
		case <-got:
			early = true
			got <- ""
		case <-time.After(50 * time.Millisecond): // as it should be, however long
		}
		return text
	}
	if first := w.get(); first != "it" {
		t.Errorf("the first got %q", first)
	}
	if second := <-got; second != "it" || early {
		t.Errorf("the second got %q, early %v", second, early)
	}
}

func TestAFileOfTheSameSizeAndTimeIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	at := time.Unix(1, 0) // as in archives that are to be the same each time
	w := watched[string]{path: path, parse: func(text string) string { return text }}
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+".new", at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		w.next.Store(0)
		if got := w.get(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}
