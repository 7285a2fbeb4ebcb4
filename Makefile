# Two commands matter: `make up` runs the platform on this machine, `make test` runs the tests.
# Each sets up everything it needs; the only prerequisites are Python 3.11 or later (with venv), make and git.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: help setup up test test-aws scenarios check bench sim crash demo docs lock format counterparts clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make the virtual environment from the lock file

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

up: setup ## run the platform on this machine until interrupted
	$(BIN)/interlock up

demo: setup ## a minute of mixed traffic through two faulty providers, then the proof
	$(BIN)/interlock demo

sim: setup ## simulate SEEDS seeds (default 200) and every mutant; SEED alone replays one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200) --mutants)

crash: setup counterparts ## ROUNDS (default 20) of kills, a full disk, a stepped clock under load; SEED repeats one
	$(BIN)/python -m tests.crash --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED))

bench: setup ## payments a second beside an echo and two conventional implementations; QUICK=1 within two minutes
	$(BIN)/python -m bench $(if $(QUICK),--quick)

test: setup counterparts ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-aws: setup counterparts ## what runs on AWS, against an emulator that is started and stopped
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m aws

scenarios: setup counterparts ## the stories of tests/scenarios ON=memory, sqlite or aws (default memory)
	INTERLOCK_SCENARIOS_ON=$(or $(ON),memory) $(BIN)/python -m pytest tests/scenarios -n 2 --dist loadgroup -m "aws or not aws"

check: setup ## import contracts, types, style and stale documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m docs.generate --check

docs: setup ## write the generated reference pages and openapi/ anew
	$(BIN)/python -m docs.generate

counterparts: setup ## real servers and verifiers the tests talk to, cached outside the tree
	$(BIN)/python -m tests.counterparts.install

format: setup ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve pyproject.toml and bench/requirements.in into lock files, with hashes
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --extra aws \
		--no-annotate --no-header pyproject.toml -o requirements.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint requirements.lock \
		--no-annotate --no-header bench/requirements.in -o bench/requirements.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra aws --constraint requirements.lock \
		--no-annotate --no-header pyproject.toml -o src/lambdas/requirements.lock
	rm -rf .venv-lock

clean: ## remove the virtual environment and local data
	rm -rf .venv .interlock .mypy_cache .ruff_cache .pytest_cache
