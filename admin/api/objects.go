package api

// Object is a document of the policy.
type Object struct {
	Key   string `json:"key"`   // kind/name
	Value []byte `json:"value"` // in base64, since it may be anything
	Index uint64 `json:"index"` // changes with every write
	// Created is the store's index of the first write: of two alike the older wins. 0: it is not known.
	Created uint64 `json:"created,omitempty"`
	Error   string `json:"error,omitempty"` // why it is not in force
	// Held: it is in force although the store no longer has it, for the reason
	// Why. A put brings it back, a delete makes it gone for good.
	Held bool   `json:"held,omitempty"`
	Why  string `json:"why,omitempty"`
}

// List is the policy as this node works with it.
type List struct {
	Objects []Object `json:"objects"` // by key
	// BindConsumers: the configuration says so (C6).
	BindConsumers bool `json:"bind_consumers,omitempty"`
}

// Operation is a step of a transaction.
type Operation struct {
	Op    string `json:"op"` // put, delete, verify
	Key   string `json:"key"`
	Value []byte `json:"value,omitempty"` // of a put, in base64
	// Index is what the object must be at; Absent: it must not exist. Without
	// either it may be as it likes.
	Index  uint64 `json:"index,omitempty"`
	Absent bool   `json:"absent,omitempty"`
}

// Transaction is done whole or not at all.
type Transaction struct {
	Operations []Operation `json:"operations"` // at most 64, each of another key
}

// Done is what a transaction did.
type Done struct {
	Index    uint64   `json:"index"`              // of all objects written
	Warnings []string `json:"warnings,omitempty"` // what of them does not do what it seems to, such as a reference to nothing
}
