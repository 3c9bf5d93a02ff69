package consul

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
)

// What a peer exports stands in the datacenter that imports it, and stays there
// as it was told last when the peer is gone. Consul lists no names of it, but has
// it in its overview of services; and a query of that does not wait for changes
// of what is imported. So the overview is asked for again and again. It tells of
// checks, too. A service by itself can be waited for as any other.

// importPace is how often the overview is asked for.
const importPace = time.Second

// ofPeer reports whether it is a peer's services that are followed.
func (r *Resolver) ofPeer() bool { return r.cfg.Client.Peer() != "" }

// readImports asks for the names of the services that the peer exports.
func (r *Resolver) readImports(ctx context.Context, list *nameList, q query) (meta, error) {
	q.Index = 0
	list.parts.apart = true
	list.parts.each = func(line []byte) error {
		var service struct{ Name, Kind, PeerName string }
		if err := json.Unmarshal(line, &service); err != nil {
			return err
		}
		if service.PeerName != r.cfg.Client.Peer() || service.Kind != "" && !r.cfg.Everywhere {
			return nil
		}
		return list.add(service.Name)
	}
	return r.read(ctx, "/v1/internal/ui/services", q, list)
}

// refusalTime is more than Consul takes to refuse to tell of a peering, which it
// tries again and again by itself: 11 to 14 s were measured.
const refusalTime = 30 * time.Second

// peering is what is read of the state of a peering.
type peering struct{ State string }

// connected finds out whether the peer tells what it exports, and notes it. A
// token that may not ask is told so: then nobody knows.
func (r *Resolver) connected(ctx context.Context) {
	name, why := r.cfg.Client.Peer(), ""
	var p peering
	_, err := r.cfg.Client.Get(ctx, "/v1/peering/"+name, query{Fresh: true, Time: refusalTime}, func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxEntry)).Decode(&p)
	})
	status, answered := errors.AsType[*client.StatusError](err)
	switch {
	case answered && status.Code == http.StatusNotFound:
		why = "consul knows no peer " + name
	case answered && status.Code == http.StatusForbidden:
		why = "the token may not ask whether the peer is connected: " + status.Error()
	case err != nil:
		return // of Consul being away others tell
	case p.State != "ACTIVE":
		why = "the peer is not connected, its state is " + cut(p.State, maxNote)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.apart == why {
		return
	}
	r.apart = why
	if why == "" {
		r.log.Info("the peer is connected again", "services", r.truth.Len())
		return
	}
	r.status.ErrorTime = time.Now()
	r.log.Log(hclog.Error, "the peer's services may have changed unseen, keeping the last known ones", "services", r.truth.Len(), "error", why)
}

// rightLocked notes until when what is known is right: the last word of a peer that
// is not connected gets older. r.mu is held.
func (r *Resolver) rightLocked(at time.Time) {
	r.status.Contact = at
	if r.apart == "" || r.status.Since.IsZero() {
		r.status.Since = at
	}
}
