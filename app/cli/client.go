package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"lictor/admin/api"
)

// adminClient talks to the admin listener of a running lictor.
type adminClient struct {
	address string
	token   string
}

// flags defines what every command takes that talks to a running lictor (contract 1).
func (c *adminClient) flags(set *flag.FlagSet) {
	set.StringVar(&c.address, "admin", cmp.Or(os.Getenv("LICTOR_ADMIN_ADDR"), "http://127.0.0.1:8001"),
		"`URL` of the admin listener; or set LICTOR_ADMIN_ADDR")
	set.StringVar(&c.token, "token", "", "admin `token`; or set LICTOR_ADMIN_TOKEN")
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 20

// get returns the body of a good answer, and what a bad one says as an error.
func (c *adminClient) get(path string) ([]byte, error) { return c.send(http.MethodGet, path, nil) }

// ask is get with a body, which it sends as JSON.
func (c *adminClient) ask(path string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.send(http.MethodPost, path, text)
}

// withHint says what to do about a refusal of the admin listener.
func withHint(message string, status int) string {
	if status != http.StatusUnauthorized {
		return message
	}
	return strings.TrimSuffix(message, ".") + "; give the token of its configuration by -token, or set LICTOR_ADMIN_TOKEN"
}

func (c *adminClient) send(method, path string, sent []byte) ([]byte, error) {
	address := strings.TrimSuffix(c.address, "/")
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	req, err := http.NewRequest(method, address+path, bytes.NewReader(sent))
	if err != nil {
		return nil, &usageError{err}
	}
	if sent != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token := cmp.Or(c.token, os.Getenv("LICTOR_ADMIN_TOKEN")); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		var said api.Error
		if json.Unmarshal(body, &said) != nil || said.Message == "" {
			return nil, fmt.Errorf("%s answered %s", address, resp.Status)
		}
		return nil, fmt.Errorf("%s answered %d %s: %s", address, resp.StatusCode, said.Reason, withHint(said.Message, resp.StatusCode))
	}
	return body, nil
}
