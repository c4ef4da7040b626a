# Lightpath. `make demo` shows it at work, `make test` passes all tests; both install what is missing first.

.PHONY: help setup demo test check e2e bench bench-full build generate clean k8s-up k8s-down images archive release deploy undeploy

# Of the clusters here and their API servers: the newest in hack/kubernetes unless told, such as 1.36.
export LIGHTPATH_KUBERNETES ?= $(KUBERNETES)

help: ## what there is to make
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages (as root), npm packages, Envoy
	@tools/setup

demo: setup ## two nodes on this machine, real Envoy and nftables (root); KEEP=1 leaves it running
	@bin/lightpath demo $(if $(KEEP),--keep)

test: ## all tests; TIER=unit, node or cluster runs one tier
	@test/run $(TIER)

check: setup ## types, lint, unused code, shell scripts, generated code (Go)
	@tools/check

e2e: setup ## Kubernetes' own tests of Services with Lightpath in place of kube-proxy (root); E2E='--focus REGEX', --help
	@hack/e2e/run $(E2E)

bench: ## measure: the short form of every experiment (root; 25 minutes), beside kube-proxy where it can be
	@bench/run --short $(if $(RESUME),--resume)

bench-full: ## the full form of every experiment: figures to quote; RESUME=1, of both, goes on where it was interrupted
	@bench/run --full $(if $(RESUME),--resume)

k8s-up: setup ## a Kubernetes cluster on this machine: kind where Docker runs, else hack/cluster (root); KUBERNETES=1.36: that minor
	@if ! docker info >/dev/null 2>&1; then hack/cluster up $(CLUSTER); \
	elif [ -z "$(LIGHTPATH_KUBERNETES)" ]; then kind create cluster --config hack/kind.yaml $(KIND); \
	else echo "k8s-up: kind's images belong to its release, whose notes list them: KIND='--image kindest/node:v$(LIGHTPATH_KUBERNETES)...'" >&2; exit 1; fi

k8s-down: ## and away with it
	@if docker info >/dev/null 2>&1; then kind delete cluster --name lightpath; else hack/cluster down; fi

images: ## the images that deploy/ names, with Docker or without (root), for ARCH=amd64 or arm64; their SBOMs lie beside
	@images/build $(ARCH)

archive: setup ## lightpath with its Node.js, for machines that have nothing of it; ARCH=arm64: for that
	@images/archive $(ARCH)

release: setup ## what a release has beside its images, in dist/release: IMAGES=registry.example/team URL=https://…
	@hack/release dist/release "$(IMAGES)" "$(URL)"

deploy: setup ## Lightpath on that cluster, beside kube-proxy; SERVICES=all: in its place; COMPONENTS='…': of deploy/components
	@hack/deploy up $(or $(SERVICES),labelled) $(COMPONENTS)

undeploy: ## hands the Services back and cleans every node
	@hack/deploy down

build: setup ## the bundle that ships, dist/lightpath.js
	@npm run --silent build

generate: ## src/envoy/api from Envoy's descriptors (needs Go), src/facts/api from proto/
	@tools/generate/run

clean: ## remove what was built
	@rm -rf dist
