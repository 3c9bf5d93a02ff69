package eurekatest

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serve answers one request (E1).
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, s.opts.Base)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+path)
	user, password, _ := r.BasicAuth()
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case s.opts.User != "" && (user != s.opts.User || password != s.opts.Password):
		w.WriteHeader(http.StatusUnauthorized)
	case s.failing != 0:
		if s.failing/100 == 3 {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		}
		w.WriteHeader(s.failing)
	case r.Method == http.MethodGet:
		s.get(w, r, strings.Split(strings.Trim(path, "/"), "/"))
	default:
		s.change(w, r, strings.Split(strings.Trim(path, "/"), "/"))
	}
}

// get answers the questions.
func (s *Server) get(w http.ResponseWriter, r *http.Request, path []string) {
	if s.opts.Dialect != Amalgam8 && !strings.Contains(r.Header.Get("Accept"), "json") {
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, "<applications></applications>")
		return
	}
	at := func(i int) string {
		if i < len(path) {
			return path[i]
		}
		return ""
	}
	switch {
	case len(path) == 1 && at(0) == "apps":
		if s.raw != "" {
			s.write(w, r, s.raw)
			return
		}
		s.writeJSON(w, r, s.applications(s.listed(), nil))
	case len(path) == 2 && at(0) == "apps" && at(1) == "delta":
		s.delta(w, r)
	case len(path) == 2 && at(0) == "apps":
		if found := s.of(at(1)); len(found) > 0 {
			s.writeJSON(w, r, object{"application": s.application(found[0].App, found, nil)})
			return
		}
		s.unknown(w)
	case len(path) == 3 && at(0) == "apps":
		s.one(w, r, s.find(at(1), at(2)))
	case len(path) == 2 && at(0) == "instances":
		s.one(w, r, s.match(func(i *Instance) bool { return i.ID == at(1) }))
	case len(path) == 2 && (at(0) == "vips" || at(0) == "svips"):
		s.writeJSON(w, r, s.applications(s.of(at(1)), nil))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *Server) match(ok func(*Instance) bool) *Instance {
	if i := slices.IndexFunc(s.listed(), ok); i >= 0 {
		return s.instances[i]
	}
	return nil
}

func (s *Server) one(w http.ResponseWriter, r *http.Request, i *Instance) {
	if i == nil {
		s.unknown(w)
		return
	}
	s.writeJSON(w, r, object{"instance": s.instance(i, "")})
}

// unknown answers for an application that is not there (E12).
func (s *Server) unknown(w http.ResponseWriter) {
	if s.opts.Dialect == Amalgam8 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func (s *Server) delta(w http.ResponseWriter, r *http.Request) {
	if s.noDelta != 0 {
		w.WriteHeader(s.noDelta)
		return
	}
	s.changes = slices.DeleteFunc(s.changes, func(c change) bool { return time.Since(c.at) > s.opts.Keep })
	instances, actions := make([]*Instance, len(s.changes)), make(map[*Instance]string)
	for n := range s.changes {
		instances[n] = &s.changes[n].inst
		actions[instances[n]] = s.changes[n].action
	}
	s.writeJSON(w, r, s.applications(instances, actions))
}

// change answers register, heartbeat, cancel, status and metadata.
func (s *Server) change(w http.ResponseWriter, r *http.Request, path []string) {
	if len(path) < 2 || path[0] != "apps" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if len(path) == 2 && r.Method == http.MethodPost {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		i, parse := read(body, path[1])
		if err != nil || parse != nil || i.ID == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.register(i)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if len(path) < 3 {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	i := s.find(path[1], path[2])
	switch action := strings.Join(path[3:], "/"); {
	case r.Method == http.MethodPut && action == "":
		w.WriteHeader(s.heartbeat(i, r))
	case i == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete && action == "":
		s.cancel(path[1], path[2])
	case r.Method == http.MethodPut && action == "status":
		i.override = r.URL.Query().Get("value")
		s.note("MODIFIED", i)
	case r.Method == http.MethodDelete && action == "status":
		i.override = ""
		if v := r.URL.Query().Get("value"); v != "" {
			i.Status = v
		}
		s.note("MODIFIED", i)
	case r.Method == http.MethodPut && action == "metadata":
		i.Metadata = make(map[string]string)
		for name, values := range r.URL.Query() {
			i.Metadata[name] = values[0]
		}
		s.note("MODIFIED", i)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// heartbeat returns the status that answers a heartbeat (E10, E12).
func (s *Server) heartbeat(i *Instance, r *http.Request) int {
	if i == nil {
		return map[Dialect]int{Netflix: http.StatusNotFound, Amalgam8: http.StatusGone, Polaris: http.StatusOK}[s.opts.Dialect]
	}
	dirty, _ := strconv.ParseInt(r.URL.Query().Get("lastDirtyTimestamp"), 10, 64)
	if dirty > i.dirty {
		return http.StatusNotFound // register again
	}
	if dirty != 0 && dirty < i.dirty && r.Header.Get("x-netflix-discovery-replication") == "true" {
		return http.StatusConflict
	}
	if v := r.URL.Query().Get("status"); v != "" && v != i.Status {
		i.Status = v
		s.note("MODIFIED", i)
	}
	return http.StatusOK
}

// write sends a document, packed if the client likes.
func (s *Server) write(w http.ResponseWriter, r *http.Request, text string) {
	w.Header().Set("Content-Type", "application/json")
	if s.opts.Plain || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		fmt.Fprint(w, text)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	packed := gzip.NewWriter(w)
	fmt.Fprint(packed, text)
	packed.Close()
}
