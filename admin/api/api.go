// Package api has the JSON values of the admin API that the server and the
// commands share. It holds no logic of either: a program that talks to lictor
// needs nothing of the server to read its answers.
//
// A value that is shown is complete, its lists are never null unless their
// comment says so. Readers must ignore fields that they do not know.
package api

// Error is the body of an answer that says no (X5).
type Error struct {
	Message   string            `json:"message"`
	Reason    string            `json:"reason"`
	RequestID string            `json:"request_id"`
	Fields    map[string]string `json:"fields,omitempty"` // what is wrong, by field
}
