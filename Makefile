# Everything needs only Go, git, make and apt: what is missing is built by Go
# or installed by apt (integration/need).

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X lictor/internal/version.Number=$(VERSION) -X lictor/internal/version.Commit=$(COMMIT)

TOOLS    := $(CURDIR)/integration/tools/bin
H2SPEC   := $(CURDIR)/integration/h2spec/bin
GRPC     := $(CURDIR)/integration/grpc/bin
PEBBLE   := $(CURDIR)/integration/pebble/bin
LINT     := $(CURDIR)/integration/lint/bin
FUZZTIME ?= 30s
T        ?= 1m
ADVERSARY ?=
BENCH    ?=

# What tests run: Debian keeps servers in sbin, which is not on everyone's PATH.
export PATH := $(PATH):$(TOOLS):/usr/sbin:/sbin
# One set of flags for all, so that a package is compiled once. A vcs stamp would
# need a git that trusts the directory; the version is in LDFLAGS.
export GOFLAGS := -buildvcs=false -trimpath
export CGO_ENABLED := 0
# The race detector cannot do without C.
RACE := CGO_ENABLED=1 go test -race

.DEFAULT_GOAL := help
.PHONY: help run demo demo-bus build test unit integration adversary soak bench scale benchparts fuzz lint docs vuln fmt consul compiler namespaces rabbitmq peers front packages

help: ## Print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build and serve an echo service, without any configuration
	bin/lictor run -dev

demo: build consul ## Serve in front of a real Consul, with curl lines to try
	go run ./integration/demo -lictor bin/lictor

demo-bus: build rabbitmq ## Serve in front of a real RabbitMQ and an example worker
	go build -o bin/worker ./integration/worker
	go run ./integration/demo -bus -lictor bin/lictor -worker bin/worker

build: ## Build bin/lictor
	go build -ldflags '$(LDFLAGS)' -o bin/lictor .

test: compiler namespaces consul rabbitmq front bin/integration.test bin/parts.test ## Unit and integration tests with -race, lint, and a minute of adversary
	# One after the other: each keeps all processors busy, and beside others what lives in milliseconds is late.
	$(MAKE) --no-print-directory -o bin/integration.test -o bin/parts.test unit lint integration
	# Machines that run tests are busy with other things, and answer later: the second of make adversary is a quiet one's.
	$(MAKE) --no-print-directory adversary ADVERSARY='-admin 2s'

unit: compiler namespaces ## Only the unit tests
	# Nobody takes a debugger to these programs, and without what it reads (-s) each is linked for a third less; lint has vetted them.
	$(RACE) -shuffle=on -ldflags=-s -vet=off ./...
	@integration/plain

integration: compiler consul rabbitmq front bin/integration.test bin/parts.test ## Only the integration tests; says which took longest
	cd integration && ./run $(CURDIR)/bin

# Races are looked for in the lictor that these tests build and start, and in parts of lictor
# that run in the test program itself. The rest of that are clients and servers of the tests,
# which the detector would only slow; without it they also measure (scale).
.PHONY: bin/integration.test bin/parts.test
bin/integration.test:
	go test -tags integration -ldflags=-s -vet=off -c -o $@ ./integration
bin/parts.test:
	$(RACE) -tags integration -ldflags=-s -vet=off -c -o $@ ./integration

adversary: build ## Attack the built binary for T (1m) with hostile clients, backends and a Consul that lies
	go build -o bin/adversary ./integration/adversary
	bin/adversary -lictor bin/lictor -t $(T) $(ADVERSARY)

bench: build consul rabbitmq peers ## Compare side by side with nginx, HAProxy and squid (BENCH='-short' is quicker); writes docs/bench
	go build -o bin/bench ./integration/bench
	bin/bench -lictor bin/lictor $(or $(BENCH),-save docs/bench)

