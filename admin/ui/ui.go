// Package ui serves the pages for operators below /ui on the admin listener.
//
// A page shows what the API tells and does what the API does: the functions of
// [Config] are those that the API's handlers call. The admin server lets people in
// ([admin.Visit]); all text that comes from elsewhere goes through html/template.
package ui

import (
	"context"
	"errors"
	"net/http"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/internal/crash"
	"lictor/internal/pace"
	"lictor/policy/live"
	"lictor/policy/replay"
)

// Config is what the pages show. The functions are called by any goroutine.
type Config struct {
	Status  func() *api.Status // required
	Explain admin.Explainer
	Traffic func() Traffic                                                  // required; the requests so far
	Hits    func() *api.RuleHits                                            // what the rules did; nil: nobody counts
	Recent  func() *api.Recents                                             // required; requests of late
	Changes func(limit int, before uint64) (list []live.Audited, more bool) // required; of the policy, as /policy/changes has them
	// Load has the instances of a known service asked for, if nobody has asked yet, and
	// waits for the answer or the end of the context. Nil: all are known.
	Load func(ctx context.Context, service string)

	// LastUsed is when a credential was used last, by the name of its object; zero:
	// never, as far as this lictor knows. Nil: nobody knows.
	LastUsed func(name string) time.Time
	Prefix   string // of keys in the store, in front of policy/

	// The documents of the policy, as /policy/objects has them; required. Get returns
	// nil where there is none.
	List  func(context.Context) (*api.List, error)
	Get   func(ctx context.Context, key string) (*api.Object, error)
	Check func(*api.Transaction) (warnings []string, err error)
	Write func(http.ResponseWriter, *http.Request, *api.Transaction) (*api.Done, error)

	// Replay tries a transaction on the traffic of the last hour; nil: it is not recorded.
	Replay func(context.Context, *api.Transaction) (*replay.Report, error)
}

// UI is the pages. [New] makes one. Its methods may be called by any goroutine.
type UI struct {
	cfg     Config
	history history
}

// New returns the pages. An error is a Config that is not whole.
func New(cfg Config) (*UI, error) {
	if cfg.Status == nil || cfg.Traffic == nil || cfg.List == nil || cfg.Get == nil || cfg.Check == nil || cfg.Write == nil || cfg.Recent == nil || cfg.Changes == nil {
		return nil, errors.New("ui: Status, Traffic, Recent, Changes and the documents are required")
	}
	return &UI{cfg: cfg}, nil
}

// Run notes the requests every few seconds until ctx ends, and returns nil.
func (u *UI) Run(ctx context.Context) error {
	u.note(time.Now())
	pace.Every(ctx, noteEvery, u.note)
	return nil
}

func (u *UI) note(at time.Time) {
	defer crash.Contain("ui", nil)
	u.history.note(u.cfg.Traffic(), at)
}

// Routes returns the routes of the pages, for [admin.Config].
func (u *UI) Routes() []admin.Route {
	routes := []admin.Route{
		{Method: "GET", Path: admin.SignInPath, Open: true, Handler: u.handle(u.askToken)},
		{Method: "POST", Path: admin.SignInPath, Open: true, Handler: u.handle(u.signIn), MaxBody: maxForm},
		{Method: "POST", Path: "/ui/sign-out", May: admin.AnyRight, Handler: u.handle(u.signOut), MaxBody: maxForm},
		{Method: "GET", Path: "/ui", May: admin.Read, Handler: u.handle(u.now)},
		{Method: "GET", Path: "/ui/services", May: admin.Read, Handler: u.handle(u.services)},
		{Method: "GET", Path: "/ui/services/{name}", May: admin.Read, Handler: u.handle(u.service)},
		{Method: "GET", Path: "/ui/explain", May: admin.Explain, Handler: u.handle(u.explain)},
		{Method: "POST", Path: "/ui/explain", May: admin.Explain, Handler: u.handle(u.explain), MaxBody: maxQuestion},
		{Method: "GET", Path: "/ui/live", May: admin.Read, Handler: u.handle(u.live)},
		{Method: "GET", Path: "/ui/policy", May: admin.Read, Handler: u.handle(u.policy)},
		{Method: "GET", Path: "/ui/policy/{kind}/{name}", May: admin.Read, Handler: u.handle(u.object)},
		{Method: "GET", Path: "/ui/policy/{kind}/{name}/edit", May: admin.Write, Handler: u.handle(u.edit)},
		{Method: "POST", Path: "/ui/policy/{kind}/{name}/edit", May: admin.Write, Handler: u.handle(u.edit), MaxBody: maxDocument},
		{Method: "GET", Path: "/ui/new", May: admin.Write, Handler: u.handle(u.create)},
		{Method: "GET", Path: "/ui/changes", May: admin.Read, Handler: u.handle(u.changes)},
		{Method: "GET", Path: "/ui/consumers", May: admin.Read, Handler: u.handle(u.consumers)},
		{Method: "GET", Path: "/ui/certificates", May: admin.Read, Handler: u.handle(u.certificates)},
		{Method: "GET", Path: "/ui/egress", May: admin.Read, Handler: u.handle(u.egress)},
	}
	for i := range routes {
		routes[i].Page = u.refused
	}
	for _, a := range assets {
		routes = append(routes, admin.Route{Method: "GET", Path: a.path, Open: true, Handler: a.serve})
	}
	return routes
}

// maxForm bounds the body of a form that says little.
const maxForm = 8 << 10

// handle makes a handler of a function that answers, or returns an error instead.
func (u *UI) handle(serve func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			u.refused(w, r, admin.RefusalOf(err))
		}
	}
}
