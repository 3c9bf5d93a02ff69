package app

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"lictor/proxy/answer"
)

// TestALogThatIsAPipeWithoutAReaderIsAnError: whoever opens one to write waits for who
// reads it, which would be the start of lictor, and each SIGHUP.
func TestALogThatIsAPipeWithoutAReaderIsAnError(t *testing.T) {
	for name, open := range map[string]func(path string) error{
		"audit":  func(path string) error { _, err := openAudit(path); return err },
		"access": func(path string) error { _, err := answer.NewAccessLog(path, ""); return err },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			opened := make(chan error)
			go func() { opened <- open(path) }()
			select {
			case err := <-opened:
				if err == nil {
					t.Error("it is opened")
				}
			case <-time.After(5 * time.Second):
				t.Fatal("it waits for who reads the pipe")
			}
			reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if err := open(path); err != nil {
				t.Errorf("with a reader: %v", err)
			}
		})
	}
}
