package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"

	"lictor/integration/broker"
	"lictor/integration/port"
)

// demoBus shows the service bus: requests that become messages, and the
// example worker's answers.
func demoBus(ctx context.Context, lictor, worker string) error {
	dir, err := os.MkdirTemp("", "lictor-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log, err := os.Create(dir + "/rabbitmq.log")
	if err != nil {
		return err
	}
	defer log.Close()
	node, err := broker.New(dir, log)
	if err != nil {
		return err
	}
	defer node.Close()
	fmt.Printf("RabbitMQ starts on %s.\n", node.Addr)
	if err := node.Start(ctx); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, text)
	}
	work := exec.Command(worker, "-url", node.URL, "-exchange", "orders")
	work.Stdout, work.Stderr = os.Stdout, os.Stderr
	w, err := start(work)
	if err != nil {
		return err
	}
	defer w.stop()
	gateway, admin, err := startOnBus(lictor, dir, node.URL)
	if err != nil {
		return err
	}
	defer gateway.stop()
	if err := gateway.until(ctx, "the worker answers", func() error { return answers(gateway.address) }); err != nil {
		return err
	}
	err = try(ctx, lictor, gateway.address, admin, []request{
		{"the first path segment names the exchange, the rest is the routing key", "/orders/bar/baz?page=1&size=20", "", 200},
		{"the body goes along, and the worker says the status", "/orders/new", "item=tea", 201},
		{"no exchange of this name", "/nobody/", "", 503},
		{"the broker's own exchanges are not served", "/amq.topic/x", "", 404},
	})
	if err != nil || !stays() {
		return err
	}
	fmt.Printf("Everything stays up until Ctrl-C. RabbitMQ: %s  lictor: http://%s\n", node.URL, gateway.address)
	select {
	case <-ctx.Done():
		fmt.Println()
		return nil
	case <-gateway.ended:
		return errors.New("lictor ended by itself, see above")
	case <-w.ended:
		return errors.New("the worker ended by itself, see above")
	case <-node.Exited():
		return errors.New("rabbitmq ended by itself")
	}
}

// startOnBus starts lictor with every service on the bus.
func startOnBus(lictor, dir, url string) (c *child, admin string, err error) {
	ports, err := port.Free(2)
	if err != nil {
		return nil, "", err
	}
	gateway, admin := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	c, err = launch(lictor, dir, gateway, fmt.Sprintf(`log_level = "warn"
data_dir  = ""
gateway {
  address = %q
}
admin {
  address = %q
}
dispatch "rabbitmq" {
  url      = %q
  services = ["*"]
}
`, gateway, admin, url))
	return c, admin, err
}

// answers reports as an error that no worker answers yet.
func answers(gateway string) error {
	resp, err := http.Get("http://" + gateway + "/orders/")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
