package access

import (
	"errors"
	"net/http"

	"lictor/admin"
)

// Routes returns the routes of the policy API.
func Routes(cfg Config) ([]admin.Route, error) {
	if cfg.Policy == nil || cfg.Log == nil {
		return nil, errors.New("access: Policy and Log are required")
	}
	var routes []admin.Route
	for _, c := range []*collection{
		{path: "/consumers", resource: &consumers},
		{path: "/consumers/{consumer}/key-auth", resource: &keys, within: withinConsumer},
		{path: "/groups", resource: &groups},
		{path: "/filters", resource: &filters},
		{path: "/plugins", resource: &plugins},
		{path: "/apis", resource: &apis},
		{path: "/apis/{api}/acls", resource: &acls, within: withinAPI},
		{path: "/mappings/acls", resource: &acls},
		{path: "/mappings/plugins", resource: &pluginMappings},
		{path: "/blacklist", resource: &blacklist},
		{path: "/whitelist", resource: &whitelist},
	} {
		c.Config = &cfg
		routes = append(routes, c.routes()...)
	}
	return append(routes, append((&shortForm{&cfg}).routes(), (&anyMapping{&cfg}).routes()...)...), nil
}

func (c *collection) routes() []admin.Route {
	item := c.path + "/{id}"
	return []admin.Route{
		route("GET", c.path, c.list),
		route("POST", c.path, c.create),
		route("GET", item, c.get),
		route("PATCH", item, c.patch),
		route("PUT", item, c.put),
		route("DELETE", item, c.remove),
	}
}

func route(method, path string, serve func(http.ResponseWriter, *http.Request) error) admin.Route {
	return admin.Route{Method: method, Path: path, MaxBody: maxBody, Handler: admin.Handle(serve)}
}
