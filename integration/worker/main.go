// Command worker answers requests that lictor's dispatch "rabbitmq" puts on the
// bus. It is an example to copy: replace answer by your own work.
//
//	worker -url amqp://guest:guest@127.0.0.1:5672/ -exchange orders -key '#'
//
// The exchange is the first segment of the request's path, the routing key the
// rest of it with dots for slashes. All workers of a service listen to one
// queue, so each request is worked on once; who only wants to watch binds a
// queue of their own and does not answer.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// config says where a worker listens.
type config struct {
	url      string // of the broker
	exchange string // the service's name
	key      string // topic pattern of the requests to take
}

func main() {
	var cfg config
	flag.StringVar(&cfg.url, "url", "amqp://guest:guest@127.0.0.1:5672/", "the broker")
	flag.StringVar(&cfg.exchange, "exchange", "orders", "the service: first segment of the path")
	flag.StringVar(&cfg.key, "key", "#", "the requests to take: rest of the path, with dots; # is all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil {
		err := serve(ctx, cfg)
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintln(os.Stderr, "the bus is away, next try in a second:", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// serve works until the connection is lost or ctx ends.
func serve(ctx context.Context, cfg config) error {
	conn, err := amqp.Dial(cfg.url)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	requests, err := listen(ch, cfg)
	if err != nil {
		return err
	}
	fmt.Printf("working on %s, routing key %s\n", cfg.exchange, cfg.key)
	for r := range requests {
		if r.ReplyTo == "" {
			continue // nobody waits
		}
		reply := answer(r)
		reply.CorrelationId = r.CorrelationId // by this lictor finds who asked
		if err := ch.PublishWithContext(ctx, "", r.ReplyTo, false, false, reply); err != nil {
			return err
		}
	}
	return errors.New("the connection was closed")
}

// listen makes the service's exchange and queue, if they are not there yet.
func listen(ch *amqp.Channel, cfg config) (<-chan amqp.Delivery, error) {
	const durable, autoDelete, exclusive, internal, noLocal, noWait, autoAck = true, false, false, false, false, false, true
	if err := ch.ExchangeDeclare(cfg.exchange, "topic", durable, autoDelete, internal, noWait, nil); err != nil {
		return nil, err
	}
	queue := cfg.exchange + ".worker"
	if _, err := ch.QueueDeclare(queue, durable, autoDelete, exclusive, noWait, nil); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(queue, cfg.key, cfg.exchange, noWait, nil); err != nil {
		return nil, err
	}
	// Acknowledged at once: a request that was lost with a worker is answered
	// 504 and repeated by whoever asked, if they can.
	return ch.Consume(queue, "", autoAck, exclusive, noLocal, noWait, nil)
}

// answer does the work: it tells what was asked.
func answer(r amqp.Delivery) amqp.Publishing {
	status := int32(200)
	if r.Headers["X-WASP-METHOD"] == "POST" {
		status = 201
	}
	var body bytes.Buffer
	out := json.NewEncoder(&body)
	out.SetEscapeHTML(false)
	_ = out.Encode(map[string]any{ // strings only, which always have JSON
		"exchange": r.Exchange,
		"key":      r.RoutingKey,
		"method":   r.Headers["X-WASP-METHOD"],
		"path":     r.Headers["X-WASP-PATH"],
		"query":    r.Headers["X-WASP-QS"],
		"body":     string(r.Body),
	})
	return amqp.Publishing{
		ContentType: "application/json",
		Headers:     amqp.Table{"X-WASP-STATUS": status},
		Body:        body.Bytes(),
	}
}
