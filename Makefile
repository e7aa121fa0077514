# What a person types. `make demo` and `make test` install the Debian packages that they need, and say so.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build image demo test soak lint bench fuzz control-plane metallb packages deny

# Tests that need root run under sudo where we are not root; cargo itself never does.
ifneq ($(shell id -u),0)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := sudo -E
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := sudo -E
SUDO := sudo -E
endif

BUILT := $(or $(CARGO_TARGET_DIR),target)

# No path of this machine is in a release binary, so it is the same wherever it is built. The last prefix that fits counts.
CARGO_HOME ?= $(HOME)/.cargo
places := $(CARGO_HOME)=/cargo $(CURDIR)=/landfall $(abspath $(BUILT))=/target
release := RUSTFLAGS="$(strip $(RUSTFLAGS) $(places:%=--remap-path-prefix=%))" cargo build --release --locked

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

build: ## build the binary for release, with AWS: target/release/landfall
	$(release) -p landfall

image: build packages ## make a container image of it, an OCI layout: target/image/oci
	deploy/image/packages "$$(dpkg --print-architecture)" $(BUILT)/image/packages
	deploy/image/build $(BUILT)/release/landfall $(BUILT)/image/packages $(BUILT)/image/oci

demo: packages ## a LAN on this machine: an address, an owner, its death, what a client saw
	$(release) --quiet -p landfall --no-default-features
	$(SUDO) $(BUILT)/release/landfall demo

test: packages control-plane metallb ## every test, those with root, real kernel and real API server included
	tests/run

soak: packages control-plane ## the failures of an owner for longer and more often, with times; four hundred simulated nodes
	cargo build --locked -p landfall -p landfall-testbed
	LANDFALL_SOAK=1 LANDFALL_CONTROL_PLANE=$$(tests/testbed/control-plane/build) cargo test --locked -p landfall-e2e \
	    --test faults --test failover -- --ignored --test-threads=1 --nocapture
	LANDFALL_SOAK=1 cargo test --locked -p landfall-simulation --lib large -- --nocapture

lint: deny ## format, clippy, structure of the workspace, generated files, licences
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	cargo run --quiet --locked -p landfall-structure
	cargo deny --log-level error check bans licenses sources
	test -z "$$(gofmt -l tests/testbed/control-plane tests/interop)"

bench: packages control-plane ## figures, side by side in one run: docs/performance.md
	@tests/packages keepalived
	$(release) -p landfall --no-default-features
	cp $(BUILT)/release/landfall $(BUILT)/release/landfall-without-aws
	$(MAKE) image
	$(release) -p landfall-testbed -p landfall-bench
	$(SUDO) $(BUILT)/release/landfall-bench --docs docs

fuzz: ## fuzz each parser and state machine for a minute; SECONDS=600 for longer, TARGET=world for only one
	tests/fuzz/run "$(SECONDS)" "$(TARGET)"

control-plane: ## build etcd, the Kubernetes control plane, kube-proxy and kubectl for the test bed
	@tests/testbed/control-plane/build > /dev/null

metallb: ## generate MetalLB's definitions of its kinds and build its parser, to compare ours with
	@tests/interop/metallb/build > /dev/null
	@tests/interop/metallb/build oracle > /dev/null

packages:
	@tests/packages

deny:
	@command -v cargo-deny > /dev/null || { echo "installing cargo-deny, which checks licences"; cargo install --quiet --locked --debug cargo-deny@0.20.2; }
