package rabbitmq

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func newBus(t *testing.T, cfg Config) *Bus {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewChecksItsConfig(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"a log is required", Config{URL: "amqp://localhost/"}, "Log is required"},
		{"a URL is required", Config{Log: hclog.NewNullLogger()}, "URL is not a valid"},
		{"only AMQP is spoken", Config{URL: "http://localhost/", Log: hclog.NewNullLogger()}, "URL is not a valid"},
		{"a password is not repeated", Config{URL: "amqp://u:geheim@host:port/", Log: hclog.NewNullLogger()}, "URL is not a valid"},
		{"negative limits are mistakes", Config{URL: "amqp://localhost/", Log: hclog.NewNullLogger(), MaxBody: -1}, "must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestCallWithoutBroker: nothing is waited for that cannot come (D16).
func TestCallWithoutBroker(t *testing.T) {
	b := newBus(t, Config{URL: "amqp://guest:guest@127.0.0.1:1/", MaxBody: 3})
	tests := []struct {
		name       string
		r          Request
		status     int
		reason     string
		retryAfter bool
	}{
		{"no broker", Request{Exchange: "foo"}, 503, "unreachable", true},
		{"the default exchange is not reachable", Request{Exchange: ""}, 404, "no_service", false},
		{"the broker's own exchanges neither", Request{Exchange: "amq.topic"}, 404, "no_service", false},
		{"a body past the limit", Request{Exchange: "foo", Body: []byte("1234")}, 413, "body_too_large", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := b.Call(t.Context(), &tt.r)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Status != tt.status || e.Reason != tt.reason || e.RetryAfter != tt.retryAfter {
				t.Errorf("got %+v, want %+v", err, tt)
			}
		})
	}
}

// TestSilentServer: something accepts the connection and never says a word.
// Run must end with its context, and calls must not wait.
func TestSilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	b := newBus(t, Config{URL: "amqp://guest:guest@" + listener.Addr().String() + "/"})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- b.Run(ctx) }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := b.Call(ctx, &Request{Exchange: "foo"}); err == nil {
		t.Error("a call must fail")
	}
	cancel()
	select {
	case <-over:
	case <-time.After(3 * time.Second):
		t.Fatal("Run does not end")
	}
}
