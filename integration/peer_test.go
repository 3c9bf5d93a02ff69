//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// peered makes the services of exporter known to importer, under the name east.
func peered(t *testing.T, importer, exporter *consulAgent) {
	t.Helper()
	var made *api.PeeringGenerateTokenResponse
	eventually(t, soon, "the exporter knows the port of its own that a peer is to use", func() (err error) {
		made, _, err = exporter.Client.Peerings().GenerateToken(t.Context(), api.PeeringGenerateTokenRequest{PeerName: "west"}, nil)
		return err
	})
	eventually(t, soon, "the peering is established", func() error {
		_, _, err := importer.Client.Peerings().Establish(t.Context(), api.PeeringEstablishRequest{PeerName: "east", PeeringToken: made.PeeringToken}, nil)
		return err
	})
	_, _, err := exporter.Client.ConfigEntries().Set(&api.ExportedServicesConfigEntry{Name: "default", Services: []api.ExportedService{
		{Name: "*", Consumers: []api.ServiceConsumer{{Peer: "west"}}},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestServicesOfAPeer: K4. What a cluster peering exports is a resolver's of its
// own, which another takes over from where the peer is gone, and back.
func TestServicesOfAPeer(t *testing.T) {
	together(t)
	east := startConsul(t, persistent(t), inDatacenter("east"), withPeering())
	west := startConsul(t, persistent(t), inDatacenter("west"), withPeering())
	peered(t, west, east)
	there, here, only := startMortal(t, "east"), startMortal(t, "west"), startMortal(t, "only")
	register(t, east, "shop", "shop-east", there.Addr, ttlCheck(api.HealthPassing))
	register(t, east, "only", "only-east", only.Addr, ttlCheck(api.HealthPassing))
	register(t, west, "shop", "shop-west", here.Addr)
	register(t, west, "mine", "mine-west", here.Addr)
	l := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: fmt.Sprintf(
		"consul {\n  address = %q\n}\nresolver \"consul\" {\n  peer = \"east\"\n}\nresolver \"consul\" {\n}\n", west.Addr)})
	l.Ready(t)
	answers := func(path, want string) {
		t.Helper()
		eventually(t, soon, path+" is answered by "+want, func() error {
			if code, body := fetch(t, "http://"+l.Gateway+path); body != want && fmt.Sprint(code) != want {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
	}
	answers("/only/", "only")
	answers("/mine/", "west")
	answers("/shop/", "east")
	load := startTraffic(t, l.Gateway, "/shop/")
	setCheck(t, east, "shop-east", api.HealthCritical)
	load.answeredSoon(t, soon, "west")
	setCheck(t, east, "shop-east", api.HealthPassing)
	load.answeredSoon(t, soon, "east")
	for _, name := range []string{"consul", "east"} { // are no services of the peer's
		if code, body := fetch(t, "http://"+l.Gateway+"/"+name+"/"); code != http.StatusServiceUnavailable {
			t.Errorf("/%s/: %d %s", name, code, body)
		}
	}
	register(t, east, "new", "new-east", only.Addr)
	answers("/new/", "only")
	deregister(t, east, "new-east")
	answers("/new/", "503")
	eventually(t, soon, "the status tells of no trouble", func() error { // Consul may take its time to say that it is established
		if peer := resolverStatus(t, l.Status(t), "consul peer east"); peer.Error != "" || peer.Services != 2 {
			return fmt.Errorf("got %+v", peer)
		}
		return nil
	})

	east.Kill(t)
	there.Kill()
	load.answeredSoon(t, soon, "west")
	answers("/only/", "only") // what it exported last counts
	eventually(t, 2*soon, "the status tells that the peer is gone", func() error {
		peer := resolverStatus(t, l.Status(t), "consul peer east")
		if !strings.Contains(peer.Error, "not connected") || peer.AgeSeconds == nil || *peer.AgeSeconds < 5 {
			return fmt.Errorf("got %+v", peer)
		}
		return nil
	})
	there.Start(t)
	load.answeredSoon(t, soon, "east")
	east.Start(t)
	eventually(t, 2*soon, "the peer is connected again", func() error {
		if peer := resolverStatus(t, l.Status(t), "consul peer east"); peer.Error != "" || *peer.AgeSeconds > 10 {
			return fmt.Errorf("got %+v", peer)
		}
		return nil
	})
	setCheck(t, east, "shop-east", api.HealthPassing)
	load.answeredSoon(t, soon, "east")
	load.lost(t)
}

// TestAPeerThatThereIsNotIsTold: a name that was misspelt has no services, and no
// other sign.
func TestAPeerThatThereIsNotIsTold(t *testing.T) {
	together(t)
	c := startConsul(t, withPeering())
	l := startLictor(t, lictorConfig{Rest: fmt.Sprintf("consul {\n  address = %q\n}\nresolver \"consul\" {\n  peer = \"esat\"\n}\n", c.Addr)})
	eventually(t, soon, "it is told", func() error {
		if peer := resolverStatus(t, l.Status(t), "consul peer esat"); !strings.Contains(peer.Error, "knows no peer esat") {
			return errors.New(peer.Error)
		}
		return nil
	})
}
