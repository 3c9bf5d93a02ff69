package eurekatest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type object = map[string]any

func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, doc object) {
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps, strings and numbers only
	}
	s.write(w, r, string(text))
}

// applications writes instances as /apps does; with actions, as a delta.
func (s *Server) applications(instances []*Instance, actions map[*Instance]string) object {
	if len(instances) == 0 && s.opts.Dialect == Amalgam8 {
		return object{"applications": object{}}
	}
	var names []string
	for _, i := range instances {
		if !slices.Contains(names, i.App) {
			names = append(names, i.App)
		}
	}
	apps := []any{}
	for _, name := range names {
		var own []*Instance
		for _, i := range instances {
			if i.App == name {
				own = append(own, i)
			}
		}
		apps = append(apps, s.application(name, own, actions))
	}
	doc := object{"application": s.list(apps), "apps__hashcode": s.hash()}
	if s.opts.Dialect == Netflix {
		doc["versions__delta"] = "1"
	} else {
		doc["versions__delta"] = 1
	}
	return object{"applications": doc}
}

func (s *Server) application(name string, instances []*Instance, actions map[*Instance]string) object {
	list := make([]any, len(instances))
	for n, i := range instances {
		list[n] = s.instance(i, actions[i])
	}
	return object{"name": name, "instance": s.list(list)}
}

func (s *Server) list(items []any) any {
	if s.opts.Single && len(items) == 1 {
		return items[0]
	}
	return items
}

// instance writes one instance; the spellings differ (E6).
func (s *Server) instance(i *Instance, action string) object {
	doc := object{
		"instanceId": i.ID, "app": i.App, "hostName": i.HostName, "ipAddr": i.IP, "status": i.effective(),
		"port": s.port(i.Port), "securePort": s.port(i.SecurePort), "countryId": 1,
		"leaseInfo": object{"renewalIntervalInSecs": 30, "durationInSecs": 90},
		"metadata":  object{"@class": "java.util.Collections$EmptyMap"},
	}
	if len(i.Metadata) > 0 {
		doc["metadata"] = i.Metadata
	}
	if action != "" {
		doc["actionType"] = action
	}
	override := i.override
	if override == "" {
		override = "UNKNOWN"
	}
	switch s.opts.Dialect {
	case Netflix:
		doc["overriddenstatus"], doc["lastDirtyTimestamp"] = override, strconv.FormatInt(i.dirty, 10)
		doc["dataCenterInfo"] = object{"@class": "com.netflix.appinfo.MyDataCenterInfo", "name": "MyOwn"}
	case Polaris:
		doc["overriddenStatus"], doc["lastDirtyTimestamp"] = override, i.dirty
	case Amalgam8:
		doc["overriddenstatus"] = override
	}
	return doc
}

func (s *Server) port(number int) object {
	enabled := number != 0
	if !enabled {
		number = 7001 // clients have a default for what they do not use
	}
	switch s.opts.Dialect {
	case Polaris:
		return object{"$": number, "@enabled": enabled}
	case Amalgam8:
		return object{"$": strconv.Itoa(number), "@enabled": strconv.FormatBool(enabled)}
	}
	return object{"$": number, "@enabled": strconv.FormatBool(enabled)}
}

// hash is apps__hashcode: the statuses, sorted, with the count of each.
func (s *Server) hash() string {
	if s.badHash {
		return "UP_99999_"
	}
	counts := make(map[string]int)
	for _, i := range s.listed() {
		counts[i.effective()]++
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		b.WriteString(name + "_" + strconv.Itoa(counts[name]) + "_")
	}
	return b.String()
}
