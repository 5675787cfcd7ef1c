# fledge. "make" alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GOTOOL := go tool -modfile=tools/go.mod
FUZZTIME ?= 20s
# Every test runs, also the ones whose result is known: CI sets COUNT=-count=1.
COUNT ?=

.PHONY: help build install tools e2e-sigstore-tools e2e-sigstore e2e-act-tools e2e-act image tools-lock demo test race lint fuzz golden docs trust bench clean

help: ## List the targets.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

build: ## Build ./fledge, a static binary.
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -buildid=' -o fledge ./cmd/fledge

install: ## Install fledge where "go install" puts programs.
	CGO_ENABLED=0 go install -trimpath -ldflags '-s -w -buildid=' ./cmd/fledge

tools: ## Install what tests use as second opinions (Debian or Ubuntu, as root or with sudo; npm).
	./tools/install.sh

e2e-sigstore-tools: ## Build Sigstore's programs and two cosigns for tests, outside of the tree (minutes the first time).
	./tools/sigstore/build.sh

e2e-sigstore: e2e-sigstore-tools ## Sign and verify on a Sigstore on loopback; "make test" does so too when its programs are built.
	FLEDGE_TEST_REQUIRE=$${FLEDGE_TEST_REQUIRE:-sigstore,cosign} go test -count=1 -timeout 15m ./internal/sigstoretest/...

image: ## Build the action's image for all platforms into dist/image; prints its digest.
	rm -rf dist/image
	mkdir -p dist
	go run ./internal/actionimage/mkimage -o dist/image

tools-lock: ## Renew the list of Debian's packages in the action's image (Debian 12, network); review the diff.
	go run ./internal/actionimage/tools/relock -o internal/actionimage/tools/tools.lock

e2e-act-tools: ## Build act, which runs workflows, for tests, outside of the tree (minutes the first time).
	./tools/act/build.sh

e2e-act: e2e-act-tools ## Run the example workflows by act (root; Docker); "make test" does so too when act is built.
	FLEDGE_TEST_REQUIRE=$${FLEDGE_TEST_REQUIRE:-act,docker,root} go test -count=1 -timeout 15m ./internal/acttest

demo: ## Build an example plugin from an image made here, boot it in QEMU, show its answer.
	./examples/nginx/demo.sh

test: ## Run all tests. What a missing program or privilege skips is listed at the end.
	@go test $(COUNT) -timeout 20m -json ./... | go run ./internal/testneed/summary

race: ## Run the tests that need no privilege under the race detector.
	go test $(COUNT) -race -short -timeout 15m $$(go list ./... | grep -vE '/(e2e|vmtest|ext4read|bench|cmd/fledge)')
	go test $(COUNT) -race -short -timeout 15m -run TestScript ./cmd/fledge

lint: ## Check format, vet, staticcheck, go.mod, generated files and shell scripts.
	./tools/lint.sh

fuzz: ## Run every fuzz target for FUZZTIME (default 20s).
	FUZZTIME=$(FUZZTIME) ./tools/fuzz.sh

golden: ## Rewrite golden files and generated documents; review the diff.
	go test -count=1 ./build/config ./manifest ./attest/statement -update
	UPDATE_SCRIPTS=1 UPDATE_GOLDEN=1 go test -count=1 ./internal/cli ./internal/relnotes ./internal/summary ./internal/action ./internal/workflowtest ./cmd/fledge ./build/ext4 ./build/squashfs

docs: golden ## The same as golden.

trust: ## Renew the trusted roots that are compiled in, by TUF (network); review the diff.
	go run ./attest/trust/refresh attest/trust/embedded

bench: ## Measure against the peer and the floor (root); writes docs/benchmarks.md.
	go run ./bench

clean: ## Remove what build makes.
	rm -f fledge
