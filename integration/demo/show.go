package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// both reports as an error that not both instances of hello answer yet.
func both(gateway string) error {
	seen := make(map[string]bool)
	for range 4 {
		resp, err := http.Get("http://" + gateway + "/hello/")
		if err != nil {
			return err
		}
		var body struct{ Instance string }
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %w", resp.Status, err)
		}
		seen[body.Instance] = true
	}
	if len(seen) < 2 {
		return errors.New("one instance still misses")
	}
	return nil
}

// ready reports as an error that lictor does not know all yet that it needs.
func ready(admin string) error {
	resp, err := http.Get("http://" + admin + "/readyz")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// request is one to show.
type request struct {
	says, path string
	body       string // "" = a GET, else a POST of it
	want       int    // status of the answer
}

// show runs the requests that the demo is about.
func show(ctx context.Context, program, gateway, admin string) error {
	return try(ctx, program, gateway, admin, []request{
		{"the first path segment names the service, the rest goes to an instance", "/hello/world?x=1", "", 200},
		{"the next request goes to the other one", "/hello/again", "", 200},
		{"the only instance of this service fails its check", "/broken/", "", 503},
		{"nobody registered this one", "/nobody/", "", 503},
		{"and this names no service", "/", "", 404},
	})
}

// try runs requests, as curl would print them, and has lictor tell its status.
func try(ctx context.Context, program, gateway, admin string, requests []request) error {
	for _, line := range requests {
		url := "http://" + gateway + line.path
		method, option := http.MethodGet, ""
		if line.body != "" {
			method, option = http.MethodPost, "-d '"+line.body+"' "
		}
		fmt.Printf("# %s\n$ curl -i %s'%s'\n", line.says, option, url)
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(line.body))
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "curl")
		if line.body != "" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		fmt.Printf("%s %s\n", resp.Proto, resp.Status)
		for _, name := range []string{"Content-Type", "Retry-After", "Via"} {
			if value := resp.Header.Get(name); value != "" {
				fmt.Printf("%s: %s\n", name, value)
			}
		}
		fmt.Printf("\n%s\n\n", strings.TrimSpace(string(body)))
		if resp.StatusCode != line.want {
			return fmt.Errorf("%s: got %s, want %d", line.path, resp.Status, line.want)
		}
	}
	fmt.Printf("# what lictor knows\n$ %s status -admin http://%s\n", program, admin)
	status := exec.CommandContext(ctx, program, "status", "-admin", "http://"+admin)
	status.Stdout, status.Stderr = os.Stdout, os.Stderr
	err := status.Run()
	fmt.Println()
	return err
}
