# What a person types. CI types the same: .ci/run calls `make check`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Tests start thousands of processes: none of them is to compile its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help up test test-alone check format reference bench screenshots soak

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamp is newer than what it was installed from, so a second `make up` starts at once.
$(INSTALLED): pyproject.toml constraints.txt deploy/demo/text/requirements.txt telemetry/hub/assets.lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps -r deploy/demo/text/requirements.txt
	$(BIN)/python -m telemetry.hub.assets || echo 'the dashboards show tables without charts until this succeeds: $(BIN)/python -m telemetry.hub.assets'
	@touch $@

# exec: the shell steps aside, so signals reach the mesh itself and Ctrl-C drains it.
up: $(INSTALLED) ## install, make the demo models, and run the mesh until Ctrl-C
	@exec $(BIN)/penstock up

test: $(INSTALLED) ## run the tests: pure ones, then those with a running mesh
	$(BIN)/pytest -q --durations 10 -n auto --dist loadfile -m 'not system'
	$(BIN)/pytest -q --durations 10 -n 2 --dist loadfile -m 'system and not alone'

test-alone: $(INSTALLED) ## run the tests that watch faults and alerts in real time, one by one
	$(BIN)/pytest -q --durations 10 -m 'system and alone'

check: $(INSTALLED) ## format, lint, types, import rules, all tests: what CI runs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test test-alone

format: $(INSTALLED) ## put the code into its one format, and mend what lint can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

SCHEMAS := docs/reference/policy-schema.json policies/demo/policy-schema.json deploy/docker/policies/policy-schema.json
reference: $(INSTALLED) ## write the pages of docs/reference and the policies' JSON Schema anew
	$(BIN)/penstock policy schema | tee $(SCHEMAS) > /dev/null
	$(BIN)/python -m policies.reference > docs/reference/policy-files.md
	$(BIN)/python -m gateway.reference > docs/reference/reasons.md
	$(BIN)/python -m gateway.api_reference > docs/reference/api.md
	$(BIN)/python -m telemetry.reference
	$(BIN)/python -m telemetry.hub.reference > docs/reference/hub-api.md
	$(BIN)/python -m deploy.reference > docs/reference/commands.md

bench: $(INSTALLED) ## measure the gateway and the pod beside their peers
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m tests.benchmarks

screenshots: $(INSTALLED) ## take the pictures of the dashboards that the README shows; needs chromium
	PENSTOCK_SCREENSHOTS=1 $(BIN)/pytest -q tests/browser/test_live.py tests/browser/test_release_pictures.py -k pictures

SOAK_ROUNDS ?= 10
soak: $(INSTALLED) ## kill, time, simulate and repeat at full size: 100 kills of each kind, key checks, 4,000 runs of each claim, system tests on a machine that halts and SOAK_ROUNDS times
	$(BIN)/python -m tests.simulations
	PENSTOCK_KILLS=100 PENSTOCK_QUOTA_KILLS=100 PENSTOCK_AUDIT_KILLS=200 $(BIN)/pytest -q --timeout 1800 tests/system/test_overspend.py tests/system/test_quota_restart.py tests/system/test_audit_kills.py
	PENSTOCK_HISTORIES=10000 PENSTOCK_QUIET_DAYS=30 $(BIN)/pytest -q -n auto --timeout 1800 tests/telemetry/slo
	PENSTOCK_HOSTILE_NAMES=1000000 $(BIN)/pytest -q -s tests/security/test_hostile_names.py
	$(BIN)/python -m tests.benchmarks.key_timing
	PENSTOCK_RULES=full $(BIN)/pytest -q --timeout 1800 tests/conformance/prometheus
	PENSTOCK_FAULTS=full PENSTOCK_DRAINS=20 PENSTOCK_RESTARTS=10 $(BIN)/pytest -q --timeout 3600 tests/faults tests/system/test_gateway_drain.py tests/system/test_gateway_workers.py
	PENSTOCK_BACK_END_AWAY_S=600 $(BIN)/pytest -q --timeout 1800 tests/telemetry/sidecar/test_export_faults.py
	test -x .mlflow/bin/mlflow || ($(PYTHON) -m venv .mlflow && .mlflow/bin/pip install --quiet mlflow==3.17.2)
	PENSTOCK_MLFLOW=.mlflow $(BIN)/pytest -q tests/conformance/otlp/test_mlflow.py
	$(BIN)/pytest -q -n auto --dist loadfile --timeout 1800 --hypothesis-profile explore -m 'not system'
	$(BIN)/python -m tests.halts -q -m system
	@set -e; for round in $$(seq $(SOAK_ROUNDS)); do echo "round $$round of $(SOAK_ROUNDS)"; $(BIN)/pytest -q -m system; done
