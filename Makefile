# Two commands matter: `make demo` and `make test`. Both set themselves up in $(VENV), from the lock files in requirements/.
#
#   PYTHON    the interpreter that makes the virtual environment
#   VENV      where it lies; no spaces in this one (the checkout's own path may have some)
#   TESTERS   in how many processes the tests run; each takes files as it becomes free
#   UPGRADE   `make lock UPGRADE=1` moves every pin to its newest version
#   BENCH     what `make bench` measures and how: names or all, --quick, --json FILE

PYTHON ?= python3
VENV ?= .venv
TESTERS ?= 2
BENCH ?= all
BIN := $(VENV)/bin

# Wheels only, each with its hash: nothing runs at install time and nothing comes in unseen. Quiet, but for errors.
PIP := "$(BIN)/python" -m pip --disable-pip-version-check install --quiet --quiet
LOCKED := $(PIP) --require-hashes --only-binary :all:

# A file stays in one process: what its tests share is made once. The files' order stays, too: moto, as a decorator,
# forgets what its servers of the same process hold, and the tests that share a server come first.
PYTEST := $(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

# A stamp is the proof that a set is installed: newer than its lock, or the set is installed again.
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development
PUBLISHING := $(VENV)/.installed-publishing
TORCH := $(VENV)/.installed-torch

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: airflow asl bench clients development help demo mlflow test images test-images lint format lock schemas supply-chain torch clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(RUNTIME) ## Run the example: train on flights, score the later months, write the report
	@$(BIN)/python -m pipelines run pipelines/flights/use-case.yaml --pipeline both

test: lint ## Run the checks of lint, then all tests
	@$(PYTEST)

images: $(DEVELOPMENT) ## Build the CPU images, with a Docker engine that is started where none answers
	@engine/start
	@engine/base
	@$(BIN)/python build.py build

test-images: images ## Test the images as images; `make test` does so too where an engine answers
	@$(PYTEST) tests/images

lint: $(DEVELOPMENT) ## Check style, types and import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEVELOPMENT) ## Rewrite the code in the house's format
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

airflow: $(VENV)-airflow/.installed ## Set up Airflow, for the tests that run the pipelines in it

bench: $(RUNTIME) $(VENV)-benchmarks/.installed ## Measure the components beside their peers: a quarter of an hour (BENCH='all --quick': minutes)
	@$(BIN)/python -m benchmarks $(BENCH)

asl: tests/asl/node_modules/.package-lock.json ## Set up the checker of state machines, which wants Node.js 18 or later

schemas: $(RUNTIME) ## Write the schemas of the components' settings again, after a change of settings
	@for name in processing algorithm monitoring explainability; do \
	  $(BIN)/python -m components.$$name schema > pipelines/schemas/$$name.json || exit 1; done

clients: $(VENV)-sagemaker-v2/.installed $(VENV)-sagemaker-v3/.installed ## Set up both SageMaker SDKs, for the tests in which they drive the images
	@engine/compose

development: $(DEVELOPMENT) ## Set up the development environment, and nothing else

mlflow: $(VENV)-mlflow/.installed ## Set up an MLflow server, for the tests that track runs in it

supply-chain: $(VENV)-supply-chain/.installed ## Look for faults in workflows, scripts, Dockerfiles and code, and for secrets
	@.github/scripts/scan "$(VENV)-supply-chain/bin"

torch: $(TORCH) ## Add PyTorch's CPU build, which only the algorithm's torch framework needs

clean: ## Remove the virtual environment and the tools' caches; the runs stay, in .quartet
	for folder in "$(VENV)" "$(VENV)"-airflow "$(VENV)"-benchmarks "$(VENV)"-mlflow "$(VENV)"-sagemaker-v? "$(VENV)"-supply-chain; do if [ -e "$$folder/pyvenv.cfg" ]; then rm -rf "$$folder"; fi; done
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find benchmarks components shared pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- The virtual environment -------------------------------------------------------------------------------------------

# Made anew when a lock changes, so that no package stays behind that no lock names; a folder without our stamp is not ours
# to remove. The data package comes second: published as source only, it is built with the setuptools of the first set.
$(RUNTIME): requirements/demo.txt requirements/flights.txt
	@"$(PYTHON)" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$("$(PYTHON)" --version 2>/dev/null) || found="not found"; \
	  echo "'$(PYTHON)' ($$found) cannot be used: Python 3.11 or later with its venv module is wanted." \
	       "Name another with 'make PYTHON=python3.12', or install python3-venv." >&2; exit 1; }
	@echo "Setting up $(VENV) from requirements/demo.txt: about a minute, this once." >&2
	@if [ -e "$@" ]; then rm -rf "$(VENV)"; fi
	@"$(PYTHON)" -m venv "$(VENV)"
	@$(LOCKED) -r requirements/demo.txt
	@$(PIP) --require-hashes --no-deps --no-build-isolation --use-pep517 -r requirements/flights.txt
	@touch "$@"

