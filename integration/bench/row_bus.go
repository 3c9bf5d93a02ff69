package main

import (
	"context"
	"fmt"
)

// The rows about the service bus: the same requests on the same broker for the
// same worker, by lictor, by a bare client behind net/http, which do the same,
// and by the bare client alone, which takes no HTTP.

const busInFlight = 64

var busPeers = []*contestant{lictorOnBus, bareBehindHTTP, bareClient}

var rowBus = &row{
	name: "bus", unit: "µs",
	title: "Bus, 64 requests in flight: CPU per round trip",
	aim:   "at most 1.5 of a bare amqp091-go client behind net/http",
	who:   busPeers,
	measure: func(ctx context.Context, b *bed, p *proxy) (float64, error) {
		before, err := p.cpu()
		if err != nil {
			return 0, err
		}
		trips, err := busTrips(ctx, b, p)
		if err != nil {
			return 0, err
		}
		after, err := p.cpu()
		return float64((after - before).Nanoseconds()) / 1e3 / float64(trips), err
	},
}

var rowBusRate = &row{
	name: "busrate", unit: "µs",
	title: "the same: time per round trip",
	aim:   "at most 1.5 of both",
	who:   busPeers,
	measure: func(ctx context.Context, b *bed, p *proxy) (float64, error) {
		trips, err := busTrips(ctx, b, p)
		return float64(b.duration.Microseconds()) / float64(trips), err
	},
}

// busTrips has p make round trips for the bed's duration.
func busTrips(ctx context.Context, b *bed, p *proxy) (int64, error) {
	if p.load != nil {
		return p.load(ctx)
	}
	l := load{path: "/" + busExchange + "/new", size: smallSize, connections: busInFlight}
	trips, err := l.run(ctx, b, p.address)
	if err == nil {
		if err = p.emptyLogs(); err != nil {
			err = fmt.Errorf("log: %w", err)
		}
	}
	return trips, err
}
