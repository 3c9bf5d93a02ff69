package main

import (
	"context"
	"fmt"
)

// row is one thing that is measured on several contestants.
type row struct {
	name  string        // for -rows
	title string        // in the table
	unit  string        // of what measure returns
	aim   string        // what the figure shall be
	who   []*contestant // the first is lictor, the others are what it is compared with
	asked bool          // measured only if it is named
	most  int           // rounds that are enough; 0: as many as asked for
	fresh bool          // every measurement gets a process of its own

	measure func(ctx context.Context, b *bed, p *proxy) (float64, error)
}

// rows are all measurements, in the order of the table.
var rows = []*row{rowGet, rowQuiet, rowLatency, rowMesh, rowPolicy, rowDecisions, rowTraces, rowJWT, rowJWTFirst, rowMiddle, rowDown, rowUp, rowIdle, rowSettled, rowTLS, rowH2, rowH2Many, rowH2Some, rowHandshakeECDSA, rowHandshakeRSA, rowEgressGet, rowEgressTunnel, rowBus, rowBusRate}

// The usual contestants.
var peers = []*contestant{lictor, nginx, haproxy}

// result is what came out of a row: for each contestant one figure per round.
type result struct {
	row     *row
	figures [][]float64 // of row.who, in the order of the rounds
}

func (r *row) limit(rounds int, short bool) int {
	switch {
	case r.most > 0 && short:
		return 1
	case r.most > 0:
		return min(rounds, r.most)
	}
	return rounds
}

// run measures all contestants, one after the other, in every round. The round
// begins each time with another one, so that the place in it favours nobody.
func (r *row) run(ctx context.Context, b *bed, rounds int, tick func()) (*result, error) {
	res := &result{row: r, figures: make([][]float64, len(r.who))}
	for round := range rounds {
		for i := range r.who {
			k := (i + round) % len(r.who)
			v, err := r.one(ctx, b, r.who[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.who[k].name, err)
			}
			res.figures[k] = append(res.figures[k], v)
		}
		tick()
	}
	return res, nil
}

// one is a single measurement.
func (r *row) one(ctx context.Context, b *bed, c *contestant) (float64, error) {
	if r.fresh {
		p, err := b.startProxy(ctx, c)
		if err != nil {
			return 0, err
		}
		defer p.stop()
		return r.measure(ctx, b, p)
	}
	p, err := b.proxy(ctx, c)
	if err != nil {
		return 0, err
	}
	return r.measure(ctx, b, p)
}
