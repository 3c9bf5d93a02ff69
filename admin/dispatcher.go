package admin

// DispatcherStatus says how a way to services is doing.
type DispatcherStatus struct {
	Kind     string   `json:"kind"`     // http, rabbitmq
	Services []string `json:"services"` // globs of those that go this way; null = all that no other one takes
	Address  string   `json:"address"`  // of the broker, "" for http
	Ready    bool     `json:"ready"`    // requests are taken
	InFlight int      `json:"in_flight"`
	Error    string   `json:"error"` // why it is not ready
}

// MiddlewareStatus is a middleware in its place.
type MiddlewareStatus struct {
	Name    string `json:"name"`
	Mode    string `json:"mode"`   // enforce, report
	Action  string `json:"action"` // what its block does
	Matched uint64 `json:"matched"`
}
