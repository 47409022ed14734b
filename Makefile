# The doors of the project. `make up` and `make test` need Python 3.11+ and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export COMMAND_PORT QUERY_PORT JWT_SECRET LOCAL_DIR DETACH

.PHONY: up down clean demo env check format test test-cluster bench lock

up: $(VENV)/.local ## the whole system on real servers
	@$(BIN)/python -m deploy.local up

down: $(VENV)/.local ## stop a system that runs in the background
	@$(BIN)/python -m deploy.local down

clean: $(VENV)/.local ## throw the data away
	@$(BIN)/python -m deploy.local clean

demo: $(VENV)/.local ## orders stream into a running system
	@$(BIN)/python -m deploy.local.demo

env: $(VENV)/.local ## secrets for docker compose, into .env
	@$(BIN)/python -m deploy.environment

check: $(VENV)/.dev ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.dev ## everything that can be proven on this machine
	$(BIN)/pytest tests/chaos
	$(BIN)/pytest -m "not cluster" --numprocesses=2 --dist=loadfile --ignore=tests/chaos

test-cluster: $(VENV)/.dev ## the compose cluster on a Docker engine, where one can be had
	$(BIN)/pytest -m cluster tests/cluster

bench: $(VENV)/.dev ## every figure, as a ratio against a baseline of the same run
	$(BIN)/python -m tests.bench $(ONLY)

lock: $(VENV)/.dev ## lock the dependency sets anew
	for set in command projection query local dev; do \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    --python-version 3.11 --group $$set --output-file deploy/locks/$$set.txt pyproject.toml || exit 1; done
	$(BIN)/uv pip compile --quiet --universal --no-deps --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --python-version 3.11 --group kubernetes --output-file deploy/locks/kubernetes.txt pyproject.toml

$(VENV)/.local: deploy/locks/local.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -e $(VENV)/.dev || { echo "installing into $(VENV) ..."; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<; }
	@touch $@

$(VENV)/.dev: deploy/locks/dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@ $(VENV)/.local
