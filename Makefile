# Every target sets up what it needs, once, from versions pinned with hashes (requirements/).
# Needed beforehand: make, and a Python of at least 3.11 (another one: make PYTHON=/path/to/python).

VENV := .venv
BIN := $(VENV)/bin
MINIMUM := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11 python3
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--fork-strategy fewest --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

# pip refuses to mix hashed and unhashed requirements, so kappa itself is installed after its lock.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCAL := --no-deps --no-build-isolation

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fuzz soak torture bench lock clean

help:
	@echo "make setup   install kappa and its tools into $(VENV)"
	@echo "make demo    the whole way, from events to a promoted rebuild, on real servers"
	@echo "make test    every check and every test"
	@echo "make check   format, lint, types and import rules"
	@echo "make fuzz    windows and aggregates against the slow reference, on other data each time"
	@echo "make soak    three processes under load, one killed or paused every ten seconds; then"
	@echo "             eight of which one joins or leaves every two seconds"
	@echo "make torture promotes and rollbacks under load with kills, then commands at random"
	@echo "make bench   four jobs over four million events each, by kappa and by hand"
	@echo "make lock    pin the newest versions that pyproject.toml allows"
	@echo "make clean   remove what the other targets built"

setup: $(VENV)/.setup

$(VENV)/bin/python:
	@for python in $(CANDIDATES); do \
		if "$$python" -c "$(MINIMUM)" >/dev/null 2>&1; then \
			echo "making $(VENV) with $$("$$python" --version)"; \
			exec "$$python" -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "kappa needs Python 3.11 or newer with venv; none of these is one: $(CANDIDATES)" >&2; \
	exit 1

$(VENV)/.setup: requirements/dev.txt pyproject.toml processors/pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --require-hashes -r requirements/dev.txt
	$(INSTALL) $(LOCAL) -e . -e ./processors
	@touch $@

$(VENV)/.demo: requirements/demo.txt $(VENV)/.setup
	$(INSTALL) --require-hashes --no-build-isolation -r requirements/demo.txt
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python processors/demo.py $(if $(KEEP),--keep)

test: check $(VENV)/.demo
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# How long: make fuzz EXAMPLES=1000000. What fails is tried first the next time.
EXAMPLES := 50000
fuzz: setup
	KAPPA_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n 2 --dist load tests/properties
	KAPPA_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n 2 --dist load -m hypothesis

# How long: make soak MINUTES=30 STORM=600. It prints what was done and ends with an error after any break.
MINUTES := 5
STORM := 300
soak: setup
	$(BIN)/python -m tests.live.soak --minutes $(MINUTES)
	$(BIN)/python -m tests.live.storm --seconds $(STORM)

# It prints what was done and ends with an error after any break.
SWAPS := 200
torture: setup
	$(BIN)/python -m tests.live.torture --swaps $(SWAPS)
	$(BIN)/python -m tests.live.chaos --processes 16 --seconds 180

bench: setup
	$(BIN)/python -m bench replay

# A lock changes only here: the newest versions inside the ranges of pyproject.toml.
lock: setup
	$(LOCK) --upgrade --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --upgrade --extra demo -c requirements/dev.txt pyproject.toml -o requirements/demo.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf *.egg-info
