package api

import "time"

// Recents are requests of late that an operator may want to look at.
type Recents struct {
	Requests []Recent `json:"requests"` // the newest first
	Missed   uint64   `json:"missed"`   // since the start, of which only a sample was kept: there were too many at once
}

// Recent is a request that was refused, would have been by a rule in report mode, was
// answered with 5xx, or waited long for its answer.
type Recent struct {
	Time     time.Time `json:"time"` // when it began
	ID       string    `json:"request_id"`
	Client   string    `json:"client"`
	Consumer string    `json:"consumer,omitempty"`
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	Path     string    `json:"path"` // without its query, cut
	Service  string    `json:"service,omitempty"`
	API      string    `json:"api,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Status   int       `json:"status"`
	Reason   string    `json:"reason,omitempty"` // why it was refused, or would have been
	Mode     string    `json:"mode,omitempty"`   // report: it would have been
	Rule     string    `json:"rule,omitempty"`   // key of the object that says so
	Entry    string    `json:"entry,omitempty"`
	TookMS   int64     `json:"took_ms"`
}
