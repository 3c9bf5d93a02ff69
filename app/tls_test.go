package app

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/app/listener/certtest"
)

// TestAuthoritiesOfInstancesFollowTheirFile: K5.
func TestAuthoritiesOfInstancesFollowTheirFile(t *testing.T) {
	first, second, dir := certtest.NewCA(t), certtest.NewCA(t), t.TempDir()
	file := first.WriteCA(t, dir)
	a, err := newAuthorities(file, hclog.NewNullLogger())
	if err != nil || !a.current().Equal(first.Pool()) {
		t.Fatalf("to begin with: %v", err)
	}
	second.WriteCA(t, dir)
	if !a.current().Equal(second.Pool()) {
		t.Error("the new ones are not in use")
	}
	if err := os.WriteFile(file, []byte("half a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !a.current().Equal(second.Pool()) || a.told == "" {
		t.Error("a file that cannot be used takes the former ones away, or nobody is told")
	}
	first.WriteCA(t, dir)
	if !a.current().Equal(first.Pool()) || a.told != "" {
		t.Error("the next ones are not in use")
	}
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	looked := make(chan bool)
	go func() { looked <- a.current().Equal(first.Pool()) && a.told != "" }()
	select {
	case ok := <-looked:
		if !ok {
			t.Error("a pipe takes the former ones away, or nobody is told")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("every handshake waits for who writes to the pipe")
	}
	if a, err := newAuthorities("", nil); a != nil || err != nil {
		t.Errorf("without a file: %v, %v", a, err)
	}
	if _, err := newAuthorities(file+".none", nil); err == nil {
		t.Error("a file that is not there is no mistake")
	}
}
