# `make help` lists the targets. Everything is built into one target folder; system packages come from `make deps`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
CACHE := $(CURDIR)/.cache

.PHONY: help deps build test chart demo sim sim-long mutants chaos fuzz bench verify fix generate etcd e2e images cluster-parts cluster-up cluster-down cluster-status

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

deps: ## Install what the build and the tests need from Debian's packages (as root)
	@bash tests/deps.sh

build: deps ## Build the release binaries, static: outrigger, outrigger-operator, kubectl-outrigger
	@bash tests/release.sh

etcd: deps ## Build the real etcd and etcdctl 3.7.3 for the tests and the benchmark (needs Go)
	@bash tests/etcd/build.sh

cluster-parts: ## Build the parts of the real Kubernetes for the tests: 15 minutes of Go once, nothing after that
	@bash tests/deps.sh cluster
	@bash tests/cluster/build.sh

cluster-up: ## Bring up a real three-node Kubernetes for the tests, building it when needed (as root; docs/testing.md)
	@bash tests/deps.sh cluster
	@bash tests/cluster/build.sh
	@bash tests/cluster/clusterctl.sh up

cluster-down: ## End that Kubernetes, also after a crash: no process, mount, namespace or cgroup stays
	@bash tests/cluster/clusterctl.sh down

e2e: deps ## Run the scenarios on a real Kubernetes (E2E_FLAGS="story roll" for some; KEEP=1 leaves it up)
	@bash tests/e2e.sh $(E2E_FLAGS)

images: ## Build both container images into target/images (buildah, or docker)
	@bash tests/images.sh

cluster-status: ## Its nodes, the health of its components, where the logs are
	@bash tests/cluster/clusterctl.sh status

test: build etcd ## Run all tests: unit, property, real processes, the real etcdctl
	$(CARGO) test --workspace --exclude outrigger-tests --locked
	# One cluster at a time: three members, a load and a checker fill two cores.
	OUTRIGGER_BIN=$(CURDIR)/target/release/outrigger \
	  OUTRIGGER_OPERATOR_BIN=$(CURDIR)/target/release/outrigger-operator OUTRIGGER_CACHE=$(CACHE) RUST_TEST_THREADS=1 \
	  $(CARGO) test -p outrigger-tests --locked

chart: ## Check the Helm chart: lint, golden files, refused values (UPDATE=1 writes the golden files anew; needs Go)
	@bash tests/chart.sh

demo: build ## Run examples/orders.yaml on this machine: kill the leader, wipe a volume (CI=1 ends by itself)
	@bash tests/demo.sh

sim: deps ## Simulate clusters under faults for 2 minutes (FIRST=n, BUDGET=n, SECONDS_EACH=n); or replay one: SEED=n (MUTANT=name), SCHEDULE=file.json (LOG=1)
	@CARGO='$(CARGO)' bash tests/sim.sh $(if $(SEED)$(SCHEDULE),replay,run)

sim-long: deps ## The same for 60 minutes (FIRST=n, SECONDS_EACH=n)
	@CARGO='$(CARGO)' $(if $(filter undefined,$(origin BUDGET)),BUDGET=3600) bash tests/sim.sh run

mutants: deps ## Plant bugs in the code, one after the other: the simulator has to find each within 500 seeds (ONLY=name,name, SECONDS_EACH=n)
	@CARGO='$(CARGO)' bash tests/sim.sh mutants

chaos: ## Run real processes under faults for 2 minutes, as root (SEED=n to repeat one, STRIKES=n, MEMBERS=3 to 7)
	@bash tests/deps.sh chaos
	@CARGO='$(CARGO)' bash tests/chaos.sh

fuzz: deps ## Bytes that nobody should have sent, under libFuzzer, a minute a target (needs a nightly toolchain; SECONDS_EACH=n, TARGET=name)
	@CARGO='$(CARGO)' bash tests/fuzz.sh

bench: build etcd ## Compare with etcd 3.7.3 in one table (BENCH_FLAGS="--quick" for a short run)
	$(CARGO) run --release --locked -p outrigger-tests --bin bench -- \
	  --outrigger target/release/outrigger --etcd $(CACHE)/etcd-3.7.3/etcd $(BENCH_FLAGS)

verify: ## Formatting, lints, docs, generated files, dependency rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	$(CARGO) run --locked -q -p outrigger-operator --bin crdgen -- --check
	@bash tests/deny.sh
	@bash tests/chart.sh --if-built

fix: ## Format, and apply what clippy can fix
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

generate: ## Write crds/ from the types
	$(CARGO) run --locked -q -p outrigger-operator --bin crdgen
