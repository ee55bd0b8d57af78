# Thin: each target is one command a person could type.
.PHONY: setup demo test test-dashboards lint experiments bench kills verify-compose clean
.DEFAULT_GOAL := setup
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin

setup:  ## .venv by the newest fitting Python (PYTHON=... names another), once
	@.ci/setup

demo: setup  ## from nothing to a report: lab up, one experiment, ten lines of summary
	@$(BIN)/lab demo

# What measures time or starts whole labs runs alone; the rest side by side.
ALONE := tests/lab/proxy tests/lab/runtimes tests/lab/edges tests/system

test: setup lint  ## everything, on real servers
	$(BIN)/python -m pytest -n 2 --dist loadfile tests $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest $(ALONE)

test-dashboards: setup  ## every panel's query asked of a real Prometheus that watched a real run; minutes
	$(BIN)/python -m pytest tests/dashboards/answers.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

experiments: setup  ## every experiment, one after another: half an hour, and a table
	@$(BIN)/python bench/experiments.py

bench: setup  ## the lab's own figures as JSON
	@$(BIN)/lab bench --json

kills: setup  ## 1,000 commanders killed in the moment their fault is in force: what do they leave? (minutes)
	@$(BIN)/python bench/edges.py --only kills --kills 1000

verify-compose: setup  ## the whole stack in containers: built, used, broken by three experiments, taken down
	$(BIN)/python -m tests.lab.runtimes.compose.verify_stack $(VERIFY)

clean:  ## ends the labs of this checkout and removes .venv and .lab
	-@if [ -x $(BIN)/lab ]; then for home in .lab/[0-9]*; do $(BIN)/lab down --port-base $${home##*/}; done; fi
	rm -rf .venv .lab .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
