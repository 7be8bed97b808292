# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check benchmark runtimes models clients clean

demo: .venv/ready
	$(BIN)/dlapp demo

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# what CI runs before the tests
check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

benchmark: .venv/ready
	$(BIN)/python -m tests.benchmarks

# an hour on two cores; goes on where it was interrupted
runtimes: .venv/ready
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m tests.benchmarks.runtimes

# an hour on two cores; fails where a metric is outside its recorded interval
models: .venv/ready
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m tests.benchmarks.models

# what the tests of export/clients/ need beside node, npm, gcc and chromium; without, they are skipped
clients:
	ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund --prefix $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dlapp \
	    $(shell sed -n 's/^ *"\([a-z-]*\)": "\([0-9.]*\)",*$$/\1@\2/p' export/clients/*/package.json)

.venv/ready: pyproject.toml constraints.txt
	@echo 'installing into .venv: some minutes, 4 GB'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch .venv/ready

clean:
	rm -rf .venv
