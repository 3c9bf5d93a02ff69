package admin

import (
	"net/http"
	"sync"

	"lictor/admin/api"
	"lictor/admin/openapi"
)

// routes are those of this package. The one that describes them all is filled
// in when all are known.
func (s *Server) routes() []Route {
	return []Route{
		{Method: "GET", Path: "/healthz", Open: true, Handler: s.healthz, Doc: &openapi.Operation{
			Tag: "State", Summary: "200 while the process lives", Answers: []openapi.Answer{{Status: 200, About: "it lives", Body: state("alive")}},
		}},
		{Method: "GET", Path: "/readyz", Open: true, Handler: s.readyz, Doc: &openapi.Operation{
			Tag: "State", Summary: "200 when requests should be sent here, else 503. Why, and what is closed meanwhile, is told with the token",
			Answers: []openapi.Answer{{Status: 200, About: "it is ready", Body: openapi.Of(Ready{})}}, Refuses: []int{503},
		}},
		{Method: "GET", Path: "/status", May: Read, Handler: s.status, Doc: &openapi.Operation{
			Tag: "State", Summary: "What lictor knows: listeners, resolvers, services, the policy, and what is wrong",
			Answers: []openapi.Answer{{Status: 200, About: "the status", Body: openapi.Of(api.Status{})}},
		}},
		{Method: "GET", Path: "/metrics", May: Metrics, Handler: metricsHandler(s.cfg.Registry), Doc: &openapi.Operation{
			Tag: "State", Summary: "Metrics, as Prometheus reads them", Answers: []openapi.Answer{{Status: 200, About: "metrics", Type: "text/plain"}},
		}},
		{Method: "GET", Path: "/openapi.json", May: AnyRight, Handler: s.openAPI, Doc: &openapi.Operation{
			Tag: "State", Summary: "This description, as OpenAPI 3.1",
			Answers: []openapi.Answer{{Status: 200, About: "the description", Body: &openapi.Schema{Type: "object"}}},
		}},
	}
}

func state(is string) *openapi.Schema {
	return openapi.Object(openapi.Field{Name: "status", Schema: &openapi.Schema{Type: "string", Enum: []string{is}}, Required: true})
}

// Paths returns the descriptions of all routes, in the order of the routes. They
// are not to be changed.
func (s *Server) Paths() []openapi.Path { return s.paths }

// Document returns the OpenAPI document, in JSON. It is not to be changed. It is made
// for the first who asks, as few do: no start waits for it.
func (s *Server) Document() []byte { return s.document() }

// ErrorSchema describes the body of every refusal (X5).
var ErrorSchema = openapi.Of(api.Error{})

// describe has the document of all routes made when it is asked for.
func (s *Server) describe(routes []Route) {
	for _, r := range routes {
		s.paths = append(s.paths, openapi.Path{Method: r.Method, Path: r.Path, Open: r.Open, Operation: r.Doc})
	}
	s.document = sync.OnceValue(func() []byte {
		document, err := openapi.Document(openapi.Info{
			Title: "lictor admin listener", Version: "1",
			About:  "Tenants' domains, the policy, explanations and the state of a lictor. A slash at the end of a path changes nothing.",
			Header: s.guard.header, Error: ErrorSchema,
		}, s.paths)
		if err != nil {
			panic("admin: " + err.Error()) // of what stands in the code: the tests ask for it
		}
		return append(document, '\n')
	})
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write(s.Document()) // the client may have gone: nobody to tell
}
