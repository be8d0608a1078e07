# Everything there is to do here. `make` alone says what.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# The version that the programs tell: the tag, or the commit where there is none.
VERSION ?= $(shell git describe --tags --match 'v*' --always --dirty 2>/dev/null || echo unknown)
# How long each fuzz target runs.
FUZZTIME ?= 5s
# Flags of the benchmark, such as -only cold, or -write for docs/performance.md.
BENCH ?=

# -race where this machine can build it: a supported platform and a C compiler.
race = $(shell go list -race -f -race runtime 2>/dev/null)
link = -X main.version=$(VERSION)
# Static, and without the checkout's path or state: the same source and version give the same bytes.
build = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(link)'

##@ Use it

.PHONY: build
build: ## bin/webhook and bin/pratique
	$(build) -o bin/ ./cmd/webhook ./cmd/pratique

.PHONY: demo
demo: ## a real API server and registry; a signed image runs, an unsigned one is refused
	@echo "demo: first the programs that it runs: the first time an API server is built from source, in about 10 minutes on 2 cores"
	@hack/binaries kube-apiserver etcd kubectl
	@go run ./test/demo

.PHONY: demo-papers
demo-papers: ## examples/production.yaml at work: an image with all its papers runs, those that lack one are refused
	@echo "demo-papers: first the programs that it runs: the first time an API server is built from source, in about 10 minutes on 2 cores"
	@hack/binaries kube-apiserver etcd kubectl
	@go run ./test/demo -papers

.PHONY: run
run: build ## the demo's cluster, left up to play with; prints its KUBECONFIG
	@hack/binaries kube-apiserver etcd kubectl
	@go run ./test/demo -keep

.PHONY: image
# The lowest processors that Go knows, whatever the environment says: an image runs on others' machines.
image: everywhere = GOOS=linux GOAMD64=v1 GOARM64=v8.0
image: told = -source https://github.com/pratique-dev/pratique -licenses Apache-2.0 \
  -revision "$$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)"
image: ## dist/pratique-webhook-VERSION.tar and dist/pratique-cli-VERSION.tar: OCI archives for amd64 and arm64, without docker
	@[[ '$(VERSION)' =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$$ ]] || \
	  { echo "image: '$(VERSION)' can't be an image's tag: choose another, as in make image VERSION=0.1.0" >&2; exit 1; }
	for arch in amd64 arm64; do $(everywhere) GOARCH=$$arch $(build) -o dist/linux-$$arch/ ./cmd/webhook ./cmd/pratique; done
	go run ./hack/image -binary amd64=dist/linux-amd64/webhook -binary arm64=dist/linux-arm64/webhook $(told) \
	  -name docker.io/library/pratique-webhook:$(VERSION) -o dist/pratique-webhook-$(VERSION).tar
	go run ./hack/image -binary amd64=dist/linux-amd64/pratique -binary arm64=dist/linux-arm64/pratique $(told) \
	  -name docker.io/library/pratique-cli:$(VERSION) -o dist/pratique-cli-$(VERSION).tar

##@ Check it

.PHONY: test
test: ## everything but e2e and bench: unit, race, API server, scripts, chart; at most 25 minutes from nothing
	hack/binaries kube-apiserver etcd kubectl kube-controller-manager helm
	go vet $(race) ./...
	go test $(race) -timeout 20m ./...

.PHONY: lint
lint: ## gofmt, plain text, go vet, staticcheck, govulncheck
	hack/lint

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5s)
	hack/fuzz $(FUZZTIME)

.PHONY: e2e
e2e: ## all of it on a real node: KUBECONFIG's, or one that ../shared/cluster/up starts
	@test/e2e/run

.PHONY: conformance-client
conformance-client: ## bin/conformance: what the published sigstore-conformance suite is pointed at
	$(build) -o bin/conformance ./test/conformance/client

.PHONY: bench
bench: ## admissions, papers, judgements, requests and memory, medians of 5 in one run; BENCH=-write keeps the table
	@hack/binaries kube-apiserver etcd kubectl
	@go run ./test/bench $(BENCH)

.PHONY: ci
ci: ## what CI runs: lint, test, fuzz
	.ci/run

##@ Change it

.PHONY: generate
generate: ## deep copies and CRDs from api/
	hack/generate

.PHONY: golden
golden: ## the files that tests compare with, written anew: look at the difference before you commit it
	hack/binaries helm
	UPDATE_GOLDEN=1 go test -count 1 $$(grep -rl --include='*_test.go' UPDATE_GOLDEN . | xargs -n 1 dirname | sort -u)

.PHONY: closure
closure: ## the list of what the webhook links, written anew after it shrank
	UPDATE_CLOSURE=1 go test -count 1 ./test/imports

.PHONY: tidy
tidy: ## go.mod and go.sum
	go mod tidy

.PHONY: clean
clean: ## away with bin and dist; the API server stays in the user's cache
	rm -rf bin dist

.PHONY: help
help: ## this
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
