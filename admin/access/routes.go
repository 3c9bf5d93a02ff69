package access

import (
	"errors"
	"net/http"
	"slices"

	"lictor/admin"
	"lictor/admin/openapi"
)

// Routes returns the routes of the policy API. It fails if a required part of cfg
// is missing.
func Routes(cfg Config) ([]admin.Route, error) {
	if cfg.Policy == nil || cfg.Log == nil {
		return nil, errors.New("access: Policy and Log are required")
	}
	var routes []admin.Route
	aclSchema := acls.schema()
	for _, c := range []*collection{
		{path: "/consumers", resource: &consumers, tag: "Consumers"},
		{path: "/consumers/{consumer}/key-auth", resource: &keys, within: withinConsumer, tag: "Consumers"},
		{path: "/groups", resource: &groups, tag: "Groups"},
		{path: "/filters", resource: &filters, tag: "Filters"},
		{path: "/apis", resource: &apis, tag: "APIs"},
		{path: "/apis/{api}/acls", resource: &acls, within: withinAPI, tag: "ACLs", schema: aclSchema},
		{path: "/mappings/acls", resource: &acls, tag: "ACLs", schema: aclSchema},
		{path: "/plugins", resource: &plugins, tag: "Plugins"},
		{path: "/mappings/plugins", resource: &pluginMappings, tag: "Plugins"},
		{path: "/blacklist", resource: &blacklist, tag: "Blacklists and whitelists"},
		{path: "/whitelist", resource: &whitelist, tag: "Blacklists and whitelists"},
	} {
		c.Config = &cfg
		if c.schema == nil {
			c.schema = c.resource.schema()
		}
		routes = append(routes, c.routes()...)
	}
	return slices.Concat(routes, (&shortForm{&cfg}).routes(), (&anyMapping{&cfg}).mappingRoutes()), nil
}

func (c *collection) routes() []admin.Route {
	item := c.path + "/{id}"
	doc := describer{tag: c.tag, one: c.one, schema: c.schema, needed: c.needed(), name: c.name, query: c.query(), cached: !c.derived}
	if c.within == withinAPI {
		doc.needed = nil // the path says it
	}
	return []admin.Route{
		route("GET", c.path, c.list, doc.describeList()),
		route("POST", c.path, c.create, doc.describeCreate()),
		route("GET", item, c.get, doc.describeGet()),
		route("PATCH", item, c.patch, doc.describeUpdate("Change what is given", 200)),
		route("PUT", item, c.put, doc.describeReplace("Replace it whole, or make it")),
		route("DELETE", item, c.remove, doc.describeRemove()),
	}
}

func route(method, path string, serve func(http.ResponseWriter, *http.Request) error, doc *openapi.Operation) admin.Route {
	return admin.Route{Method: method, Path: path, MaxBody: maxBody, Handler: admin.Handle(serve), Doc: doc}
}
