package egress

import (
	"encoding/base64"
	"strings"
	"time"

	"lictor/policy"
	"lictor/proxy/http1"
)

// credentials are what a client says of itself in Proxy-Authorization: the name
// or id of a consumer, and one of its keys. The zero value is nobody.
type credentials struct{ consumer, key string }

// readCredentials reads the field. What is no single Basic field is nobody:
// whether that matters is for the rules to say.
func readCredentials(req *http1.RequestHead) credentials {
	text, n := "", 0
	for i := range req.Fields {
		if f := &req.Fields[i]; f.ID == http1.FieldProxyAuthorization {
			text = f.Value
			n++
		}
	}
	scheme, encoded, ok := strings.Cut(text, " ")
	if n != 1 || !ok || !http1.EqualFold(scheme, "basic") {
		return credentials{}
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return credentials{}
	}
	var c credentials
	c.consumer, c.key, _ = strings.Cut(string(plain), ":")
	return c
}

// identity is the consumer that the credentials belong to by that policy, nil
// if they are wrong: the key must be known, and be that consumer's.
func (c credentials) identity(set *policy.Set) *policy.Identity {
	if c.key == "" {
		return nil
	}
	who := set.Identify(c.key, time.Now())
	if who == nil || c.consumer != who.Name && c.consumer != who.ID {
		return nil
	}
	return who
}
