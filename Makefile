# The project's entry points. `make up` and `make test` need only Python 3.11+ and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export COMMAND_PORT QUERY_PORT JWT_SECRET LOCAL_DIR DETACH

.PHONY: up help down clean demo env check format test test-cluster bench lock

up: $(VENV)/.local ## run the whole system on real servers
	@$(BIN)/python -m deploy.local up

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

down: $(VENV)/.local ## stop the system running in the background
	@$(BIN)/python -m deploy.local down

clean: $(VENV)/.local ## delete all data
	@$(BIN)/python -m deploy.local clean

demo: $(VENV)/.local ## stream orders into a running system
	@$(BIN)/python -m deploy.local.demo

env: $(VENV)/.local ## write secrets for docker compose to .env
	@$(BIN)/python -m deploy.environment

check: $(VENV)/.dev ## check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and fix lint findings
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.dev ## run every test that works without Docker
	$(BIN)/pytest tests/chaos
	$(BIN)/pytest -m "not cluster" --numprocesses=2 --dist=loadfile --ignore=tests/chaos

test-cluster: $(VENV)/.dev ## test the compose cluster, if a Docker engine is available
	$(BIN)/pytest -m cluster tests/cluster

bench: $(VENV)/.dev ## run the benchmarks, each against a baseline measured in the same run
	$(BIN)/python -m tests.bench $(ONLY)

lock: $(VENV)/.dev ## regenerate the dependency locks
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
