package policy

const inTheKey = "the name in the key"

// Rows that several kinds share.
var (
	modeField      = Field{Name: "mode", Enum: []string{string(Enforce), string(Report)}, Default: string(Enforce), Example: "report", Doc: "report: only logged and counted"}
	createdField   = Field{Name: "created_at", Fixed: true, Example: "2026-01-02T03:04:05Z", Doc: "when it was made"}
	idField        = Field{Name: "id", Default: inTheKey, Example: "5eb456e3-3512-435a-8d96-cafc5ac1bb10", Doc: "made by lictor"}
	apiField       = Field{Name: "api", Needed: true, Example: "shop", Doc: "name of the API: a service, a mapped domain or an API object"}
	consumersField = Field{Name: "consumers", Refers: KindConsumers, Always: true, Example: "alice", Doc: "names or ids of consumers"}
	groupsField    = Field{Name: "groups", Refers: KindGroups, Always: true, Example: "staff", Doc: "groups of consumers; missing ones are made"}
	filtersField   = Field{Name: "filters", Refers: KindFilters, Always: true, Example: "reads", Doc: "names of filters, any of which has to match; the inline one as well, always"}
)

// listTable returns the table of blacklists, or of whitelists.
func listTable(allow bool) Table {
	t := Table{
		Kind: KindBlacklist, One: "blacklist", Named: "what the list is called", make: func() Object { return &List{} },
		Doc: "Blacklists: what is refused at the gateway and at the egress.",
	}
	direction := string(Both)
	if allow {
		t = Table{
			Kind: KindWhitelist, One: "whitelist", Named: "what the list is called", make: func() Object { return &List{Allow: true} },
			Doc: "Whitelists: what alone is let through, at the egress unless direction says otherwise.",
		}
		direction = string(Egress) // A10: both would close the gateway
	}
	t.Fields = []Field{
		{Name: "entries", Always: true, Example: "10.0.0.0/8", Doc: "addresses, CIDRs, hosts, URLs, paths, service:NAME"},
		{Name: "direction", Sticky: true, Enum: []string{string(Ingress), string(Egress), string(Both)}, Default: direction, Example: "egress", Doc: "which listeners it guards"},
		modeField,
		{Name: "reason", Example: "scanners", Doc: "your note, for the log"},
		{Name: "consumers", Refers: KindConsumers, Example: "alice", Doc: "of a whitelist for the egress: names or ids of the consumers that it admits; without consumers and groups anybody"},
		{Name: "groups", Refers: KindGroups, Example: "staff", Doc: "of a whitelist for the egress: groups whose members it admits"},
	}
	return t
}

var consumerTable = Table{
	Kind: KindConsumers, One: "consumer", Named: "the consumer's name", make: func() Object { return &Consumer{} },
	Doc: "Consumers: who calls, known by a key.",
	Fields: []Field{
		{Name: "id", Fixed: true, Default: "the name", Example: "c-1", Doc: "made by lictor; what other objects refer to"},
		{Name: "name", Needed: true, Default: inTheKey, Example: "alice", Doc: "also spelled username"},
		{Name: "custom_id", Example: "customer-17", Doc: "your own id, sent to backends as X-Consumer-Custom-ID"},
		{Name: "groups", Refers: KindGroups, Always: true, Example: "staff", Doc: "groups the consumer is in; missing ones are made"},
		createdField,
	},
}

var credentialTable = Table{
	Kind: KindCredentials, One: "key", Named: "the SHA-256 of the key, in lower-case hex", make: func() Object { return &Credential{} },
	Doc: "Keys of a consumer. A key is shown once, when it is made; the store has only its SHA-256.",
	Fields: []Field{
		{Name: "id", Default: inTheKey, Example: "k-1", Doc: "made by lictor"},
		{Name: "consumer", API: "consumer_id", Fixed: true, Default: "an error", Example: "c-1", Doc: "whose key it is"},
		createdField,
		{Name: "not_after", Sticky: true, Default: "never", Example: "2099-01-02T03:04:05Z", Doc: "the key is unknown from then on; null takes it away"},
	},
}

var groupTable = Table{
	Kind: KindGroups, One: "group", Named: "the group's name", make: func() Object { return &Group{} },
	Doc: "Groups of consumers, of plugins, or of both. A group is made when a consumer, an ACL or a mapping first names it.",
	Fields: []Field{
		{Name: "name", Needed: true, Default: inTheKey, Example: "staff", Doc: "what others call the group"},
		{Name: "plugins", Refers: KindPlugins, Always: true, Example: "limit", Doc: "ids of the plugins in it"},
	},
}

