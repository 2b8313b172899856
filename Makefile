# `make demo` and `make test` set up everything they need; nothing but Python 3.11+ and make is required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench lock wheel clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/mailcanary demo $(DEMO_ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "mailcanary needs Python 3.11 or newer, found %d.%d; set PYTHON=python3.x" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

# Needs uv, which is not part of the locked set. Registry hosts stay out of the lock file.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --extra lab --group dev pyproject.toml -o requirements/dev.txt

wheel: $(STAMP)
	$(BIN)/python -m hatchling build -t wheel -d dist

clean:
	rm -rf $(VENV) dist build
