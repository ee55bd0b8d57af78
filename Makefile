# Thin: each target is one command a person could type.
.PHONY: help setup demo test test-all test-count test-dashboards lint coverage lock experiments protections bench kills fuzz verify-compose verify-damage verify-faults verify-peers clean
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
WORKERS := 3

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Create .venv with the newest supported Python (PYTHON=... selects another); does nothing if it is up to date
	@.ci/setup

demo: setup  ## Start a lab, run one experiment, print a summary and write a report
	@$(BIN)/lab demo

# The markers are explained in docs/testing.md. "alone": tests that measure time or start the whole shop run one at a time.
test: setup lint  ## Lint, then the tests on real servers, with one whole run (about 5 minutes)
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not alone and not slow and not notebook"
	$(PYTEST) -m "alone and not slow and not notebook"

test-all: setup lint  ## Lint, then every test: also whole runs, Prometheus and notebooks (about 10 minutes)
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not alone"
	$(PYTEST) -m alone

test-count: setup  ## Count the tests of `make test` and of `make test-all`
	@for marks in "not slow and not notebook" ""; do $(PYTEST) -o addopts="--import-mode=importlib" --collect-only -m "$$marks" | tail -1; done

test-dashboards: setup  ## Send the query of every dashboard panel to a Prometheus that scraped a run (minutes)
	$(PYTEST) tests/dashboards/answers.py

coverage: setup  ## Print the line coverage of the tests that run side by side
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not alone and not slow and not notebook" --cov --cov-report=term

lint: setup  ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup  ## Write requirements.lock from pyproject.toml, with hashes, for every supported Python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate --no-header --no-emit-index-url --output-file requirements.lock pyproject.toml

experiments: setup  ## Run every experiment, one after another, and print a table (half an hour)
	@$(BIN)/python bench/experiments.py

protections: setup  ## Run every experiment with and without its protection; writes the tables of docs/experiments.md (an hour)
	@$(BIN)/python bench/protections.py $(PROTECTIONS)

bench: setup  ## Measure the lab itself; prints JSON
	@$(BIN)/lab bench --json

kills: setup  ## Kill 1,000 processes that have just started a fault, and count the faults that stay (minutes)
	@$(BIN)/python bench/edges.py --only kills --kills 1000

fuzz: setup  ## Send 5,000 generated requests to the public API of a lab and check the answers with Schemathesis (minutes)
	@$(BIN)/python -m tests.fuzz.run $(FUZZ)

verify-compose: setup  ## Build the whole stack in containers, use it, run three experiments, remove it
	$(BIN)/python -m tests.lab.runtimes.compose.verify_stack $(VERIFY)

verify-faults: setup  ## Judge every kind of fault with inert and working injectors, on synthetic archives
	$(BIN)/python bench/faults.py

verify-damage: setup  ## Damage an archive in each of several hundred ways, as it is and with rewritten counts: never held (docs/archive.md)
	$(BIN)/python -m tests.lab.analysis.verdict.damages

verify-peers: setup  ## Compare the fault proxy with Toxiproxy, and use it through three Toxiproxy clients (docs/proxy.md)
	$(BIN)/python -m tests.peers.run $(PEERS)

clean:  ## Stop the labs of this checkout, remove .venv, .lab and the caches
	-@if [ -x $(BIN)/lab ]; then for home in .lab/[0-9]*; do $(BIN)/lab down --port-base $${home##*/}; done; fi
	rm -rf .venv .lab .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
