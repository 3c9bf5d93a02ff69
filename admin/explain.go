package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"

	"lictor/admin/api"
	"lictor/admin/openapi"
)

// Explainer answers the questions of /explain. Gateway or Egress is nil if there is
// no such listener. Their errors are questions that cannot be understood; they may
// look names up, until ctx ends.
type Explainer struct {
	Gateway func(ctx context.Context, q *api.Question, from netip.Addr) (any, error)
	Egress  func(ctx context.Context, q *api.Question, from netip.Addr) (any, error)
	// Answer describes what the functions return.
	Answer *openapi.Schema
	// Decision returns the explanation of a request that asked to be explained, by
	// its id, and whether it is still kept. nil: none is.
	Decision func(id string) (json.RawMessage, bool)
}

// Routes returns the routes of /explain, for [Config].
func (e Explainer) Routes() []Route {
	answers := []openapi.Answer{{Status: 200, About: "the decision, step by step, with the rules that spoke", Body: e.Answer}}
	return []Route{
		{Method: "POST", Path: "/explain", May: Explain, Handler: Handle(e.explain), Doc: &openapi.Operation{
			Tag: "Explain", Summary: "What would become of a request, and why. Nothing is sent, no limit is used up",
			Body: questionSchema, Needed: []string{"url"}, Answers: answers, Refuses: []int{400, 413, 415},
		}},
		{Method: "GET", Path: "/explain/{id}", May: Explain, Handler: Handle(e.decision), Doc: &openapi.Operation{
			Tag:     "Explain",
			Summary: "What became of a request that asked by `X-Lictor-Explain: 1`, by the id in its `X-Lictor-Decision`; the last 256 are kept",
			Answers: answers, Refuses: []int{404},
		}},
	}
}

var questionSchema = &openapi.Schema{Name: "Question", Type: "object", Fields: []openapi.Field{
	{Name: "method", Schema: openapi.Text("GET if it is not given")},
	{Name: "url", Schema: openapi.Text("a path, or absolute: then its host counts as the Host"), Required: true},
	{Name: "headers", Schema: &openapi.Schema{Type: "object", Values: &openapi.Schema{}, About: "each a string or a list of strings"}},
	{Name: "from", Schema: openapi.Text("the address that the request comes from; 127.0.0.1 if it is not given")},
	{Name: "consumer", Schema: openapi.Text("whose the request is, by id or name: it is decided as if a key of theirs was sent; not of the egress")},
	{Name: "egress", Schema: openapi.Truth("ask the forward proxy instead of the gateway")},
	{Name: "listener", Schema: openapi.Text("of the gateway, by its name: where the request comes in, which says whose word on addresses is believed; the gateway's own if it is not given")},
}}

func (e Explainer) explain(w http.ResponseWriter, r *http.Request) error {
	body, err := ReadJSON(r)
	if err != nil {
		return err
	}
	q, err := parseQuestion(body)
	if err != nil {
		return err
	}
	explanation, err := e.Ask(r.Context(), q)
	if err == nil {
		WriteJSON(w, http.StatusOK, explanation)
	}
	return err
}

// Ask answers a question, as Gateway and Egress do. Its errors are [Refusal]s.
func (e Explainer) Ask(ctx context.Context, q *api.Question) (any, error) {
	from, err := addressOf(q)
	if err != nil {
		return nil, err
	}
	ask, listener := e.Gateway, "gateway"
	if q.Egress {
		ask, listener = e.Egress, "egress"
	}
	if q.Egress && q.Consumer != "" {
		return nil, Invalid("consumer", "The egress knows consumers by their credentials alone: want headers")
	}
	if q.Egress && q.Listener != "" {
		return nil, Invalid("listener", "The egress has one listener alone")
	}
	if ask == nil {
		return nil, Invalid("egress", "There is no "+listener+" to ask")
	}
	explanation, err := ask(ctx, q, from)
	if err != nil {
		return nil, Invalid("", err.Error())
	}
	return explanation, nil
}

func parseQuestion(body []byte) (*api.Question, error) {
	q := &api.Question{}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(q); err != nil {
		return nil, Invalid("", "Cannot parse JSON body: "+err.Error())
	}
	return q, nil
}

// addressOf returns the address that a question is about, the zero one if it says
// none.
func addressOf(q *api.Question) (netip.Addr, error) {
	if q.URL == "" {
		return netip.Addr{}, Invalid("url", "url is required")
	}
	if q.From == "" {
		return netip.Addr{}, nil
	}
	from, err := netip.ParseAddr(q.From)
	if err != nil {
		return from, Invalid("from", fmt.Sprintf("from is %q, want an address", q.From))
	}
	return from.Unmap().WithZone(""), nil
}

func (e Explainer) decision(w http.ResponseWriter, r *http.Request) error {
	if e.Decision != nil {
		if text, kept := e.Decision(r.PathValue("id")); kept {
			WriteJSON(w, http.StatusOK, text)
			return nil
		}
	}
	return NotFound()
}
