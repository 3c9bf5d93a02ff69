package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// No way of printing shows a secret, wherever it stands.
func TestNothingPrintsASecret(t *testing.T) {
	const word = "hunter2"
	s := New(word)
	values := map[string]any{
		"itself": s, "a pointer": &s, "a list": []Text{s}, "a map": map[string]Text{"a": s}, "a key": map[Text]int{s: 1},
		"a field": struct{ Token Text }{s}, "a hidden field": struct{ token Text }{s}, "deep": struct{ a struct{ b []Text } }{struct{ b []Text }{[]Text{s}}},
		"in an error": fmt.Errorf("no %v", s), "joined": errors.Join(fmt.Errorf("no %s", s)), "any": []any{s},
	}
	for name, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%08.3f", "%!"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		text, _ := json.Marshal(v)
		out.Write(text)
		for _, asJSON := range []bool{false, true} {
			hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: asJSON}).Info("x", "v", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		for _, bad := range []string{word, fmt.Sprintf("%x", word), fmt.Sprintf("%X", word)} {
			if strings.Contains(out.String(), bad) {
				t.Errorf("%s: %q is shown:\n%s", name, bad, out.String())
			}
		}
	}
	if s.Reveal() != word || New("").Reveal() != "" || !New("").Empty() || s.Empty() {
		t.Error("it is not kept")
	}
	if !reflect.DeepEqual(s, New(word)) || reflect.DeepEqual(s, New("other")) {
		t.Error("two of them are not compared by what they hold")
	}
}
