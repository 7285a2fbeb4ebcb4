# Two commands matter: `make up` runs the platform on this machine, `make test` runs the tests.
# Each sets up everything it needs; the only prerequisites are Python 3.11 or later (with venv), make and git.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
LIVE = infra/terraform/live/$(STACK)

.PHONY: help setup up test test-aws scenarios check check-infra lambdas plan deploy release-check bench million bench-localisation bench-aws sim crash demo docs lock format counterparts clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make the virtual environment from the lock file

$(STAMP): requirements.lock pyproject.toml src/interlock/entrypoints/console/package-lock.json
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m interlock.entrypoints.console.libraries
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

check-infra: setup ## alarms and their pages, pipelines, Terraform for every installation, checkov; make test-aws runs them, too
	$(BIN)/python -m tests.counterparts.install terraform terraform-schema checkov check-jsonschema promtool
	$(BIN)/python -m infra.alarms.generate --check
	$(BIN)/python -m pytest -q -m "aws or not aws" tests/infra

lambdas: setup ## the functions' archives for both architectures, in build/lambdas; the same tree gives the same bytes
	$(BIN)/python src/lambdas/package.py

plan: lambdas ## what applying would change in STACK (dev, staging, production), into build/plan-STACK
	terraform -chdir=$(LIVE) init -input=false -backend-config=bucket=$(STATE_BUCKET) -backend-config=region=$(AWS_REGION)
	terraform -chdir=$(LIVE) plan -input=false -out=$(CURDIR)/build/plan-$(STACK)

deploy: setup ## apply build/plan-STACK, then move its functions, a share of the calls first; status 1 if one was taken back
	terraform -chdir=$(LIVE) init -input=false -backend-config=bucket=$(STATE_BUCKET) -backend-config=region=$(AWS_REGION)
	terraform -chdir=$(LIVE) apply -input=false $(CURDIR)/build/plan-$(STACK)
	$(BIN)/python -m infra.canary interlock-$(STACK)

release-check: setup ## hold STACK against what must be true of a release
	INTERLOCK_AWS=$$(aws lambda get-function-configuration --function-name interlock-$(STACK)-http_api \
		--query Environment.Variables.INTERLOCK_AWS --output text) $(BIN)/interlock release check

million: setup ## a data set of PAYMENTS (default 1,000,000) in DATA (default build/million), for measuring the desk
	$(BIN)/python -m bench.desk.million --data $(or $(DATA),build/million) --payments $(or $(PAYMENTS),1000000)

bench-localisation: setup ## which attributes explain a drop: figures against baselines; QUICK=1 within a minute
	$(BIN)/python -m bench.localisation $(if $(QUICK),--quick)

bench-aws: setup counterparts ## write units and cold starts, into docs/performance-aws.md
	$(BIN)/python -m bench.aws

docs: setup ## write the generated reference pages and openapi/ anew
	$(BIN)/python -m docs.generate

counterparts: setup ## real servers and verifiers the tests talk to, cached outside the tree
	$(BIN)/python -m tests.counterparts.install

format: setup ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve pyproject.toml and bench/requirements.in into lock files, with hashes
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --extra aws --extra sql \
		--no-annotate --no-header pyproject.toml -o requirements.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint requirements.lock \
		--no-annotate --no-header bench/requirements.in -o bench/requirements.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra aws --constraint requirements.lock \
		--no-annotate --no-header pyproject.toml -o src/lambdas/requirements.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra aws --extra sql \
		--constraint requirements.lock --no-annotate --no-header pyproject.toml -o infra/containers/requirements.lock
	rm -rf .venv-lock

clean: ## remove the virtual environment and local data
	rm -rf .venv .interlock .mypy_cache .ruff_cache .pytest_cache
