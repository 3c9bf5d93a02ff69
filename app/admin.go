package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"lictor/admin"
	"lictor/admin/access"
	"lictor/admin/api"
	"lictor/admin/edit"
	"lictor/admin/mapping"
	"lictor/admin/objects"
	"lictor/admin/openapi"
	"lictor/app/listener"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/internal/version"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/redirect"
)

// adminRoutes returns the APIs of the admin listener.
func (p *Lictor) adminRoutes() ([]admin.Route, error) {
	edits := edit.New(p.policy.Store(), p.policy.Loaded)
	mappings, err := mapping.Routes(edits)
	if err != nil {
		return nil, err
	}
	resources, err := access.Routes(access.Config{Policy: edits, Log: p.log.Named("admin"), Locations: p.geoip != nil, Notes: p.notesOn})
	if err != nil {
		return nil, err
	}
	p.documents, err = objects.New(p.policy.Store(), edits, p.notesOn)
	if err != nil {
		return nil, err
	}
	p.documents.BindConsumers = p.policy.BindsConsumers()
	p.documents.UseDecisions(p.recorded())
	routes := slices.Concat(mappings, resources, p.documents.Routes())
	return append(append(routes, p.explainer().Routes()...), p.recentRoute(), p.hitsRoute(), p.changesRoute()), nil
}

// accessOf returns who may do what on the admin listener; nothing = anybody may all.
func accessOf(cfg *config.Admin) (all []admin.Access) {
	if !cfg.Token.Empty() {
		all = append(all, admin.Access{Name: "admin", Token: cfg.Token, All: true})
	}
	for _, a := range cfg.Access {
		one := admin.Access{Name: a.Name, Token: a.Token, TokenFile: a.TokenFile, Domains: a.Domains}
		if err := one.SetMay(a.May); err != nil {
			panic("admin: a right that the configuration let pass: " + err.Error())
		}
		all = append(all, one)
	}
	return all
}

// recentRoute tells of the requests that operators may want to look at.
func (p *Lictor) recentRoute() admin.Route {
	return admin.Route{Method: "GET", Path: "/recent", May: admin.Read, Handler: func(w http.ResponseWriter, _ *http.Request) {
		admin.WriteJSON(w, http.StatusOK, p.recent.List())
	}, Doc: &openapi.Operation{
		Tag:     "State",
		Summary: "Requests of the gateway of late that were refused, would have been by a rule in report mode, were answered with 5xx or were slow (1 s); the last 512 are kept, 20 of a second at most",
		Answers: []openapi.Answer{{Status: 200, About: "the newest first", Body: openapi.Of(api.Recents{})}},
	}}
}

// notesOn tells what of an object does not do what it seems to.
func (p *Lictor) notesOn(k policy.Key, o policy.Object) policy.Problems {
	return p.policy.Loaded().NotesOn(k, o, p.knownService)
}

// explainer asks the listeners that there are.
func (p *Lictor) explainer() admin.Explainer {
	e := admin.Explainer{
		Gateway: func(_ context.Context, q *api.Question, from netip.Addr) (any, error) {
			return p.aged(p.gateway.Explain(question(q, from)))
		},
		Decision: p.gateway.Decision,
		Answer:   openapi.Of(api.Explanation{}),
	}
	if p.egress != nil {
		e.Egress = func(ctx context.Context, q *api.Question, from netip.Addr) (any, error) {
			return p.aged(p.egress.Explain(ctx, question(q, from)))
		}
	}
	return e
}

func question(q *api.Question, from netip.Addr) *answer.Question {
	return &answer.Question{Method: q.Method, URL: q.URL, Headers: q.Headers.Pairs(), From: from, As: q.Consumer, Listener: q.Listener}
}

// aged says how old the policy is that spoke.
func (p *Lictor) aged(e *api.Explanation, err error) (*api.Explanation, error) {
	if err == nil {
		e.Policy.AgeSeconds = api.Age(p.policy.Store().Status().Contact)
	}
	return e, err
}

