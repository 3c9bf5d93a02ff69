package config

import "github.com/hashicorp/hcl/v2"

// Metrics is the block metrics: what is counted besides.
type Metrics struct {
	Codes     bool // answers by their exact status
	Consumers int  // requests by consumer, of so many; 0 = they are not
}

// maxConsumers is how many consumers requests may be counted by.
const maxConsumers = 10_000

func (d *decoder) metrics(b *hcl.Block) {
	d.body(b, options{
		"codes":     boolean(&d.cfg.Metrics.Codes),
		"consumers": number(&d.cfg.Metrics.Consumers, 0, maxConsumers),
	}, nil)
}
