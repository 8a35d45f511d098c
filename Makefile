# Every target sets itself up: a machine needs python3 (3.11 or newer) and make, nothing else.
# All that is written lands in this folder or in the system's temporary folder.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STATE  := $(CURDIR)/.cache

# A file's tests stay together, since they share servers, kernels and catalogs. PARALLEL= runs one test at a time.
PARALLEL ?= -n auto --dist loadfile --no-loadscope-reorder

# What the tools would otherwise put into the home directory. XDG_CONFIG_HOME stays: pip reads its settings there.
export PIP_CACHE_DIR       := $(STATE)/pip
export UV_CACHE_DIR        := $(STATE)/uv
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MPLCONFIGDIR        := $(STATE)/matplotlib
export IPYTHONDIR          := $(STATE)/ipython
export JUPYTER_CONFIG_DIR  := $(STATE)/jupyter/config
export JUPYTER_DATA_DIR    := $(STATE)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(STATE)/jupyter/runtime

# Without this, each kernel, server and script would compile its packages anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# A person's catalog belongs into their data folder, where `make clean` does not reach; that of a test does not.
demo test soak bench check: export XDG_CACHE_HOME    := $(STATE)/cache
demo test soak bench check: export XDG_DATA_HOME     := $(STATE)/data
demo test soak bench check: export LLMKIT_CONFIG_DIR := $(STATE)/config

# Where .ci/run puts its uv: what uv has installed, pip cannot change.
export PATH := $(STATE)/bin:$(PATH)

.PHONY: help demo test lab check soak bench clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 8

demo: $(VENV)/.installed-runtime ## ask six simulated providers and print what it cost; no key needed
	@$(BIN)/llmkit demo

test: $(VENV)/.installed-dev ## run the tests and the notebooks
	$(BIN)/python -m pytest $(PARALLEL) --nbval-lax --nbval-current-env -m "not soak" tests $(wildcard notebooks)

lab: $(VENV)/.installed-lab ## open JupyterLab on the first notebook; ARGS=--no-browser for options of it
	$(BIN)/jupyter lab notebooks/01_quickstart.ipynb $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

check: $(VENV)/.installed-dev ## ruff, mypy --strict and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/.installed-dev ## the tests that take long
	$(BIN)/python -m pytest -m soak -s --timeout=0

bench: $(VENV)/.installed-dev ## llmkit's cost beside the bare request's; CASE=name for one (tests/bench/README.md)
	@$(BIN)/python tests/bench $(CASE)

clean: ## remove everything that was installed or cached here
	rm -rf $(VENV) $(STATE) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: once, and again when pyproject.toml changes --------------------------------------------------------------

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "Installing llmkit into $(VENV) (once; it can take a few minutes) ..."
	@if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python -e '.$(if $(filter-out runtime,$*),[$*])'; \
	else \
	  $(BIN)/python -m pip install --quiet -e '.$(if $(filter-out runtime,$*),[$*])'; \
	fi
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "llmkit needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@command -v uv >/dev/null || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. Install it (Debian, Ubuntu: apt install python3-venv), or install uv." >&2; exit 1; }
	@rm -rf $(VENV)
	@if command -v uv >/dev/null; then uv venv --quiet --python "`command -v $(PYTHON)`" $(VENV); \
	else $(PYTHON) -m venv $(VENV); fi
