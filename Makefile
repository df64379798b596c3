# What a developer types. Every target makes the environment that it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SEEDS := 20000
# Of pytest, for `make test` and `make unridden`.
TEST_OPTIONS :=
# One more than two cores: tests wait for leases and for processes more than they compute.
TESTERS := 3

# Tests start hundreds of processes; each would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo test simulate unridden check docs recording screenshot format bench peers lock clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/'

install: $(INSTALLED) ## make .venv, with the locked versions of everything

$(INSTALLED): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "celery-plans needs Python 3.11 or later; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: install ## a census of the standard library, with a worker killed on the way
	$(BIN)/plans demo

test: install ## every test, on servers of this checkout's own, with coverage
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder --durations 25 --cov --cov-report=term-missing:skip-covered --cov-fail-under=95 $(TEST_OPTIONS)

simulate: install ## many more worlds and random documents than the tests: make simulate SEEDS=20000
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 7200 --seeds $(SEEDS) --hypothesis-profile many tests/simulation tests/unit

unridden: install ## the tests with workers once more, with a message for each step
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder --rides off $(TEST_OPTIONS) tests/acceptance

check: install ## format, lint, types, which module may import which, the image, and the website
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile deploy/compose/*/Dockerfile
	$(MAKE) --no-print-directory docs

docs: install ## the website, in build/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

recording: install ## run the demo, and make docs/demo.svg of what it shows
	$(BIN)/python docs/record.py

screenshot: install ## take docs/operations/executions_tab.png anew, with Chromium
	$(BIN)/python -m tests.browser.screenshot

format: install ## rewrite the files as `make check` wants them
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: install ## beside raw Celery and others, in one run: make bench ARGS="--rounds 1"
	$(BIN)/python -m benchmarks $(ARGS)

peers: install ## add what the benchmark compares with: DBOS and procrastinate
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt

lock: install ## write the versions that development, the benchmark and the image use anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
	    --no-header --all-extras --group dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
	    --no-header --constraints requirements-dev.txt --group bench pyproject.toml \
	    -o requirements-bench.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
	    --no-header --no-annotate --generate-hashes --constraints requirements-dev.txt \
	    --extra worker --extra flower pyproject.toml -o requirements.txt

clean: ## remove the environment and the local stack's data
	rm -rf $(VENV) .plans
