package egress

import (
	"encoding/base64"
	"strings"
	"time"

	"lictor/policy"
	"lictor/proxy/http1/message"
)

// credentials are what a client says of itself in Proxy-Authorization: the name
// or id of a consumer, and one of its keys. The zero value is nobody.
type credentials struct{ consumer, key string }

// readCredentials reads Proxy-Authorization. Anything but a single Basic field is
// nobody: the rules say whether that matters.
func readCredentials(req *message.RequestHead) credentials {
	text, n := "", 0
	for i := range req.Fields {
		if f := &req.Fields[i]; f.ID == message.FieldProxyAuthorization {
			text = f.Value
			n++
		}
	}
	scheme, encoded, ok := strings.Cut(text, " ")
	if n != 1 || !ok || !message.EqualFold(scheme, "basic") {
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

// identity is the consumer whose credentials these are, nil if the policy does not
// know the key, or it is somebody else's; and the id of a key that is known.
func (c credentials) identity(set *policy.Set) (who *policy.Identity, credential string) {
	if c.key == "" {
		return nil, ""
	}
	who, credential = set.Identify(c.key, time.Now())
	if who == nil || c.consumer != who.Name && c.consumer != who.ID {
		return nil, credential
	}
	return who, credential
}
