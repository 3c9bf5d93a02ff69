package consul

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAnAnswerThatHasBegunEndsSoon, though it may have waited for minutes.
func TestAnAnswerThatHasBegunEndsSoon(t *testing.T) {
	trickle := func(w http.ResponseWriter, r *http.Request, status int) {
		w.Header().Set("X-Consul-Index", "7")
		w.WriteHeader(status)
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
	s, _ := startPeer(t, 100, func(p *peer, stream uint32) { p.head(stream) })
	over := s.client(t, 3)
	good, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) { trickle(w, r, http.StatusOK) })
	bad, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) { trickle(w, r, http.StatusInternalServerError) })
	for name, c := range map[string]*Client{"of HTTP/2, without its body": over, "bit by bit": good, "an error, bit by bit": bad} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := c.Get(ctx, "/v1/x", Query{Index: 7, Wait: 10 * time.Minute, Time: time.Second / 4, Many: true}, readAll(new(string)))
			if err == nil || ctx.Err() != nil {
				t.Errorf("it ends with %v", err)
			}
			if _, status := errors.AsType[*StatusError](err); !status && !errors.Is(err, errUnended) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// TestAnAgentThatAnswersByItselfIsNoWordOfConsul: it does so while there is no leader,
// and all that wait for the servers would ask again each time.
func TestAnAgentThatAnswersByItselfIsNoWordOfConsul(t *testing.T) {
	c, _ := serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/agent/") {
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
		}
	})
	if _, err := c.Get(t.Context(), "/v1/health/service/x", Query{}, readAll(new(string))); err == nil || !c.Contact.Down() {
		t.Fatalf("consul is believed to answer: %v", err)
	}
	if err := c.Send(t.Context(), http.MethodPut, "/v1/agent/check/update/x", nil, nil, nil); err != nil || !c.Contact.Down() {
		t.Errorf("the agent's word is taken for that of the servers: %v", err)
	}
}