// describeLocations says that filters ask for what nobody knows (C29), or that what is
// known is not what the file holds (F1).
func (p *Lictor) describeLocations(st *api.Status) {
	switch {
	case p.geoip == nil && p.policy.Loaded().UsesLocations():
		st.Problems = append(st.Problems, "policy: filters ask for locations, but no geoip database is configured: they match nothing")
	case p.geoip != nil && p.geoip.Problem() != "":
		st.Problems = append(st.Problems, "geoip: the data base cannot be used, the former one is in use: "+p.geoip.Problem())
	}
}

func (p *Lictor) describe(st *api.Status) {
	st.Version, st.Commit, st.Go = version.Number, version.Commit, runtime.Version()
	st.Generation = p.generation.Load()
	st.Problems = append(st.Problems, p.reloads.problems()...)
	st.Problems = append(append(st.Problems, p.lineProblems()...), p.decisionProblems()...)
	st.Problems = append(st.Problems, p.auditProblems()...)
	st.DecisionLog = p.decisionPath()
	st.Listeners = []api.Listener{
		{Name: "gateway", Address: p.gatewayListener.Addr().String()},
		{Name: "admin", Address: p.adminListener.Addr().String()},
	}
	for i, l := range p.moreListeners {
		st.Listeners = append(st.Listeners, api.Listener{Name: p.cfg.Listeners[i].Name, Address: l.Addr().String()})
	}
	if p.redirect != nil {
		st.Listeners = append(st.Listeners, api.Listener{Name: redirect.Name, Address: p.redirectListener.Addr().String()})
	}
	if p.egress != nil {
		st.Listeners = append(st.Listeners, api.Listener{Name: "egress", Address: p.egressListener.Addr().String()})
	}
}

func (p *Lictor) buildAdmin(ctx context.Context) (*admin.Server, error) {
	routes, err := p.adminRoutes()
	if err != nil {
		return nil, err
	}
	pages, err := p.buildUI()
	if err != nil {
		return nil, err
	}
	p.ages = newAges(p.sources)
	p.services = append(p.services, supervisor.Service{Name: "instance ages", Run: p.ages.Run, Grace: time.Second})
	server, err := admin.New(admin.Config{
		Routes:   append(routes, pages.Routes()...),
		Log:      p.log.Named("admin"),
		Registry: p.registry,
		Access:   accessOf(&p.cfg.Admin),
		Header:   p.cfg.Admin.Header,
		Sources:  p.sources,
		Closed:   p.closed,
		Describe: []func(*api.Status){p.describe, p.describeCertificates, p.describeConsul, p.describePolicy, p.describeFeeds, p.describeLocations, p.describeDispatch, p.describeInstances, p.describeClaims, p.describeRegistry, p.describeOwn, p.describeMesh, p.describeTokens, p.describeTelemetry},
		Checks:   append([]admin.Check{shutdownCheck(ctx), {Name: "bus", Ready: p.busTried}}, append(p.policyChecks(), p.meshChecks()...)...),
	})
	if err != nil {
		return nil, err
	}
	p.admin = server
	certificates, err := p.buildTLS("admin", &p.cfg.Admin.TLS, "http/1.1")
	if err != nil {
		return nil, err
	}
	if p.adminListener, err = listen("admin", p.cfg.Admin.Address); err != nil {
		return nil, err
	}
	// The socket may be another one than the configuration names.
	if at := p.adminListener.Addr(); !p.cfg.Admin.Guarded() && !listener.IsLocal(at) {
		p.adminListener.Close()
		return nil, fmt.Errorf("admin: a token is needed, for other machines can reach the socket %s; "+
			"set admin { token } or listen on a loopback address (under systemd: ListenStream=127.0.0.1:8001)", at)
	}
	if tlsConfig := certificates.Config(); tlsConfig != nil {
		p.adminListener = tls.NewListener(p.adminListener, tlsConfig)
	}
	return server, nil
}

// shutdownCheck says that the process is about to stop, from the signal on: who
// asks shall send no further requests, although the listeners may still serve.
func shutdownCheck(ctx context.Context) admin.Check {
	return admin.Check{Name: "shutdown", Reason: "stopping", Ready: func() error {
		if ctx.Err() != nil {
			return errors.New("the process is stopping")
		}
		return nil
	}}
}
