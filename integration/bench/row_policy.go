package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/hashicorp/consul/api"
)

var rowPolicy = &row{
	name: "policy", unit: "µs",
	title:   "the same with key-auth, ACL, rate limit and 100,000 blacklist entries",
	aim:     "at most 1.15 of without",
	who:     []*contestant{lictorPolicy, lictorKey},
	measure: load{path: smallPath, size: smallSize, connections: 64, key: true}.cpuPerRequest,
}

// The key that requests show. A proxy that asks for none passes it on.
const (
	keyHeader = "apikey"
	accessKey = "bench-key"
)

// lictorKey is lictor without policy, sent the key nevertheless.
var lictorKey = &contestant{name: "the same without policy", start: lictor.start}

// policyPrefix is where lictorPolicy, and no other, finds objects.
const policyPrefix = "bench/"

// lictorPolicy decides by objects in Consul KV.
var lictorPolicy = &contestant{
	name: "lictor with policy",
	start: func(b *bed, address string) (*proxy, error) {
		if err := writePolicy(b.client.KV()); err != nil {
			return nil, err
		}
		return startLictor(b, "lictor", address, fmt.Sprintf("policy {\n  prefix = %q\n}\n", policyPrefix))
	},
	ready: func(ctx context.Context, p *proxy) error {
		url := "http://" + p.address
		for _, want := range []struct {
			path, key string
			status    int
		}{
			{smallPath, "", http.StatusUnauthorized},
			{deniedPath(deniedEntries - 1), accessKey, http.StatusForbidden}, // the last entry is a path
		} {
			err := p.until(ctx, func() error { return fetch(ctx, url+want.path, want.key, want.status, -1) })
			if err != nil {
				return err
			}
		}
		return p.until(ctx, func() error { return fetch(ctx, url+smallPath, accessKey, http.StatusOK, smallSize) })
	},
}

const (
	deniedEntries = 100_000
	deniedPerKey  = 1000
)

func deniedPath(i int) string { return fmt.Sprintf("/%s/denied/%d", service, i) }

// denied is a blacklist entry: a host, an address or a path.
func denied(i int) string {
	switch i % 3 {
	case 0:
		return deniedPath(i)
	case 1:
		return fmt.Sprintf("host-%d.bench.test", i)
	}
	return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
}

// writePolicy puts all objects into Consul KV.
func writePolicy(kv *api.KV) error {
	sum := sha256.Sum256([]byte(accessKey))
	objects := map[string]string{
		"consumers/caller":                          `{"name": "caller", "groups": ["callers"]}`,
		"credentials/" + hex.EncodeToString(sum[:]): `{"consumer": "caller"}`,
		"acls/allow":                                fmt.Sprintf(`{"id": "allow", "api": %q, "groups": ["callers"]}`, service),
		"plugins/key":                               `{"id": "key", "name": "key-auth", "config": {}}`,
		"plugins/limit":                             `{"id": "limit", "name": "rate-limiting", "config": {"seconds": 1000000, "hours": 1000000000}}`,
		"plugin-mappings/bench":                     fmt.Sprintf(`{"id": "bench", "api": %q, "plugins": ["key", "limit"]}`, service),
	}
	for from := 0; from < deniedEntries; from += deniedPerKey {
		entries := make([]string, deniedPerKey)
		for i := range entries {
			entries[i] = denied(from + i)
		}
		list, err := json.Marshal(entries)
		if err != nil {
			return err
		}
		objects[fmt.Sprintf("blacklist/list-%06d", from)] = string(list)
	}
	for key, value := range objects {
		if _, err := kv.Put(&api.KVPair{Key: policyPrefix + "policy/" + key, Value: []byte(value)}, nil); err != nil {
			return fmt.Errorf("consul kv put %s: %w", key, err)
		}
	}
	return nil
}
