package ui

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
)

// withheld stands in place of a document in which a secret may be that cannot be
// found.
const withheld = "This document may hold a secret, and cannot be read well enough to leave it out. It is not shown."

// shownDocument is the document of an object as people may see it: without the
// secrets of a plugin. Whoever writes it back says them again, as with a PUT of the API.
func shownDocument(o *api.Object) string {
	text := string(o.Value)
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok || key.Kind != policy.KindPlugins || !slices.ContainsFunc(policy.SecretSettings(), func(name string) bool { return strings.Contains(text, name) }) {
		return text
	}
	secrets, err := secretsIn(key, text)
	if err != nil {
		return withheld
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	for _, s := range secrets {
		quoted, err := json.Marshal(s)
		if err != nil || s == "" {
			return withheld
		}
		text = strings.NewReplacer(string(quoted[1:len(quoted)-1]), policy.HiddenSecret, s, policy.HiddenSecret).Replace(text)
	}
	left, _ := secretsIn(key, text) // as secrets they are too short
	if len(left) != len(secrets) || slices.ContainsFunc(left, func(s string) bool { return s != policy.HiddenSecret }) {
		return withheld // it is spelled in another way
	}
	return text
}

// secretsIn returns the secrets in the document of a plugin. After an error there may
// be others.
func secretsIn(key policy.Key, text string) ([]string, error) {
	content, err := document.Parse(key, []byte(text))
	secrets, ok := content.(*policy.Plugin).Secrets() // Parse makes what the kind of the key is
	if !ok {
		return nil, errors.New("a secret is no text")
	}
	return secrets, err
}
