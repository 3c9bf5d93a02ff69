package admin

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Check is a condition under which /readyz tells load balancers to send requests
// here.
type Check struct {
	Name   string       // what /readyz says before the error
	Ready  func() error // nil = ready, else why not; it must not block
	Reason string       // reason of the answer while it is not ready; "" = not_ready
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// readyz tells everybody whether requests should be sent here. Only who has the
// token learns why not, or what is refused although lictor is ready.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	knows := s.guard.mayRead(r)
	if why, reason := s.notReady(); why != nil {
		message := "Not ready."
		if knows {
			message = "Not ready: " + strings.Join(why, "; ") + "."
		}
		WriteError(w, http.StatusServiceUnavailable, reason, message)
		return
	}
	ready := Ready{Status: "ready"}
	if knows && s.cfg.Closed != nil {
		ready.Closed = s.cfg.Closed()
	}
	WriteJSON(w, http.StatusOK, ready)
}

// Ready is the good answer of /readyz.
type Ready struct {
	Status string   `json:"status"`           // ready
	Closed []string `json:"closed,omitempty"` // what is refused as a whole, and why; only with the token
}

// notReady returns why the checks fail, each after the name of its check, and
// the reason of the first of them.
func (s *Server) notReady() (why []string, reason string) {
	for _, c := range s.cfg.Checks {
		if err := c.Ready(); err != nil {
			why = append(why, fmt.Sprintf("%s: %s", c.Name, err))
			reason = cmp.Or(reason, c.Reason, "not_ready")
		}
	}
	return why, reason
}

// resolverReady is the check of the sources: one of them has answered, or has a
// snapshot.
func (s *Server) resolverReady() error {
	if len(s.cfg.Sources) == 0 {
		return errors.New("none is configured")
	}
	var why []string
	for _, source := range s.cfg.Sources {
		status := source.Status()
		if status.Ready {
			return nil
		}
		text := source.Kind() + " has not answered yet"
		if status.Error != "" {
			text += " (" + status.Error + ")"
		}
		why = append(why, text)
	}
	return errors.New(strings.Join(why, ", "))
}
