# What there is to do here; `make help` lists it.

# Outside the tree, so that a fresh clone finds what was built before.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/deputy/target

RELEASE := $(CARGO_TARGET_DIR)/release
# Written by npm when all of the list is installed.
PEERS := benches/peers/node_modules/.package-lock.json

.PHONY: help run test bench bench-pipeline bench-seen tools

help:
	@echo 'make run    build Deputy and an example MCP server, show the main job, and keep serving'
	@echo 'make test   install what the tests need, and run them all'
	@echo 'make bench  our speed beside the limit, in requests per server-CPU-second'
	@echo 'make bench-pipeline  how many customer events a second are taken in, and made part of profiles'
	@echo 'make bench-seen  how fast repeats are told from new ids among 100 million; needs 8 GB of memory and of disk'
	@echo '.ci/run     everything that must hold before a change is taken'

run: tools
	cargo build --locked --release --bin deputy --example protected_mcp_server
	@exec '$(RELEASE)/deputy' demo --mcp-server '$(RELEASE)/examples/protected_mcp_server'

test: tools
	tests/setup.sh
	cargo test --locked

bench: tools $(PEERS)
	cargo bench --locked --bench hot_paths

bench-pipeline: tools
	cargo bench --locked --bench pipeline

bench-seen: tools
	cargo bench --locked --bench seen

$(PEERS): benches/peers/package-lock.json
	@command -v npm >/dev/null || { echo 'make: npm is missing: install Node.js as https://nodejs.org says' >&2; exit 1; }
	npm ci --prefix benches/peers --loglevel=error

tools:
	@command -v cargo >/dev/null || { echo 'make: cargo is missing: install Rust as https://rustup.rs says' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'make: a C compiler is missing: apt-get install build-essential' >&2; exit 1; }
