package config

import (
	"cmp"
	"os"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/hcl/v2"

	"lictor/internal/consul"
	"lictor/internal/secret"
)

// Consul is the block consul. What the file leaves out comes from the
// environment variables of consul/api, as CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN.
type Consul struct {
	Configured bool        // there is a block
	Address    string      // in a form that consul.ParseAddress reads
	Token      secret.Text // none = none, or that in TokenFile
	TokenFile  string      // holds the token instead; "" = none
	Scheme     string      // http or https
	Datacenter string      // "" = the agent's own
	TLS        ConsulTLS
}

// ConsulTLS names PEM files; "" = none.
type ConsulTLS struct {
	CAFile   string
	CertFile string
	KeyFile  string
}

func defaultConsul() Consul {
	env := api.DefaultConfig()
	return Consul{
		// consul/api says localhost, which may resolve to ::1 as well, where no agent listens.
		Address:    cmp.Or(os.Getenv(api.HTTPAddrEnvName), "127.0.0.1:8500"),
		Token:      secret.New(env.Token),
		TokenFile:  env.TokenFile,
		Scheme:     env.Scheme,
		Datacenter: env.Datacenter,
		TLS:        ConsulTLS{CAFile: env.TLSConfig.CAFile, CertFile: env.TLSConfig.CertFile, KeyFile: env.TLSConfig.KeyFile},
	}
}

func (d *decoder) consul(b *hcl.Block) {
	c := &d.cfg.Consul
	c.Configured = true
	token, file := c.Token, c.TokenFile // of the environment, where a file beats a token
	c.Token, c.TokenFile = secret.Text{}, ""
	where := d.body(b, options{
		"address":    parsed(&c.Address, consulAddress),
		"token":      hidden(&c.Token, visible),
		"token_file": text(&c.TokenFile),
		"scheme":     parsed(&c.Scheme, oneOf("http", "https")),
		"datacenter": orDefault(text(&c.Datacenter), &c.Datacenter),
	}, nested{
		"tls": func(in *hcl.Block) {
			where := d.body(in, options{
				"ca_file":   orDefault(text(&c.TLS.CAFile), &c.TLS.CAFile),
				"cert_file": orDefault(text(&c.TLS.CertFile), &c.TLS.CertFile),
				"key_file":  orDefault(text(&c.TLS.KeyFile), &c.TLS.KeyFile),
			}, nil)
			d.together(KeyPair{c.TLS.CertFile, c.TLS.KeyFile}, where, in)
		},
	})
	switch {
	case !c.Token.Empty() && c.TokenFile != "":
		d.wrong(where.of("token_file", b), "consul: token_file: want either this or token")
	case c.Token.Empty() && c.TokenFile == "":
		c.Token, c.TokenFile = token, file
	}
	d.consulUsable(where.of("address", b))
}

// consulUsable reports an address that comes from the environment, where nothing
// else looks at it.
func (d *decoder) consulUsable(at hcl.Range) {
	if _, err := consul.ParseAddress(d.cfg.Consul.Address, d.cfg.Consul.Scheme); err != nil {
		d.wrong(at, "consul: address, from the environment variable %s: %s", api.HTTPAddrEnvName, err)
	}
}

// orDefault keeps the default in dst where the file says "".
func orDefault[T comparable](set setter, dst *T) setter {
	return func(v value) {
		before := *dst
		var none T
		if set(v); *dst == none {
			*dst = before
		}
	}
}

// consulAddress checks where an agent is, in the forms that consul/api takes.
func consulAddress(s string) (string, error) {
	if _, err := consul.ParseAddress(s, ""); err != nil {
		return "", withheld{err}
	}
	return s, nil
}
