# The two commands of a newcomer are `make dev` and `make test`. Each installs what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# rados and rbd are Debian's, for the system's own Python; so the environment is made from that one.
PYTHON := /usr/bin/python3
BIN := .venv/bin
DEBIAN := ceph-mon ceph-mgr ceph-osd ceph-common python3-rados python3-rbd python3-venv curl
DEBIAN_TEST := chromium haproxy iproute2 jq nginx-light
DEBIAN_BENCH := nghttp2-client
DEBIAN_CHAOS := iproute2
GENERATED := src/otterscale
JAVASCRIPT := tests/javascript
CONFORMANCE := tests/conformance
SUITE := connectrpc.com/conformance
SUITE_VERSION := v1.0.7

.PHONY: help dev test test-unit docs bench bench-attacks bench-strangers bench-transports chaos conformance lint check-generated generate lock debian debian-test debian-bench debian-chaos clean

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

dev: .venv/installed ## Boot a throwaway Ceph, serve it, print calls to paste (ARGS="--keep --folder DIR")
	@exec $(BIN)/rbd-connect dev $(ARGS)

# Three files of tests at a time: they mostly wait. -n 0 runs all in one process.
test: .venv/installed $(JAVASCRIPT)/gen/page.js | debian-test ## Run every test (ARGS="-n 0 -k name")
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

test-unit: .venv/installed ## Run the tests that need no Ceph, in seconds (ARGS="-k name")
	@$(BIN)/python -m pytest -n 0 tests/unit $(ARGS)

bench: .venv/installed ## Measure the server beside the bare bindings; never fails a build (ARGS="--rows 1,3 --rounds 2")
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

chaos: .venv/installed debian-chaos ## Break things while calls go on, and see what becomes of each call (ARGS="--only OSD --short")
	@user=; [ "$$(id -u)" = 0 ] || user=--map-root-user; \
	PYTHONPATH=tests unshare $$user --net sh -c 'ip link set lo up && exec "$$@"' sh $(BIN)/python -m chaos $(ARGS)

bench-strangers: .venv/installed ## Measure what wrong tokens cost those who have a right one (ARGS="--calls 1000000")
	@PYTHONPATH=tests $(BIN)/python -m bench.strangers $(ARGS)

bench-attacks: .venv/installed ## Attack the server, and measure what it costs a client beside (ARGS="silent-8000 resets")
	@PYTHONPATH=tests $(BIN)/python -m bench.attacks $(ARGS)

bench-transports: .venv/installed debian-bench ## Measure calls a second over each transport (ARGS="--rounds 9")
	@PYTHONPATH=tests $(BIN)/python -m bench.transports $(ARGS)

# A run for each protocol, so that each has its own sum; all are made, whatever comes of them.
conformance: $(CONFORMANCE)/gen/$(SUITE_VERSION) ## Run the Connect project's conformance suite; needs Go (ARGS="-v --trace")
	@suite() { \
		GRPC_VERBOSITY=NONE PYTHONPATH=tests $(CONFORMANCE)/gen/connectconformance --mode server --conf $(CONFORMANCE)/$$protocol.yaml "$$@" $(ARGS) \
			-- setpriv --pdeathsig TERM $(BIN)/python -m conformance; \
	}; \
	status=0; for protocol in connect grpc_web grpc; do \
		echo "== $$protocol"; \
		config=$(CONFORMANCE)/$$protocol; failing=@$$config.known-failing; alone=@$$config.alone; \
		if [ -f "$${alone#@}" ]; then \
			suite --known-failing $$failing --skip $$alone || status=1; \
			echo "== $$protocol, on connections that nothing else uses"; \
			suite --known-failing $$failing --run $$alone || status=1; \
		else \
			suite --known-failing $$failing || status=1; \
		fi; \
		echo "== $$protocol, by clients that show a certificate"; \
		suite --test-file $(CONFORMANCE)/client_certificates.yaml || status=1; \
	done; exit $$status

lint: .venv/installed ## Linters, the arrows between the rooms, the types, and those of rados and rbd against the modules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint proto
	$(BIN)/mypy
	MYPYPATH=tests/typings $(BIN)/stubtest --concise --ignore-missing-stub --ignore-unused-allowlist --allowlist tests/typings/allowlist.txt rados rbd