soak: consul bin/integration.test ## Mixed load with changes and restarts for T (1m; an hour: T=1h): nothing is lost, nothing grows
	cd integration && $(CURDIR)/bin/integration.test -test.run '^TestNothingGrowsUnderMixedLoad$$' -test.timeout 0 -test.v -soak $(T)

scale: consul bin/integration.test ## Measure what is large: a million entries of the policy, 10,000 services, 100,000 connections
	cd integration && $(CURDIR)/bin/integration.test -test.run '^(TestAChangeAmongMany.*|TestWatchesOfManyServicesHoldLittle|TestManyQuietConnections|TestScale)$$' -test.parallel 1 -test.timeout 0 -test.v \
		-entries 1000000 -services 10000 -prompts 200 -connections 100000 -settling 130s

benchparts: ## Measure the parts by themselves
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## Fuzz every target for FUZZTIME (30s)
	@set -e; for pkg in $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

lint: $(LINT)/golangci-lint ## Check the format, and what .golangci.yml names; changes nothing
	@diff=$$(gofmt -d $$(git ls-files '*.go')); if [ -n "$$diff" ]; then echo "$$diff"; exit 1; fi
	go mod tidy -diff
	@# What it found of a file holds in every clone, as what Go compiled does: its cache is beside Go's, where it is by default.
	GOLANGCI_LINT_CACHE="$${GOLANGCI_LINT_CACHE:-$$(dirname "$$(go env GOCACHE)")/golangci-lint}" $(LINT)/golangci-lint run ./...

docs: ## Write the pages of docs/reference that are made of the code
	go test -count=1 ./policy -run TestReference -update
	go test -count=1 ./app -run TestAdminTables -update

vuln: ## Look for known vulnerabilities, where their data base can be reached
	cd integration/lint && go build -o bin/govulncheck golang.org/x/vuln/cmd/govulncheck
	$(LINT)/govulncheck ./...

packages: ## Write deb, rpm and tar.gz for amd64 and arm64 to packages/
	deploy/packages/build packages

fmt: ## Format the code
	gofmt -w $$(git ls-files '*.go')

# Consul is built from source where PATH has none.
consul:
	@command -v consul >/dev/null || { echo "building Consul, which takes some minutes the first time"; \
		cd integration/tools && go build -o bin/consul github.com/hashicorp/consul; }

$(LINT)/golangci-lint: integration/lint/go.mod
	cd integration/lint && go build -o bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The race detector needs a C compiler.
compiler:
	@integration/need gcc gcc libc6-dev

# Networks that tests make for themselves.
namespaces:
	@integration/need ip iproute2
	@integration/need unshare util-linux
	@integration/need nft nftables

rabbitmq:
	@integration/need rabbitmq-server rabbitmq-server

# What the tests of the front door need: h2spec, grpc-go's interoperability
# client and server, an ACME authority, curl and systemd's check of units.
front: $(H2SPEC)/h2spec $(GRPC)/grpc-interop-client $(GRPC)/grpc-interop-server $(PEBBLE)/pebble $(PEBBLE)/pebble-challtestsrv
	@integration/need curl curl
	@integration/need chromium chromium
	@integration/need systemd-analyze systemd
	@integration/need promtool prometheus
	@integration/need rpm rpm
	@integration/need haproxy haproxy
	@integration/need strace strace

$(H2SPEC)/h2spec: integration/h2spec/go.mod
	cd integration/h2spec && go build -o $@ github.com/summerwind/h2spec/cmd/h2spec

$(GRPC)/grpc-interop-%: integration/grpc/go.mod
	cd integration/grpc && go build -o $@ google.golang.org/grpc/interop/$*

$(PEBBLE)/%: integration/pebble/go.mod
	cd integration/pebble && go build -o $@ github.com/letsencrypt/pebble/v2/cmd/$*

peers:
	@integration/need nginx nginx-light
	@integration/need haproxy haproxy
	@integration/need wrk wrk
	@integration/need h2load nghttp2-client
	@integration/need openssl openssl
	@integration/need squid squid
