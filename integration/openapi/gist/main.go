// Gist sets up two groups of consumers, of whom one may only GET and the other
// may POST, too, and has a rate limit of its own. It speaks through the client
// that is made of the description, and only by its types.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"

	"lictor/integration/openapi/client"
)

func main() {
	admin := flag.String("admin", "", "`URL` of the admin listener")
	token := flag.String("token", "", "its token")
	flag.Parse()
	if err := run(context.Background(), *admin, *token); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, admin, token string) error {
	c, err := client.NewClientWithResponses(admin, client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-Admin-Token", token)
		return nil
	}))
	if err != nil {
		return err
	}
	for name, group := range map[string]string{"thefosk": "only_get", "sinzone": "get_and_post"} {
		made, err := c.PostConsumersWithResponse(ctx, client.ConsumerCreate{Name: name, Key: &name, Groups: &[]string{group}})
		if err != nil {
			return err
		}
		if made.JSON201 == nil || made.JSON201.Name != name || made.JSON201.Id == nil {
			return fmt.Errorf("consumer %s: %s %s", name, made.Status(), made.Body)
		}
		// What is not said stays: a client has to send no groups to change something else.
		custom := "custom-" + name
		changed, err := c.PatchConsumersIdWithResponse(ctx, name, nil, client.ConsumerPatch{CustomId: &custom})
		if err != nil {
			return err
		}
		if changed.JSON200 == nil || len(changed.JSON200.Groups) != 1 {
			return fmt.Errorf("consumer %s: %s %s", name, changed.Status(), changed.Body)
		}
	}
	for group, methods := range map[string][]string{"only_get": {"GET"}, "get_and_post": {"GET", "POST"}} {
		made, err := c.PostApisApiAclsWithResponse(ctx, "mockbin", client.ACLCreate{Groups: &[]string{group}, Methods: &methods})
		if err != nil {
			return err
		}
		if made.JSON201 == nil {
			return fmt.Errorf("ACL of %s: %s %s", group, made.Status(), made.Body)
		}
	}
	for limit, groups := range map[int]*[]string{10: nil, 1000: {"get_and_post"}} {
		made, err := c.PostApisApiPluginsWithResponse(ctx, "mockbin", client.APIPluginCreate{
			Name: client.APIPluginCreateNameRateLimiting, Groups: groups, Config: &client.PluginConfig{Seconds: &limit},
		})
		if err != nil {
			return err
		}
		if made.JSON201 == nil || made.JSON201.Config == nil || *made.JSON201.Config.Seconds != limit {
			return fmt.Errorf("limit of %d: %s %s", limit, made.Status(), made.Body)
		}
	}
	return nil
}
