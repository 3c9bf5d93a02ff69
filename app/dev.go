package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/app/echo"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/internal/secret"
)

// Where run -dev listens (contract 1).
const (
	DevGateway = "127.0.0.1:8000"
	DevEgress  = "127.0.0.1:8080"
	DevAdmin   = "127.0.0.1:8001"
)

// Dev is what run -dev serves itself: two instances of echo.
type Dev struct {
	instances []net.Listener
	token     string // of the admin listener
}

// NewDev opens the sockets of the two instances. Open's lictor serves on them.
func NewDev() (*Dev, error) {
	var token [16]byte
	rand.Read(token[:]) // never fails
	d := &Dev{token: hex.EncodeToString(token[:])}
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		d.instances = append(d.instances, l)
	}
	return d, nil
}

// Config returns the configuration of the development mode. "" stands for the
// address that the documentation names.
func (d *Dev) Config(gatewayAddress, egressAddress, adminAddress string) *config.Config {
	cfg := config.Default()
	cfg.DataDir = ""
	cfg.Policy.Store = "memory"
	cfg.Gateway.Address = cmp.Or(gatewayAddress, DevGateway)
	cfg.Gateway.Drain = 5 * time.Second
	cfg.Egress.Configured = true
	cfg.Egress.Address = cmp.Or(egressAddress, DevEgress)
	cfg.Admin.Address = cmp.Or(adminAddress, DevAdmin)
	cfg.Admin.Token = secret.New(d.token)
	var urls []string
	for _, l := range d.instances {
		urls = append(urls, "http://"+l.Addr().String())
	}
	cfg.Resolvers = []config.Resolver{{Static: &config.StaticResolver{Services: map[string][]string{"echo": urls}}}}
	return cfg
}

func (d *Dev) services(log hclog.Logger) []supervisor.Service {
	var all []supervisor.Service
	for i, l := range d.instances {
		name := fmt.Sprintf("echo-%d", i+1)
		server := &http.Server{
			Handler:           echo.Handler(name),
			ReadHeaderTimeout: 10 * time.Second,
			ErrorLog:          log.StandardLogger(nil),
		}
		all = append(all, supervisor.Service{Name: name, Grace: time.Second, Run: func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { server.Close() })()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		}})
	}
	return all
}

// Print says where the lictor listens, and what to try.
func (d *Dev) Print(out io.Writer, at Addresses) {
	fmt.Fprintf(out, `lictor serves two instances of the service "echo".

  gateway  http://%[1]s
  egress   http://%[4]s   a forward proxy: curl -x
  admin    http://%[2]s   token %[3]s

Try:

  curl 'http://%[1]s/echo/hello?x=1'
  curl -N http://%[1]s/echo/stream
  curl -H 'X-Admin-Token: %[3]s' http://%[2]s/status

`, at.Gateway, at.Admin, d.token, at.Egress)
}
