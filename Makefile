# Needs Python 3.11 or later. PYTHON=… picks one; otherwise the first that will do is taken.
PYTHON ?=
INSTALLED = .venv/installed
TOOLS = .venv/installed-tools
INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement

.PHONY: setup run web worker check test lint bench bench-full soak clean

setup: $(TOOLS)

$(INSTALLED): requirements.txt constraints.txt
	@if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
		for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
			if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
				echo "Making .venv with $$($$python --version)"; \
				$$python -m venv --clear .venv || exit 1; \
				break; \
			fi; \
		done; \
	fi
	@if ! test -x .venv/bin/python; then \
		echo "Python 3.11 or later with its venv module is needed and was not found." >&2; \
		echo "On Debian or Ubuntu: apt-get install python3 python3-venv. Elsewhere: https://www.python.org/downloads/" >&2; \
		echo "If it has another name: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi
	@echo "Installing what the service needs into .venv (about a minute)"
	@$(INSTALL) requirements.txt
	@touch $(INSTALLED)

$(TOOLS): $(INSTALLED) requirements-dev.txt
	@echo "Installing what its tests need as well"
	@$(INSTALL) requirements-dev.txt
	@touch $(TOOLS)

run: $(INSTALLED)
	@exec .venv/bin/python app.py

web worker check: $(INSTALLED)
	@exec .venv/bin/python app.py $@

# One more than there are processors: many tests wait for something.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1 )))

test: setup lint
	.venv/bin/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: setup
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy .

bench: setup
	.venv/bin/python -m benchmarks

bench-full: setup
	.venv/bin/python -m benchmarks million

# MINUTES of load and faults; SEED chooses them.
MINUTES ?= 1
SEED ?= 1

soak: setup
	.venv/bin/python -m soak --minutes $(MINUTES) --seed $(SEED)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
