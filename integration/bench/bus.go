package main

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The worker and the bare client are this program again, as processes of their own.
const (
	workerCommand = "busworker"
	bareCommand   = "busclient"
	busExchange   = "orders"
)

// serveBus answers every message with smallSize bytes.
func serveBus(url string) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(busExchange, "topic", false, false, false, false, nil); err != nil {
		return err
	}
	queue, err := ch.QueueDeclare(busExchange, false, true, false, false, nil)
	if err != nil {
		return err
	}
	if err := ch.QueueBind(queue.Name, "#", busExchange, false, nil); err != nil {
		return err
	}
	requests, err := ch.Consume(queue.Name, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	body := make([]byte, smallSize)
	for r := range requests {
		err := ch.Publish("", r.ReplyTo, false, false, amqp.Publishing{ContentType: "text/plain", CorrelationId: r.CorrelationId, Body: body})
		if err != nil {
			return err
		}
	}
	return amqp.ErrClosed
}

// bare makes round trips with a reply queue, correlation ids, confirms,
// mandatory and expiration, and the header that lictor would send.
type bare struct {
	ch      *amqp.Channel
	replies string
	next    atomic.Int64

	mu      sync.Mutex // guards waiting
	waiting map[string]chan amqp.Delivery
}

// serveBare makes round trips when it is asked by HTTP at address: one, or as
// many as it can for a time.
func serveBare(address, url string) error {
	c, err := newBare(url)
	if err != nil {
		return err
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		reply, err := c.trip()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Write(reply.Body)
	})
	http.HandleFunc("/run", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("for"))
		if err == nil {
			var n int64
			if n, err = c.run(d); err == nil {
				fmt.Fprintln(w, n)
				return
			}
		}
		http.Error(w, err.Error(), http.StatusBadGateway)
	})
	return http.ListenAndServe(address, nil)
}

func newBare(url string) (*bare, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	in, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	queue, err := in.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return nil, err
	}
	deliveries, err := in.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		return nil, err
	}
	c := &bare{replies: queue.Name, waiting: make(map[string]chan amqp.Delivery)}
	if c.ch, err = conn.Channel(); err != nil {
		return nil, err
	}
	go func() {
		for d := range deliveries {
			c.mu.Lock()
			reply := c.waiting[d.CorrelationId]
			delete(c.waiting, d.CorrelationId)
			c.mu.Unlock()
			if reply != nil {
				reply <- d
			}
		}
	}()
	return c, c.ch.Confirm(false)
}

// run makes round trips for the time d, busInFlight at a time.
func (c *bare) run(d time.Duration) (int64, error) {
	until := time.Now().Add(d)
	var n atomic.Int64
	var wg sync.WaitGroup
	var failure atomic.Pointer[error]
	for range busInFlight {
		wg.Go(func() {
			for time.Now().Before(until) {
				if _, err := c.trip(); err != nil {
					failure.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return 0, *err
	}
	return n.Load(), nil
}

func (c *bare) trip() (amqp.Delivery, error) {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", c.next.Add(1))
	reply := make(chan amqp.Delivery, 1)
	c.mu.Lock()
	c.waiting[id] = reply
	c.mu.Unlock()
	_, err := c.ch.PublishWithDeferredConfirm(busExchange, "new", true, false, amqp.Publishing{
		Headers: amqp.Table{
			"X-WASP-METHOD": "GET", "X-WASP-PATH": "/new", "X-WASP-QS": "", "Host": "127.0.0.1:8000",
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "127.0.0.1:8000",
			"X-Forwarded-Port": "8000", "X-Forwarded-Prefix": "/orders", "Forwarded": `for=127.0.0.1;proto=http;host="127.0.0.1:8000"`,
			"Via": "1.1 lictor-9824b0e5a78639da", "X-Request-Id": id, "Traceparent": "00-a3f85aaa520275258bc8bec2362721a0-a2de2b57a1415155-00",
		},
		DeliveryMode: 1, CorrelationId: id, ReplyTo: c.replies, Expiration: "15000", Timestamp: time.Now(), AppId: "bare",
	})
	if err != nil {
		return amqp.Delivery{}, err
	}
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	select {
	case d := <-reply:
		return d, nil
	case <-limit.C:
		return amqp.Delivery{}, fmt.Errorf("no answer")
	}
}
