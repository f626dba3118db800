# `make demo` and `make test` need Python 3.11-3.13 and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/installed

.PHONY: demo demo-train test test-slow lint clean

demo: $(STAMP)  ## two phantom studies -> diagnosis with the shipped weights, into demo_output/
	$(BIN)/jcs demo --output demo_output

demo-train: $(STAMP)  ## phantom -> training -> evaluation -> diagnosis, into demo_output/
	$(BIN)/jcs demo --train --output demo_output

test: $(STAMP)  ## everything but the tests marked slow
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not slow and not engines"
	$(BIN)/python -m pytest -m "engines and not slow"

test-slow: $(STAMP)  ## minutes long: training runs on real data
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip setuptools wheel
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo_output build dist *.egg-info