$(DEVELOPMENT): requirements/dev.txt $(RUNTIME)
	@echo "Adding the development tools from requirements/dev.txt." >&2
	@$(LOCKED) -r requirements/dev.txt
	@touch "$@"

# For release.yml, where it is all there is.
$(PUBLISHING): requirements/publish.txt
	@"$(PYTHON)" -m venv "$(VENV)"
	@$(LOCKED) -r $<
	@touch "$@"

$(TORCH): requirements/torch-cpu.txt components/algorithm/requirements/torch-cpu.txt $(RUNTIME)
	@echo "Adding PyTorch's CPU build from requirements/torch-cpu.txt." >&2
	@$(LOCKED) -r components/algorithm/requirements/torch-cpu.txt
	@$(PIP) --only-binary :all: --no-deps -r requirements/torch-cpu.txt || { \
	  echo "pip found no CPU build of torch for this Python: set PIP_EXTRA_INDEX_URL to PyTorch's CPU index," \
	       "or PIP_FIND_LINKS to a folder with the wheel." >&2; exit 1; }
	@touch "$@"

# npm writes this file last.
tests/asl/node_modules/.package-lock.json: tests/asl/package-lock.json
	@npm --prefix tests/asl ci --silent --ignore-scripts --no-audit --no-fund
	@touch "$@"

# Programs of others that tests run, whose packages cannot live beside ours: each in an environment of its own.
$(VENV)-airflow/.installed: tests/airflow/requirements.txt
$(VENV)-benchmarks/.installed: benchmarks/requirements.txt
$(VENV)-mlflow/.installed: tests/mlflow/requirements.txt
$(VENV)-sagemaker-v2/.installed: tests/clients/v2.txt
$(VENV)-sagemaker-v3/.installed: tests/clients/v3.txt
$(VENV)-supply-chain/.installed: requirements/supply-chain.txt

# A lock names everything, so nothing is left to resolve (--no-deps): in doing so, older pips take a package that another
# one wants with an extra for one without a pin.
$(VENV)-%/.installed:
	@echo "Setting up $(@D) from $<: about a minute, this once." >&2
	@if [ -e "$@" ]; then rm -rf "$(@D)"; fi
	@"$(PYTHON)" -m venv "$(@D)"
	@"$(@D)/bin/python" -m pip --disable-pip-version-check install --quiet --quiet --require-hashes --no-deps --only-binary :all: -r $<
	@touch "$@"

# --- The lock files ----------------------------------------------------------------------------------------------------

# One resolution for all: demo.txt first, and every other lock is held to its versions.
COMPONENTS := processing/requirements/cpu algorithm/requirements/xgboost-cpu monitoring/requirements/cpu explainability/requirements/cpu
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

lock: $(RUNTIME) ## Regenerate the lock files from the .in files
	@$(LOCKED) -r requirements/uv.txt
	@$(LOCK) requirements/shared.in requirements/pipelines.in requirements/build.in $(COMPONENTS:%=components/%.in) -o requirements/demo.txt
	@$(LOCK) requirements/dev.in -c requirements/demo.txt -o requirements/dev.txt
	@$(LOCK) requirements/publish.in -c requirements/dev.txt -o requirements/publish.txt
	@$(LOCK) requirements/flights.in --no-deps -o requirements/flights.txt
	@$(LOCK) requirements/uv.in -o requirements/uv.txt
	@$(LOCK) --only-binary :all: requirements/supply-chain.in -c requirements/demo.txt -o requirements/supply-chain.txt
	@for set in $(COMPONENTS) $(addprefix algorithm/requirements/,torch-cpu xgboost-cuda torch-cuda); do \
	  $(LOCK) requirements/shared.in "components/$$set.in" -c requirements/demo.txt -o "components/$$set.txt" || exit 1; done
	@$(LOCK) tests/airflow/requirements.in -o tests/airflow/requirements.txt
	@$(LOCK) --only-binary :all: benchmarks/requirements.in -o benchmarks/requirements.txt
	@$(LOCK) --only-binary :all: tests/mlflow/requirements.in -o tests/mlflow/requirements.txt
	@for sdk in v2 v3; do $(LOCK) --only-binary :all: "tests/clients/$$sdk.in" -o "tests/clients/$$sdk.txt" || exit 1; done
