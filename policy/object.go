package policy

import "time"

// Object is one of the types of this file, as it stands in the store; the JSON
// names are those of the rows of its [Table]. Objects are not changed once they
// were handed to a Builder.
type Object interface {
	// Kind is where the object belongs; a List can be of two kinds.
	Kind() Kind

	// check completes defaults from the key's name and appends what is wrong.
	check(name string, wrong func(field, format string, args ...any))

	// closing returns what stands in for the object if it can not be read,
	// nil if it guarded nothing.
	closing(name string, lost *Lost) Object
}

// List is an object of the kinds blacklist and whitelist (A11, A10). An entry
// that can not be read does not spoil the others.
type List struct {
	Allow     bool      `json:"-"` // a whitelist
	Lines     []int     `json:"-"` // of the entries in the document; nil if not known
	Entries   []string  `json:"entries"`
	Direction Direction `json:"direction,omitempty"` // "" = both, for a whitelist egress
	Mode      Mode      `json:"mode,omitempty"`
	Reason    string    `json:"reason,omitempty"` // the operator's note for the log

	// Of a whitelist for the egress: it admits only these. Both empty = anybody.
	Consumers []string `json:"consumers,omitempty"` // ids or names
	Groups    []string `json:"groups,omitempty"`
}

// Consumer is somebody who is known by a key (C1).
type Consumer struct {
	ID        string    `json:"id,omitempty"` // "" = the name
	Name      string    `json:"name"`
	CustomID  string    `json:"custom_id,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// Credential is a key of a consumer; its name is the SHA-256 of the key in
// lower-case hex, so the store never holds the key (C21).
type Credential struct {
	Consumer  string    `json:"consumer"` // id or name
	ID        string    `json:"id,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"` // unknown from then on; zero = never
}

// Group holds plugins; its members are the consumers that name it (C3).
type Group struct {
	Name    string   `json:"name"`
	Plugins []string `json:"plugins,omitempty"` // ids
}

// Filter describes requests: OR inside a list, AND between the lists (C25, C26).
type Filter struct {
	Name      string   `json:"name"`
	Methods   []string `json:"methods,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
	Paths     []string `json:"paths,omitempty"`
	IPs       []string `json:"ips,omitempty"`
	Locations []string `json:"locations,omitempty"`
	Inline    bool     `json:"inline,omitempty"` // made for one mapping: AND with its named filters (C27, C28)
}

// Plugin is a configuration of one plugin type (C11).
type Plugin struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"` // the type: key-auth, rate-limiting
	Config  map[string]any `json:"config,omitempty"`
	Enabled *bool          `json:"enabled,omitempty"` // nil = true; false: as if it were not there
	Global  *bool          `json:"global,omitempty"`  // false: never global, the mark that it was mapped once (C12)
	Mode    Mode           `json:"mode,omitempty"`
}

// ACL lets subjects use an API, and closes it for all others (C5).
type ACL struct {
	ID        string   `json:"id"`
	API       string   `json:"api"`
	Consumers []string `json:"consumers,omitempty"` // ids or names
	Groups    []string `json:"groups,omitempty"`
	Filters   []string `json:"filters,omitempty"`
	Mode      Mode     `json:"mode,omitempty"`
}

// PluginMapping says where plugins apply (C13).
type PluginMapping struct {
	ID        string   `json:"id"`
	API       string   `json:"api,omitempty"` // "" = every API
	Plugins   []string `json:"plugins,omitempty"`
	Consumers []string `json:"consumers,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Filters   []string `json:"filters,omitempty"`
}

// API gives a service filters that route to it, or backends that are not in
// discovery (C30, C31), or is a part of another service (K2).
type API struct {
	Name             string   `json:"name"`
	Service          string   `json:"service,omitempty"` // "" = that of its name
	Filters          []string `json:"filters,omitempty"`
	Backends         []string `json:"backends,omitempty"` // URLs (B13), or one service:NAME
	ProtectedHeaders []string `json:"protected_headers,omitempty"`
}

// Mapping sends a domain to backends (B15), or to one service:NAME (K2).
type Mapping struct {
	Domain   string   `json:"domain"` // also "*.x"
	Tenant   string   `json:"tenant,omitempty"`
	Backends []string `json:"backends"`
	Seq      uint64   `json:"seq,omitempty"` // order of creation (B8)
}

func (l *List) Kind() Kind {
	if l.Allow {
		return KindWhitelist
	}
	return KindBlacklist
}
func (*Consumer) Kind() Kind      { return KindConsumers }
func (*Credential) Kind() Kind    { return KindCredentials }
func (*Group) Kind() Kind         { return KindGroups }
func (*Filter) Kind() Kind        { return KindFilters }
func (*Plugin) Kind() Kind        { return KindPlugins }
func (*ACL) Kind() Kind           { return KindACLs }
func (*PluginMapping) Kind() Kind { return KindPluginMappings }
func (*API) Kind() Kind           { return KindAPIs }
func (*Mapping) Kind() Kind       { return KindMappings }
