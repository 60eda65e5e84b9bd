# Everything runs in .venv, which the first target that needs it makes; later ones reuse it until pyproject.toml or
# constraints.txt change. `make` alone lists the targets.

VENV ?= .venv
BIN := $(VENV)/bin

# The versions that were tested together. `make install CONSTRAINTS=` takes the newest that pyproject.toml allows.
CONSTRAINTS ?= constraints.txt

# Passed on to pytest: on several cores by default; for one process and some tests, PYTEST_ARGS="-k receptive".
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist worksteal

STAMP := $(VENV)/.installed-$(if $(CONSTRAINTS),tested,newest)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-cluster lint types check bench notebooks docs docs-links constraints clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## make .venv with everything in it (the other targets do this by themselves)

demo: $(STAMP) ## train a small pix2pix on built-in images and show what it learned
	$(BIN)/patchlight-train experiment=demo

test: export OMP_NUM_THREADS ?= 1
test: $(STAMP) ## the tests
	$(BIN)/python -m pytest -m "not slow and not cluster" $(PYTEST_ARGS)

test-all: export OMP_NUM_THREADS ?= 1
test-all: $(STAMP) ## the tests and the slow tests, with coverage of at least 90 %
	$(BIN)/python -m pytest -m "not cluster" --cov --cov-report=term $(PYTEST_ARGS)

# On Debian and Ubuntu, as root, what is missing is installed; elsewhere `slurmctld`, `slurmd`, `munged` and `ip` must be
# there. Two nodes and two hosts need root.
test-cluster: export OMP_NUM_THREADS ?= 1
test-cluster: $(STAMP) ## trainings on a SLURM, and on two hosts, which are started for the tests and stopped after them
	@if ! { command -v slurmctld && command -v slurmd && command -v munged && command -v ip; } >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge iproute2; fi
	$(BIN)/python -m pytest -m cluster tests/cluster

lint: $(STAMP) ## style, formatting, the direction of imports, the workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	@if command -v actionlint >/dev/null; then actionlint; else echo "actionlint is not installed: workflows not checked"; fi

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy
	MYPYPATH=src:docs/_ext $(BIN)/mypy docs/conf.py docs/_ext

check: lint types test ## what CI runs

bench: $(STAMP) ## time steps, input, inference and start-up beside a plain way of each; BENCH_ARGS="parts=[step]"
	$(BIN)/patchlight-bench $(BENCH_ARGS)

notebooks: export OMP_NUM_THREADS ?= 1
notebooks: $(STAMP) ## run every notebook, in a temporary folder, and check what it found
	$(BIN)/python -m pytest -m "slow or not slow" --durations=3 tests/notebooks

docs: export OMP_NUM_THREADS ?= 1
docs: $(STAMP) ## the site, in build/docs/html; runs the notebooks unless DOCS_ARGS="-D nb_execution_mode=off"
	$(BIN)/python -m sphinx -W --keep-going -b html $(DOCS_ARGS) docs build/docs/html

docs-links: $(STAMP) ## links of the site to other places, which needs the network
	$(BIN)/python -m sphinx -W --keep-going -b linkcheck -D nb_execution_mode=off docs build/docs/links

constraints: $(STAMP) ## write the versions in .venv to constraints.txt
	@{ echo "# Versions that were tested together. To renew: \`make install CONSTRAINTS=\`, the tests, \`make constraints CONSTRAINTS=\`."; \
		$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools \
		| grep -viE '^(nvidia|cuda|triton)'; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@echo "constraints.txt: $$(grep -c == constraints.txt) versions"

clean: ## remove caches and builds; .venv, data/ and logs/ stay
	rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests configs -name __pycache__ -type d -prune -exec rm -rf {} +

# PYTHON=... chooses the interpreter; otherwise the first of these that starts and is new enough.
PYTHON ?=
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@set -e; if ! $(BIN)/python -c "" 2>/dev/null; then \
		for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
			if "$$python" -c "$(FITS)" 2>/dev/null; then chosen="$$python"; break; fi; \
		done; \
		if test -z "$$chosen"; then \
			echo "Patchlight needs Python 3.11, 3.12 or 3.13$(if $(PYTHON), and $(PYTHON) is none of them)." >&2; \
			echo "Install one, or name it: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3.11" >&2; exit 1; \
		fi; \
		if ! "$$chosen" -c "import ensurepip, venv" 2>/dev/null; then \
			echo "$$chosen cannot make virtual environments: it comes without ensurepip." >&2; \
			echo "On Debian and Ubuntu install the package pythonX.Y-venv that matches it, then run make again." >&2; exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$chosen" --version); the packages take a few minutes and some gigabytes."; \
		"$$chosen" -m venv --clear $(VENV); \
	fi
	$(BIN)/python -m pip install --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS),--upgrade) -e ".[dev]"
	@rm -f $(VENV)/.installed-*
	@touch $@
