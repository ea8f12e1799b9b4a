# Every verb sets up what it needs in a local .venv; a second call with nothing changed is quick.
# Variables: PYTHON=python3.12 (which interpreter makes .venv), ARGS="-k crop" (passed on).
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check fix bench docs default-weights clean

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
CANDIDATES := python py
else
BIN := $(VENV)/bin
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
endif
PY := $(BIN)/python
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1@/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS=@ read -r verb text; do printf '  make %-15s %s\n' "$$verb" "$$text"; done

# The stamp is newer than both files exactly when .venv matches them.
$(VENV)/.installed: pyproject.toml constraints.txt
	@set -e; python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for name in $(CANDIDATES); do \
	    if "$$name" $(NEW_ENOUGH) >/dev/null 2>&1; then python="$$name"; break; fi; \
	  done; \
	fi; \
	if ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  if [ -z "$$python" ] || ! "$$python" $(NEW_ENOUGH); then \
	    echo "No Python 3.11 or newer found: install one, or name it:  make setup PYTHON=/path/to/python" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv $(VENV); \
	fi
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

setup: $(VENV)/.installed  ## make .venv and install everything into it
	@echo "Ready: $(BIN)/vitruvian --help"

demo: $(VENV)/.installed  ## see people in a photograph; pictures land in demo/
	$(PY) examples/demo.py --out demo $(ARGS)

test: $(VENV)/.installed  ## the default tests (minutes)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto -m "not slow" $(ARGS)

test-slow: $(VENV)/.installed  ## the tests marked slow
	$(PY) -m pytest -m slow $(ARGS)

check: $(VENV)/.installed  ## lint, formatting, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright

fix: $(VENV)/.installed  ## repair what lint and formatting can repair
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/.installed  ## the benchmarks, each against its baseline; results in benchmarks/results/
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PY) "$$script" $(ARGS); done

default-weights: $(VENV)/.installed  ## make the package's weights anew (a day on two cores; ARGS="--budget gpu")
	$(BIN)/vitruvian train default --out runs/default --ship $(ARGS)

docs: $(VENV)/.installed-docs  ## the documentation site, into site/
	$(BIN)/zensical build --strict $(ARGS)

clean:  ## remove what the other verbs made, .venv too
	rm -rf $(VENV) demo site build dist .pytest_cache .ruff_cache .hypothesis