var filterTable = Table{
	Kind: KindFilters, One: "filter", Named: "the filter's name", make: func() Object { return &Filter{} },
	Doc: "Filters describe requests: any value within a property, all properties together. At least one is needed.",
	Fields: []Field{
		{Name: "name", Needed: true, Default: inTheKey, Example: "reads", Doc: "what others call the filter"},
		{Name: "inline", Fixed: true, Default: "false", Example: "true", Doc: "made for one ACL or mapping, and removed with it"},
		// The lists are what a filter matches by. The admin API takes them for an
		// ACL or a plugin mapping too, as an inline filter (C28).
		{Name: "methods", Example: "GET", Doc: "any of these methods"},
		{Name: "hosts", Example: "*.example.org", Doc: "any of these hosts, also *.x"},
		{Name: "paths", Example: "/v2", Doc: "below any of these paths, by whole segments"},
		{Name: "ips", Example: "10.0.0.0/8", Doc: "from any of these addresses or CIDRs"},
		{Name: "locations", Example: "NL", Doc: "from any of these countries (ISO 3166-1 alpha-2)"},
	},
}

var pluginTable = Table{
	Kind: KindPlugins, One: "plugin", Named: "the plugin's id", make: func() Object { return &Plugin{} },
	Doc: "Configurations of plugins. One that was never mapped holds everywhere; from its first mapping on only where it is mapped.",
	Fields: []Field{
		{Name: "id", Default: inTheKey, Example: "limit", Doc: "yours, or made by lictor"},
		{Name: "name", Needed: true, Enum: pluginNames(), Example: "key-auth", Doc: "the type of the plugin"},
		{Name: "config", Example: `{"hide_credentials":true}`, Doc: "its settings, also spelled config.second=10"},
		{Name: "enabled", Default: "true", Example: "true", Doc: "false: as if it were not there"},
		{Name: "global", Sticky: true, Default: "true", Example: "false", Doc: "it holds everywhere; false from its first mapping on"},
		modeField,
	},
}

var aclTable = Table{
	Kind: KindACLs, One: "ACL", Named: "the ACL's id", make: func() Object { return &ACL{} },
	Doc:    "ACLs let consumers and groups use an API, and close it to all others. Without a subject: anyone.",
	Fields: []Field{idField, apiField, consumersField, groupsField, filtersField, modeField},
}

var pluginMappingTable = Table{
	Kind: KindPluginMappings, One: "mapping", Named: "the mapping's id", make: func() Object { return &PluginMapping{} },
	Doc: "Plugin mappings say where plugins hold: for an API, for consumers or members of groups, for requests that filters match.",
	Fields: []Field{
		idField,
		{Name: "api", Needed: true, Default: "every API", Example: "shop", Doc: apiField.Doc},
		consumersField, groupsField, filtersField,
		{Name: "plugins", Refers: KindPlugins, Always: true, Example: "limit", Doc: "ids of the plugins; those in the groups count too"},
	},
}

var apiTable = Table{
	Kind: KindAPIs, One: "API", Named: "the service's name, or *.domain", make: func() Object { return &API{} },
	Doc: "APIs: filters that route requests to a service, or backends that are not in discovery. Several may be parts of one service. Other APIs need no object.",
	Fields: []Field{
		{Name: "name", Needed: true, Default: inTheKey, Example: "shop", Doc: "the service's name, or *.domain for a mapped one"},
		{Name: "service", Default: "the one of its name", Example: "chat", Doc: "the service that its requests go to; with filters only what they match"},
		{Name: "filters", Refers: KindFilters, Always: true, Example: "reads", Doc: "names of filters; a request that one matches goes to the API"},
		{Name: "backends", Always: true, Example: "service:chat", Doc: "http and https URLs, served in turn, or service:NAME alone"},
		{Name: "protected_headers", Always: true, Sticky: true, Example: "X-Internal-*", Doc: "header names, also X-Y-*, that do not pass from or to outside"},
	},
}

var mappingTable = Table{
	Kind: KindMappings, One: "mapping", Named: "the domain", make: func() Object { return &Mapping{} },
	Doc: "Mappings send the requests for a tenant's domain to backends.",
	Fields: []Field{
		{Name: "domain", Needed: true, Default: inTheKey, Example: "shop.example.org", Doc: "what the Host of requests is compared with; also `*.example.org`"},
		{Name: "tenant", Fixed: true, Example: "acme", Doc: "whose mapping it is: the first part of its path on /v1"},
		{Name: "backends", Needed: true, Example: "http://10.0.0.7:8080", Doc: "http and https URLs, served in turn, or service:NAME alone"},
		{Name: "seq", Fixed: true, Default: "when it was written first", Example: "7", Doc: "its place among the tenant's mappings"},
	},
}
