// Package eurekatest is a Eureka server for tests. It speaks the dialects of
// E1 to E12, and can play the faults that a client must cope with.
package eurekatest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Dialect is whose server is played (E12).
type Dialect int

// The dialects.
const (
	Netflix  Dialect = iota // upper-case names, @enabled as text, XML unless JSON is asked for
	Polaris                 // @enabled as a boolean; an unknown heartbeat is 200; the last instance lingers
	Amalgam8                // names as registered, JSON only, an unknown application is 500, no deltas
)

// Options are fixed when the server is made.
type Options struct {
	Dialect  Dialect
	Base     string // path of the base; "" = /eureka/v2
	User     string // "" = anybody may ask
	Password string
	Plain    bool          // no gzip, whatever is asked for
	Single   bool          // a list of one is written without brackets
	Linger   time.Duration // Polaris: how long the last instance of an application stays after cancel
	Keep     time.Duration // how long a change stays in the delta; 0 = 3 minutes
}

// Instance is what a client registers.
type Instance struct {
	ID         string
	App        string
	HostName   string
	IP         string
	Status     string // "" = UP
	Port       int    // 0 = not enabled
	SecurePort int    // 0 = not enabled
	Metadata   map[string]string

	override string // status override, "" = none
	dirty    int64  // lastDirtyTimestamp
	gone     time.Time
}

func (i *Instance) effective() string {
	if i.override != "" {
		return i.override
	}
	if i.Status == "" {
		return "UP"
	}
	return i.Status
}

// change is an element of the delta.
type change struct {
	action string
	inst   Instance
	at     time.Time
}

// Server is a running server.
type Server struct {
	http *httptest.Server
	opts Options

	mu        sync.Mutex // guards what follows
	instances []*Instance
	changes   []change
	requests  []string // "GET /apps", without the base
	failing   int      // status of every answer; 0 = it works
	noDelta   int      // status of every delta; 0 = they work
	raw       string   // answer to /apps, if it is not ""
	badHash   bool
}

// New starts a server on a free port of the loopback. Close it.
func New(opts Options) *Server {
	if opts.Base == "" {
		opts.Base = "/eureka/v2"
	}
	if opts.Keep == 0 {
		opts.Keep = 3 * time.Minute
	}
	s := &Server{opts: opts}
	if opts.Dialect == Amalgam8 {
		s.noDelta = http.StatusInternalServerError
	}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

// Close ends the server.
func (s *Server) Close() { s.http.Close() }

// URL is the base, with user and password, as it is written into a configuration.
func (s *Server) URL() string {
	address := s.Addr()
	if s.opts.User != "" {
		address = s.opts.User + ":" + s.opts.Password + "@" + address
	}
	return "http://" + address + s.opts.Base
}

// Addr is the server's host:port.
func (s *Server) Addr() string { return s.http.Listener.Addr().String() }

// Register adds or replaces an instance.
func (s *Server) Register(i Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.register(i)
}

// Cancel removes an instance.
func (s *Server) Cancel(app, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel(app, id)
}

// SetStatus changes the status of an instance, as its heartbeat would.
func (s *Server) SetStatus(app, id, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(app, id); i != nil {
		i.Status = status
		s.note("MODIFIED", i)
	}
}

// Forget makes the server a fresh one that knows nothing (E9).
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances, s.changes = nil, nil
}

// Fail makes every answer have that status; 0 ends it.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = status
}

// FailDelta makes every delta have that status; 0 ends it.
func (s *Server) FailDelta(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noDelta = status
}

// BreakHash makes the hashes of deltas wrong.
func (s *Server) BreakHash(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.badHash = broken
}

// Answer makes text the answer to /apps; "" ends it.
func (s *Server) Answer(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw = text
}

// Requests returns what was asked so far, as "GET /apps".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// The methods below are called with s.mu held.

func (s *Server) name(app string) string {
	if s.opts.Dialect == Amalgam8 {
		return app
	}
	return strings.ToUpper(app)
}

func (s *Server) register(i Instance) *Instance {
	i.App = s.name(i.App)
	if i.dirty == 0 {
		i.dirty = time.Now().UnixMilli()
	}
	action := "ADDED"
	if old := s.find(i.App, i.ID); old != nil {
		action = "MODIFIED"
		*old = i
	} else {
		s.instances = append(s.instances, &i)
	}
	s.note(action, &i)
	return &i
}

func (s *Server) cancel(app, id string) bool {
	i := s.find(app, id)
	if i == nil {
		return false
	}
	s.note("DELETED", i)
	if s.opts.Linger > 0 && len(s.of(app)) == 1 {
		i.gone = time.Now().Add(s.opts.Linger)
		return true
	}
	s.instances = slices.DeleteFunc(s.instances, func(other *Instance) bool { return other == i })
	return true
}

func (s *Server) note(action string, i *Instance) {
	s.changes = append(s.changes, change{action, *i, time.Now()})
}

func (s *Server) find(app, id string) *Instance {
	for _, i := range s.of(app) {
		if i.ID == id {
			return i
		}
	}
	return nil
}

func (s *Server) of(app string) []*Instance {
	var found []*Instance
	for _, i := range s.listed() {
		if i.App == s.name(app) {
			found = append(found, i)
		}
	}
	return found
}

// listed returns all instances, without those that have lingered long enough.
func (s *Server) listed() []*Instance {
	now := time.Now()
	s.instances = slices.DeleteFunc(s.instances, func(i *Instance) bool { return !i.gone.IsZero() && now.After(i.gone) })
	return s.instances
}

// read makes an instance of what a client sent.
func read(body []byte, app string) (Instance, error) {
	var doc struct {
		Instance struct {
			InstanceID, HostName, IPAddr, Status string
			Port, SecurePort                     struct {
				Number  int    `json:"$"`
				Enabled string `json:"@enabled"`
			}
			Metadata           map[string]string
			LastDirtyTimestamp int64
		}
	}
	err := json.Unmarshal(body, &doc)
	in := doc.Instance
	i := Instance{ID: in.InstanceID, App: app, HostName: in.HostName, IP: in.IPAddr, Status: in.Status, Metadata: in.Metadata, dirty: in.LastDirtyTimestamp}
	if in.Port.Enabled == "true" {
		i.Port = in.Port.Number
	}
	if in.SecurePort.Enabled == "true" {
		i.SecurePort = in.SecurePort.Number
	}
	return i, err
}
