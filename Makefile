# What there is to do here; `make help` lists it.

# Outside the tree, so that a fresh clone finds what was built before.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/deputy/target

RELEASE := $(CARGO_TARGET_DIR)/release

.PHONY: help run test bench tools

help:
	@echo 'make run    build Deputy and an example MCP server, show the main job, and keep serving'
	@echo 'make test   install what the tests need, and run them all'
	@echo 'make bench  our speed beside the limit, in requests per server-CPU-second'
	@echo '.ci/run     everything that must hold before a change is taken'

run: tools
	cargo build --locked --release --bin deputy --example protected_mcp_server
	@exec '$(RELEASE)/deputy' demo --mcp-server '$(RELEASE)/examples/protected_mcp_server'

test: tools
	tests/setup.sh
	cargo test --locked

bench: tools
	cargo bench --locked

tools:
	@command -v cargo >/dev/null || { echo 'make: cargo is missing: install Rust as https://rustup.rs says' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'make: a C compiler is missing: apt-get install build-essential' >&2; exit 1; }
