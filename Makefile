# rotator: the few commands a developer needs. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SCRIPT := PYTHONPATH=scripts $(BIN)/python -m
LOCK := scripts/lock

# The tests start hundreds of processes: none should have to compile what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-lowest test-pythons test-faults test-matrix test-clients \
	fuzz enumerate mutants partitions soak year lint fix vectors reference bench lock release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Whatever is installed is in a lock, with the hashes of its files. pip brings uv, uv the rest.
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
define install
@echo "installing $(1) into $(VENV)" >&2
@$(INSTALL) --require-hashes --requirements $(LOCK)/$(1).txt
endef

$(UV): $(LOCK)/uv.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

STAMP := $(VENV)/.installed
$(STAMP): $(UV) $(LOCK)/demo.txt pyproject.toml
	$(call install,demo)
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

DEV := $(VENV)/.installed-dev
$(DEV): $(STAMP) $(LOCK)/dev.txt
	$(call install,dev)
	@touch $@

RELEASE := $(VENV)/.installed-release
$(RELEASE): $(DEV) $(LOCK)/release.txt
	$(call install,release)
	@touch $@

demo: $(STAMP) ## the whole story on a private server, nothing else needed
	@$(BIN)/rotator demo

# More processes than cores: some of the tests wait most of the time.
JOBS ?= 4
SIDE_BY_SIDE := $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder
# Some tests need what the server at hand may not have (tests/support/programs.py): fetched once.
FETCH := $(SCRIPT) servers redis-7.0.15 redis-6.2.14 redis-8.6.3 valkey-8.1.8; $(SCRIPT) servers.openbao
test: $(DEV) ## all tests, against a real server: TESTS=..., JOBS=n side by side
	@$(FETCH) || true # the tests say what they lack
	@$(SIDE_BY_SIDE) $(PYTEST) $(TESTS)

test-unit: $(DEV) ## the tests that need no server, in seconds
	@$(SIDE_BY_SIDE) --hypothesis-profile quick tests/unit

test-lowest: $(DEV) ## the same with the oldest versions that pyproject.toml allows
	@$(BIN)/python scripts/pythons.py --lowest

test-pythons: $(DEV) ## the same with every Python that is here
	@$(BIN)/python scripts/pythons.py

test-faults: $(DEV) ## tests of everything that breaks, long version, REPEAT=n times in a row
	@$(BIN)/python -m pytest -m faults --repeat $(or $(REPEAT),1) $(TESTS)

test-matrix: $(DEV) ## tests on every server version: SERVERS="redis-7.0 valkey", TESTS=..., RECORD=1 into the document
	@$(SCRIPT) servers.matrix --jobs $(JOBS) --servers "$(SERVERS)" $(if $(RECORD),--record) $(TESTS)

test-clients: $(DEV) ## values of real clients, rotated and read by them again: CLIENTS="jose tink"
	@$(SCRIPT) clients $(CLIENTS)

fuzz: $(DEV) ## look for inputs that break a rule: MINUTES=n each target, REPLIES=n that a server changes, EXAMPLES=n of each property
	@$(INSTALL) --only-binary :all: --require-hashes --requirements $(LOCK)/fuzz.txt || echo "fuzz: without atheris only the properties of the tests are tried"
	@$(SCRIPT) fuzz --minutes $(or $(MINUTES),1)
	@$(SCRIPT) fuzz.replies --replies $(or $(REPLIES),2000)
	@EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -m hypothesis --hypothesis-profile fuzz --timeout 0 $(TESTS)

enumerate: $(DEV) ## kill commands and cut them off at every point: EVERY=n plays one in n, COMMANDS=run, PLACES=cluster, ONLY="..."
	@$(SCRIPT) enumeration --jobs $(JOBS) --every $(or $(EVERY),1) $(if $(ONLY),--only "$(ONLY)") \
		$(if $(COMMANDS),--commands $(COMMANDS)) $(if $(PLACES),--places $(PLACES))

mutants: $(DEV) ## change code on purpose, and see whether a test fails: MODULES="retirement crypto.cuts", one of EVERY=n, PROCESSES=n
	@$(INSTALL) --only-binary :all: --require-hashes --requirements $(LOCK)/mutants.txt
	@$(SCRIPT) mutants --processes $(or $(PROCESSES),1) --every $(or $(EVERY),1) $(MODULES)

soak: $(DEV) ## a cluster, an application, kills and failovers for MINUTES=n, SEED=n; then what must hold
	@$(SCRIPT) soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

partitions: $(DEV) ## all partitions of servers, and of rotator from them: JOBS=n side by side; each is a test
	@$(BIN)/python -m pytest -n $(JOBS) --repeat 1 $(PYTEST) tests/faults/test_partitions.py

year: $(DEV) ## a year of nights by a simulated clock, with a new key every month: NIGHTS=n, SEED=n, KIND=rdb|aof|cluster
	@$(SCRIPT) year --nights $(or $(NIGHTS),365) $(if $(SEED),--seed $(SEED)) $(if $(KIND),--kind $(KIND))

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

reference: $(DEV) ## write the reference parts of the documents and the man page again
	@$(SCRIPT) reference

bench: $(DEV) ## measure against plain clients and the server's limit
	@$(SCRIPT) bench $(BENCH)

# What is shipped has the versions that were tested. lowest: the oldest that pyproject.toml allows.
COMPILE := compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate pyproject.toml
# What is in the image: all but a server.
IMAGE := aws azure ccp conjur dask delinea html receipt vault
lock: $(UV) ## renew all versions and hashes under scripts/lock
	@$(UV) pip $(COMPILE) --all-extras --group build --group dev -o $(LOCK)/dev.txt
	@$(UV) pip $(COMPILE) --extra demo --group build -c $(LOCK)/dev.txt -o $(LOCK)/demo.txt
	@$(UV) pip $(COMPILE) $(addprefix --extra ,$(IMAGE)) -c $(LOCK)/dev.txt -o $(LOCK)/image.txt
	@$(UV) pip $(COMPILE) --group release -c $(LOCK)/dev.txt -o $(LOCK)/release.txt
	@$(UV) pip $(COMPILE) --all-extras --group build --group test --resolution lowest-direct -o $(LOCK)/lowest.txt
	@$(UV) pip $(subst pyproject.toml,,$(COMPILE)) --group uv -o $(LOCK)/uv.txt
	@$(UV) pip $(subst pyproject.toml,,$(COMPILE)) --group fuzz -o $(LOCK)/fuzz.txt
	@$(UV) pip $(subst pyproject.toml,,$(COMPILE)) --group mutants -c $(LOCK)/dev.txt -o $(LOCK)/mutants.txt
	@$(UV) pip $(subst pyproject.toml,,$(COMPILE)) --group clients -o $(LOCK)/clients.txt
	@$(UV) pip $(subst pyproject.toml,,$(COMPILE)) --group servers --no-deps -o $(LOCK)/servers.txt

release-check: $(RELEASE) ## build, install and list what a release holds, into dist/; nothing is uploaded
	@$(SCRIPT) release

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .mutants
