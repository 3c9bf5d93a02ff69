package access

import (
	"errors"
	"net/http"

	"lictor/admin"
	"lictor/admin/openapi"
)

// Routes returns the routes of the policy API. It fails if a required part of cfg
// is missing.
func Routes(cfg Config) ([]admin.Route, error) {
	if cfg.Policy == nil || cfg.Log == nil {
		return nil, errors.New("access: Policy and Log are required")
	}
	kinds := []struct {
		path   string
		of     *resource
		within *within
		tag    string
	}{
		{"/consumers", &consumers, nil, "Consumers"},
		{"/consumers/{consumer}/key-auth", &keys, withinConsumer, "Consumers"},
		{"/groups", &groups, nil, "Groups"},
		{"/filters", &filters, nil, "Filters"},
		{"/apis", &apis, nil, "APIs"},
		{"/apis/{api}/acls", &acls, withinAPI, "ACLs"},
		{"/mappings/acls", &acls, nil, "ACLs"},
		{"/plugins", &plugins, nil, "Plugins"},
		{"/mappings/plugins", &pluginMappings, nil, "Plugins"},
		{"/blacklist", &blacklist, nil, "Blacklists and whitelists"},
		{"/whitelist", &whitelist, nil, "Blacklists and whitelists"},
	}
	var routes []admin.Route
	for _, k := range kinds {
		doc := k.of.describer(k.tag)
		if k.within == withinAPI {
			doc.needed = nil // the path says it
		}
		c := collection{&cfg, &ofKind{&cfg, k.of, k.within}, k.of}
		routes = append(routes, c.routes(k.path, doc)...)
	}
	short := collection{&cfg, &shortForm{&cfg}, &both}
	doc := both.describer("Plugins")
	doc.one, doc.needed = "plugin and its mapping", []string{"name"} // the path says the API
	routes = append(routes, short.routes("/apis/{api}/plugins", doc)...)
	either := collection{&cfg, &anyMapping{&cfg}, &mapping}
	doc = mapping.describer("Mappings")
	doc.one = "mapping: with any plugin in it a plugin mapping, else an ACL"
	return append(routes,
		route("GET", "/mappings", either.list, doc.describeList()),
		route("POST", "/mappings", either.save(create), doc.describeCreate())), nil
}

func (c *collection) routes(path string, doc *describer) []admin.Route {
	one := path + "/{id}"
	return []admin.Route{
		route("GET", path, c.list, doc.describeList()),
		route("POST", path, c.save(create), doc.describeCreate()),
		route("GET", one, c.get, doc.describeGet()),
		route("PATCH", one, c.save(change), doc.describeUpdate("Change what is given", 200)),
		route("PUT", one, c.save(replace), doc.describeReplace("Replace it whole, or make it")),
		route("DELETE", one, c.remove, doc.describeRemove()),
	}
}

func route(method, path string, serve func(http.ResponseWriter, *http.Request) error, doc *openapi.Operation) admin.Route {
	may := admin.Write
	if method == http.MethodGet {
		may = admin.Read
	}
	return admin.Route{Method: method, Path: path, May: may, MaxBody: maxBody, Handler: admin.Handle(serve), Doc: doc}
}
