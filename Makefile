# Everything starts from Python 3.11 and make. A second run installs nothing.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Half of a run is waiting for servers, clocks and disks: four workers keep two cores busy. Each begins with a quarter of
# the tests in order, so that a file stays with one worker, and takes from another when it has none left.
WORKERS ?= 4
# Python writes byte code, also where the environment says not to: tests start hundreds of processes, of which each would
# compile the packages again, and every worker would rewrite the assertions of every test.
export PYTHONDONTWRITEBYTECODE :=
MEMBERS := -e '.[all]' -e backends/sqlite -e backends/redis -e 'backends/postgres[binary]' -e backends/objects \
  -e backends/keyvalue -e 'integrations/llm[openai]' -e integrations/proxy -e integrations/frameworks
PROJECTS := pyproject.toml $(wildcard backends/*/pyproject.toml integrations/*/pyproject.toml)

# Their bounds exclude each other now and then: each group has a venv of its own.
FRAMEWORK_GROUPS := frameworks-llm frameworks-web frameworks-adk

.PHONY: demo gateway test docs unit sdks frameworks hits check format bench litellm azurite soak clean help

help: ## show what there is to run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(PROJECTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(MEMBERS)
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# Two scripts of the site, which fetches nothing when it is read. Without npm diagrams are text, and the search needs a server.
$(VENV)/assets/mermaid.min.js $(VENV)/assets/iframe-worker.js: | $(BIN)/python
	mkdir -p $(VENV)/assets
	-npm pack --silent --pack-destination $(VENV)/assets mermaid@11.12.0 iframe-worker@1.0.4 >/dev/null \
	  && tar -xzOf $(VENV)/assets/mermaid-11.12.0.tgz package/dist/mermaid.min.js >$(VENV)/assets/mermaid.min.js \
	  && tar -xzOf $(VENV)/assets/iframe-worker-1.0.4.tgz package/shim/index.js >$(VENV)/assets/iframe-worker.js

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

$(VENV)/.soak: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group soak
	@touch $@

demo: $(VENV)/.installed ## replay real customer questions through the cache; no server, no key
	@$(BIN)/python examples/demo.py

gateway: $(VENV)/.installed ## the gateway in front of a simulated provider, until Ctrl-C: make gateway PORT=8080
	@$(BIN)/python examples/gateway/demo.py $(or $(PORT),8080)

test: $(VENV)/.dev ## every test, on a real server
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=10

docs: $(VENV)/.dev $(VENV)/assets/mermaid.min.js ## every block of the pages run, then the site, into site/
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m soak tests/docs
	DOCS_ASSETS=$(VENV)/assets NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

unit: UNIT_VENV = .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
unit: ## the unit tests on another Python, in a venv of its own: make unit PYTHON=python3.13
	$(MAKE) --no-print-directory VENV=$(UNIT_VENV) $(UNIT_VENV)/.dev
	$(UNIT_VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal tests/unit

sdks: .venv-oldest/.installed .venv-frameworks/.installed ## cached clients under the oldest SDKs, and under frameworks; each in a venv of its own
	for group in oldest frameworks; do \
	  .venv-$$group/bin/python -m pytest --noconftest tests/llm/sdk/test_versions.py tests/llm/sdk/test_frameworks.py || exit 1; \
	done

.venv-oldest/.installed .venv-frameworks/.installed: $(PROJECTS)
	[ -x $(@D)/bin/python ] || { $(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --upgrade pip; }
	$(@D)/bin/python -m pip install --quiet -e '.[all]' -e backends/sqlite -e backends/redis -e integrations/llm --group $(@D:.venv-%=%)
	@touch $@

hits: $(FRAMEWORK_GROUPS:%=.venv-%/.installed) .venv-frameworks/.installed ## what a hit costs through each framework: the table of docs/frameworks.md
	.venv-frameworks-llm/bin/python -m benchmarks.frameworks models
	.venv-frameworks-adk/bin/python -m benchmarks.frameworks models
	.venv-frameworks-web/bin/python -m benchmarks.frameworks web
	.venv-frameworks/bin/python -m benchmarks.frameworks agents

frameworks: $(FRAMEWORK_GROUPS:%=.venv-%/.installed) .venv-frameworks-web/sources ## the adapters of cachecore-frameworks, with the frameworks themselves; each group in a venv of its own
	for group in $(FRAMEWORK_GROUPS); do \
	  DJANGO_TESTS=$$(echo $$PWD/.venv-frameworks-web/sources/django-*/tests) \
	  FLASK_CACHING_TESTS=$$(echo $$PWD/.venv-frameworks-web/sources/flask_caching-*/tests) \
	  .venv-$$group/bin/python -m pytest tests/frameworks || exit 1; \
	done

.venv-frameworks-%/.installed: $(PROJECTS)
	[ -x $(@D)/bin/python ] || { $(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --upgrade pip; }
	$(@D)/bin/python -m pip install --quiet -e '.[all]' -e backends/sqlite -e backends/redis -e integrations/frameworks --group frameworks-$*
	@touch $@

# Two frameworks have tests for every cache backend in their source distributions. Where those are not to be had, the tests
# of ours that run them are skipped.
.venv-frameworks-web/sources: .venv-frameworks-web/.installed
	rm -rf $@ && mkdir $@
	-for package in django flask-caching; do \
	  version=$$($(<D)/bin/python -c 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))' $$package); \
	  $(<D)/bin/python -m pip download --quiet --no-deps --no-binary $$package --dest $@ $$package==$$version; \
	done; for archive in $@/*.tar.gz; do tar -xzf $$archive -C $@; done
	@touch $@

check: $(VENV)/.dev ## lint, types, import order, the work of hot calls by counting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/integration/test_counts.py

format: $(VENV)/.dev ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench ## the benchmarks: benchmarks/results, docs/performance.md; make bench BENCH=--quick
	-@$(MAKE) --no-print-directory litellm # without it, its rows are missing
	$(BIN)/python -m benchmarks $(BENCH)

litellm: .venv-litellm/.installed ## LiteLLM's proxy in a venv of its own, which benchmarks/gateway.py measures

.venv-litellm/.installed:
	$(PYTHON) -m venv .venv-litellm
	.venv-litellm/bin/python -m pip install --quiet 'litellm[proxy]'
	@touch $@

azurite: .venv-azurite/.installed ## Azure's server of blobs from npm (360 MB), on which the tests run az:// where it is there

.venv-azurite/.installed:
	npm install --silent --no-audit --no-fund --prefix .venv-azurite azurite@3.37.0
	@touch $@

soak: $(VENV)/.soak ## the long runs: fuzzing, storms, minutes of faults
	$(BIN)/python -m pytest -m soak

clean: ## remove what the other targets made
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis site
