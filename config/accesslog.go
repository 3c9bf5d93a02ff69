package config

import "github.com/hashicorp/hcl/v2"

// AccessLog is the block access_log.
type AccessLog struct {
	Path   string // "" = off, "-" = stdout
	Format string // json, common, combined
}

func (d *decoder) accessLog(b *hcl.Block) {
	d.body(b, options{
		"path":   text(&d.cfg.AccessLog.Path),
		"format": parsed(&d.cfg.AccessLog.Format, oneOf("json", "common", "combined")),
	}, nil)
}
