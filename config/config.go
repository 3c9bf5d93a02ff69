// Package config turns configuration files in HCL into checked values.
//
// [Load] reads files and directories, [Parse] works on bytes. Both return either
// a complete [Config], every default filled in, or every mistake at once: a
// *multierror.Error of [Problem]s, each with its place. An unknown name is a
// mistake (X15). Nothing is done with the values: package app builds the parts of
// lictor from them.
//
// A block lives in one short file. To add one: write a struct for its values,
// give it a field in [Config] (and its defaults in [Default]), write a function
// that decodes it with decoder.body and the parsers of value.go, and name that
// function in the table blocks of block.go. Describe every option in
// config.hcl.example; a test compares its names and defaults with the code.
package config

import (
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"

	"lictor/policy/feed"
	"lictor/proxy/middleware"
)

// Config is a checked configuration. Each of its values can be used as it is; they
// are not to be changed. Times are durations and sizes are bytes throughout.
type Config struct {
	LogLevel   hclog.Level
	LogJSON    bool   // log_format = "json"
	DataDir    string // last-good snapshots; "" = none are kept
	Gateway    Gateway
	Listeners  []Listener // further ones of the gateway, in the order of the files
	Egress     Egress
	Admin      Admin
	Consul     Consul
	Policy     Policy
	Feeds      []feed.Source // in the order of the files
	ACL        ACL
	GeoIP      GeoIP
	Resolvers  []Resolver        // in the order of the files (D10)
	HTTP       HTTP              // dispatch "http"
	RabbitMQ   RabbitMQ          // dispatch "rabbitmq"
	Middleware []middleware.Rule // in the order of the files (D19)
	AccessLog  AccessLog
	Metrics    Metrics
	Telemetry  Telemetry

	DecisionLog DecisionLog
}

// Default returns the configuration of an empty file. It is the caller's.
func Default() *Config {
	return &Config{
		LogLevel:  hclog.Info,
		DataDir:   "/var/lib/lictor",
		Gateway:   defaultGateway(),
		Egress:    defaultEgress(),
		Admin:     defaultAdmin(),
		Consul:    defaultConsul(),
		Policy:    Policy{Prefix: "lictor/", Prefix6: 64},
		HTTP:      defaultHTTP(),
		RabbitMQ:  defaultRabbitMQ(),
		AccessLog: AccessLog{Format: "json"},
		Telemetry: defaultTelemetry(),

		DecisionLog: defaultDecisionLog(),
	}
}

// global returns the options outside any block.
func (d *decoder) global() options {
	return options{
		"log_level":  parsed(&d.cfg.LogLevel, logLevel),
		"log_format": parsed(&d.cfg.LogJSON, logFormat),
		"data_dir":   text(&d.cfg.DataDir),
	}
}

func logLevel(s string) (hclog.Level, error) {
	word, err := oneOf("trace", "debug", "info", "warn", "error")(s)
	return hclog.LevelFromString(word), err
}

func logFormat(s string) (json bool, err error) {
	word, err := oneOf("text", "json")(s)
	return word == "json", err
}

// Problem is one mistake in a configuration.
type Problem struct {
	At   hcl.Range // zero if the mistake has no place, as with a missing file
	Text string    // what is wrong and what was wanted; it repeats no secret
}

// Error returns the text after its place, as file:line,column-column.
func (p *Problem) Error() string {
	if p.At == (hcl.Range{}) {
		return p.Text
	}
	return p.At.String() + ": " + p.Text
}
