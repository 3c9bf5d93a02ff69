package config

import (
	"errors"
	"time"

	"github.com/hashicorp/hcl/v2"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/internal/secret"
)

// RabbitMQ is the block dispatch "rabbitmq" (D11).
type RabbitMQ struct {
	Configured bool          // there is a block
	URL        secret.Text   // amqp:// or amqps://, with user and password
	Services   []string      // globs of the services that are reached over the bus
	Timeout    time.Duration // from the request to its answer
	MaxBody    int64         // bytes of a request's body
	MaxReply   int64         // bytes of a worker's answer
}

func defaultRabbitMQ() RabbitMQ {
	return RabbitMQ{URL: secret.New("amqp://guest:guest@127.0.0.1:5672/"), Timeout: 15 * time.Second, MaxBody: 8 << 20, MaxReply: 8 << 20}
}

func (d *decoder) dispatchRabbitMQ(b *hcl.Block) {
	r := &d.cfg.RabbitMQ
	r.Configured = true
	where := d.body(b, options{
		"url":       hidden(&r.URL, amqpURL),
		"services":  list(&r.Services, glob),
		"timeout":   parsed(&r.Timeout, duration(moment)),
		"max_body":  parsed(&r.MaxBody, bytes(1, 128<<20)),
		"max_reply": parsed(&r.MaxReply, bytes(1, 128<<20)),
	}, nil)
	if len(r.Services) == 0 {
		d.wrong(where.of("services", b), `dispatch "rabbitmq": services: want at least one name, such as "orders" or "*"`)
	}
}

func amqpURL(s string) error {
	if uri, err := amqp.ParseURI(s); err != nil || uri.Port < 1 || uri.Port > 65535 {
		return errors.New("want amqp://USER:PASSWORD@HOST:PORT/VHOST")
	}
	return nil
}
