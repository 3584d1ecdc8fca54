# `make` alone lists what there is. Every target first sets up .venv when that is needed.
#
#   ACCEL=cpu|cuda   which engines; otherwise the ones last set up, at first by what is found
#   PYTHON=...       the Python to make .venv with; `make clean` first to change it
#   ARGS=...         more arguments for the command that the target runs

PYTHON ?= python3
ACCEL ?=
ARGS ?=
BIN := .venv/bin

# Written last by a set-up that went well: the engines and the folder that it is for.
READY := .venv/.ready
STATE := $(shell test -x $(BIN)/python && cat $(READY) 2>/dev/null)
ifneq ($(STATE),$(or $(strip $(ACCEL)),$(firstword $(STATE))) $(CURDIR))
STALE := stale
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup bench test test-fast lint faults perf perf-sampler nightly site readme format lock clean stale

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@sed -n 's/^#   \([A-Z]*=.*\)/  \1/p' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv, or bring it up to date (the targets below do it by themselves)
	@echo "setup: .venv is ready for $$(cut -d' ' -f1 $(READY))"

$(READY): pyproject.toml requirements/cpu.txt requirements/cuda.txt tools/setup.py $(STALE)
	@command -v $(PYTHON) >/dev/null || { echo "setup: no $(PYTHON) here; install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) tools/setup.py $(if $(strip $(ACCEL)),--accel $(ACCEL))

bench: $(READY) ## compare Transformers with vLLM on the seed suite
	@$(BIN)/pagedbench run --suite seed $(ARGS)

test: $(READY) ## all tests
	@$(BIN)/python -m pytest $(ARGS)

test-fast: $(READY) ## the tests that start no real engine
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(READY) ## ruff and mypy, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: $(READY) ## fuzz the files that are read, and stage 200 faults over real runs (takes an hour)
	@FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest -q tests/faults/test_fuzz.py
	@$(BIN)/python -m tests.faults $(ARGS)

perf: $(READY) ## what recording costs, and whether our speed is the engine's own
	@$(BIN)/python -m benchmarks.engines $(ARGS)

perf-sampler: $(READY) ## the sampler beside other tools; needs a GPU to say everything
	@$(BIN)/python -m benchmarks.sampler $(ARGS)

nightly: $(READY) ## run, keep, and compare with the nights before
	@$(BIN)/pagedbench nightly $(ARGS)

site: $(READY) ## the reports of the reference results, as a folder to publish
	@$(BIN)/python -m tools.site $(ARGS)

readme: $(READY) ## put the tables and figures of the reference results into README.md
	@$(BIN)/python -m tools.readme

format: $(READY) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## write requirements/*.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(PYTHON) tools/setup.py lock $(ARGS)

clean: ## remove the environment and all caches; results stay
	rm -rf .venv .uv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
