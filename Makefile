# Every target makes .venv itself when it is missing, and installs what it needs.

PYTHON ?= python3
VERSIONS := 3.11 3.12 3.13 3.14
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.NOTPARALLEL:
.PHONY: demo test test-all twins other-twins bench lint clean

demo: $(STAMP)
	$(BIN)/continuum demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/python -m pytest
	$(MAKE) other-twins

# The same under each of these Pythons that is here, in a .venv of its own.
test-all: $(VERSIONS:%=test-%)

test-3.%:
	@if python3.$* -c pass 2>/dev/null; \
	then $(MAKE) test PYTHON=python3.$* VENV=.venv-3.$* VERSIONS=; \
	else echo "python3.$* is not here"; fi

# What depends on the inside of the interpreter, under each of the other Pythons that is here.
other-twins: $(VERSIONS:%=twins-%)

twins-3.%:
	@if ! python3.$* -c pass 2>/dev/null; then echo "python3.$* is not here"; \
	elif $(BIN)/python -c 'import sys; sys.exit(sys.version_info[1] != $*)'; then :; \
	else $(MAKE) twins PYTHON=python3.$* VENV=.venv-3.$*; fi

twins: $(STAMP)
	$(BIN)/python -m pytest tests/engine/continuation tests/engine/machine

bench: $(STAMP)
	$(BIN)/python benchmarks/limit.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/sequential.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/twin.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/resume.py
	$(BIN)/python benchmarks/backends.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/turns.py

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(VERSIONS:%=.venv-%) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
