package main

// rowDecisions tells what the decision log costs.
var rowDecisions = &row{
	name: "decisions", unit: "µs",
	title:   "CPU of a small GET with the decision log on",
	aim:     "at most 1.03 of without",
	who:     []*contestant{lictorDecisions, lictorNoDecisions},
	measure: load{path: smallPath, size: smallSize, connections: 64}.cpuPerRequest,
}

var lictorNoDecisions = &contestant{name: "the same without", start: lictor.start}

var lictorDecisions = &contestant{name: "lictor with decision log", start: func(b *bed, address string) (*proxy, error) {
	return startLictor(b, "lictor", address, "decision_log {\n  path = \""+b.dir+"/decisions\"\n}\n")
}}
