# What a newcomer needs: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
GO ?= go
PKG ?= ./...
FUZZTIME ?= 30s
GOLANGCI_VERSION := v2.15.0

.DEFAULT_GOAL := help
.PHONY: help run test check lint size fuzz bench chaos build image packages
# What `usher version` prints: the tag, or the commits since it.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: packages build ## show a whole meeting on this machine, then stay up until Ctrl-C
	./bin/usher-lab demo $(ARGS)

# -w leaves out what only debuggers read: linking thirty programs takes a quarter less CPU.
test: packages ## run every test, with the race detector, against real Prosody and Redis
	@scripts/debian-packages.sh python3 python3-pip python3-httpx python3-fastapi python3-uvicorn nodejs npm chromium # what the examples need
	@scripts/debian-packages.sh openssl curl wget # what prosody-config/finalize.sh may use
	@scripts/debian-packages.sh docker-compose shellcheck systemd # what deploy/ is checked with
	@scripts/debian-packages.sh prometheus # promtool, which deploy/prometheus is checked with
	@scripts/debian-packages.sh ffmpeg espeak-ng # what makes and reads the sound of tracks
	CGO_ENABLED=1 $(GO) test -race -ldflags=-w -timeout 15m $(TESTFLAGS) $(PKG)

check: ## run the tests that need no server and nothing installed, in seconds
	$(GO) test -short $(PKG)

lint: bin/golangci-lint-$(GOLANGCI_VERSION) ## run the linters
	$(GO) vet ./...
	$< run
	$(GO) mod tidy -diff

size: ## count the lines of code that the program is made of
	@scripts/size.sh

fuzz: ## run each fuzz test for FUZZTIME (30s)
	@for pkg in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

bench: packages build ## print the figures of docs/benchmarks.md, one JSON line each
	@./bin/usher-lab bench $(ARGS)

chaos: packages build ## let things go wrong for ten minutes, and compare what apps got with what happened
	@./bin/usher-lab chaos $(ARGS)

# The Redis client has 600 commands in each of fifteen types: without their bodies copied
# into one another (-l) the program is 2 MB smaller, and no slower.
build: ## build the programs into bin/, static and stripped
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X usher/internal/app.version=$(VERSION)' -gcflags=github.com/redis/go-redis/v9=-l -o bin/ ./cmd/...

image: ## build the image usher:latest, which needs Docker alone
	docker build -t usher --build-arg VERSION=$(VERSION) .

packages:
	@scripts/debian-packages.sh prosody redis-server gcc

bin/golangci-lint-$(GOLANGCI_VERSION):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/golangci-lint $@