generate: .venv/installed ## Generate the stubs from proto/ with local plugins
	rm -rf $(GENERATED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/buf generate

check-generated: .venv/installed ## Fail where the committed stubs are not what proto/ generates
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/buf generate --output "$$fresh"; \
	diff -r --exclude=__pycache__ "$$fresh/$(GENERATED)" $(GENERATED) || { echo 'The stubs are not current: run `make generate`.' >&2; exit 1; }

docs: .venv/installed ## Write the pages that come from tables of the code and the tests
	@PYTHONPATH=tests $(BIN)/python -m integration.states.page > docs/states.md
	@PYTHONPATH=tests $(BIN)/python -m integration.documents.errors_page > docs/errors.md
	@PYTHONPATH=tests $(BIN)/python -m integration.documents.configuration_page > docs/configuration.md

lock: ## Resolve the dependencies of pyproject.toml anew
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(PYTHON) -m venv "$$tools"; "$$tools/bin/pip" install --quiet uv; \
	"$$tools/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' --group dev pyproject.toml -o requirements.lock

clean: ## Remove what was installed and cached here
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache $(JAVASCRIPT)/node_modules $(JAVASCRIPT)/gen $(CONFORMANCE)/gen
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# The suite's protos are in a folder of their own here: connectrpc is the name of a Python package, too.
$(CONFORMANCE)/gen/$(SUITE_VERSION): | .venv/installed
	@command -v go >/dev/null || { echo 'The conformance suite needs Go, and there is no go on PATH: https://go.dev/doc/install' >&2; exit 1; }
	@echo "Building the conformance suite $(SUITE_VERSION)"
	@rm -rf $(@D)
	@GOBIN="$(CURDIR)/$(@D)" go install $(SUITE)/cmd/connectconformance@$(SUITE_VERSION)
	@protos=$$(go mod download -json $(SUITE)@$(SUITE_VERSION) | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'); \
	stage=$$(mktemp -d); trap 'rm -rf "$$stage"' EXIT; \
	mkdir -p "$$stage/conformance/gen"; \
	for name in config server_compat service; do \
		sed 's#"connectrpc/conformance/v1/#"conformance/gen/#' "$$protos/proto/connectrpc/conformance/v1/$$name.proto" \
			> "$$stage/conformance/gen/$$name.proto"; \
	done; \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/buf generate --template $(CONFORMANCE)/buf.gen.yaml "$$stage"
	@touch $@

debian: PACKAGES := $(DEBIAN)
debian-test: PACKAGES := $(DEBIAN_TEST)
debian-bench: PACKAGES := $(DEBIAN_BENCH)
debian-chaos: PACKAGES := $(DEBIAN_CHAOS)
debian-test debian-bench debian-chaos: | debian
debian debian-test debian-bench debian-chaos:
	@missing=; for package in $(PACKAGES); do \
		[ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null || true)" = installed ] || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	echo "Installing Debian packages:$$missing"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing

# Debian's own packages for that Python may want other versions; they do not use this environment.
.venv/installed: requirements.lock pyproject.toml | debian
	@echo 'Making the virtual environment .venv'
	@rm -rf .venv
	@$(PYTHON) -m venv --system-site-packages .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-warn-conflicts --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(JAVASCRIPT)/node_modules/installed: $(addprefix $(JAVASCRIPT)/,.npmrc package.json package-lock.json) | .venv/installed
	@echo 'Installing the JavaScript clients'
	@$(BIN)/npm ci --prefix $(JAVASCRIPT) --loglevel=error >/dev/null
	@touch $@

# google/rpc/error_details.proto comes with Python's googleapis-common-protos.
$(JAVASCRIPT)/gen/page.js: $(JAVASCRIPT)/node_modules/installed $(wildcard $(JAVASCRIPT)/*.mjs $(JAVASCRIPT)/*.yaml) $(shell find proto -type f)
	@echo 'Generating the stubs of the JavaScript clients'
	@rm -rf $(@D)
	@types=$$(echo .venv/lib/python3*/site-packages); \
	for input in proto "$$types --path $$types/google/rpc/error_details.proto"; do \
		$(BIN)/buf generate --template $(JAVASCRIPT)/buf.gen.yaml $$input; \
	done
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(JAVASCRIPT)/node_modules/.bin/esbuild $(JAVASCRIPT)/page.mjs --bundle --format=esm --outfile=$@ --log-level=warning
