# Thin: a virtual environment from a hash-pinned lock, then one command. `make help` lists the targets.
VENV       := .venv
BENCH_VENV := .venv-bench
BIN        := $(VENV)/bin
ARGS       ?=
MINUTES    ?= 120
# Most tests wait for a server most of the time; each worker has servers of its own.
JOBS       ?= 3
# The tests start dozens of interpreters: each would compile all the code again, for more than half of its time.
unexport PYTHONDONTWRITEBYTECODE

LINT       := mypy ruff-check ruff-format lint-imports
# Each finding in one piece where this make can do that; one that fails lets the others end, and then all fails.
SIDE_BY_SIDE = $(MAKE) --no-print-directory --keep-going --jobs $(if $(filter output-sync,$(.FEATURES)),--output-sync)

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench soak lock docs clean collected installed $(LINT)

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.stamp ## settle a generated hospital day and prove that all books agree (ARGS="--cases 500", ARGS=--all-dialects)
	@$(BIN)/hub demo $(ARGS)

test: $(VENV)/.stamp ## everything that must hold before a change is accepted
	@$(SIDE_BY_SIDE) $(LINT) collected installed
	@echo '== pytest'; $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.stamp ## style, types and the direction of imports
	@$(SIDE_BY_SIDE) $(LINT)

$(LINT):
	@echo '== $@'; $(BIN)/$(COMMAND)

mypy: COMMAND = mypy
lint-imports: COMMAND = lint-imports
ruff-check: COMMAND = ruff check --quiet .
ruff-format: COMMAND = ruff format --quiet --check .

# Every worker collects all tests. Before the first time one of them compiles them for all, while mypy takes its time;
# what it finds wrong is said by pytest itself.
collected:
	@test -d tests/unit/__pycache__ || $(BIN)/pytest --collect-only --quiet >/dev/null 2>&1 || true

installed:
	@$(BIN)/python -m tests.support.install --clients

bench: $(BENCH_VENV)/.stamp ## measure the hub beside a bare floor and other frameworks; writes bench/RESULTS.md
	@$(BENCH_VENV)/bin/python -m tests.support.install
	@$(BENCH_VENV)/bin/python -m bench.run $(ARGS)

soak: $(VENV)/.stamp ## random faults under traffic, then the long fault tests, for MINUTES (120)
	@$(BIN)/python -m tests.support.install --clients
	@$(BIN)/python -m tests.support.soak --minutes $(MINUTES)

docs: $(VENV)/.stamp ## write the generated pages of docs/ anew
	@$(BIN)/hub docs $(ARGS)

lock: $(VENV)/.stamp ## resolve requirements/*.txt anew from pyproject.toml
	@.ci/lock $(BIN)

clean: ## remove the environments and all caches
	rm -rf $(VENV) $(BENCH_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp: requirements/dev.txt pyproject.toml .ci/venv
	@.ci/venv $(VENV) requirements/dev.txt

$(BENCH_VENV)/.stamp: requirements/bench.txt pyproject.toml .ci/venv
	@.ci/venv $(BENCH_VENV) requirements/bench.txt
