# Run `make help` to list the targets.
PYTHON ?= python3
SOURCE ?= uoft-cs/cifar10
OUTPUT ?= cifar10-s
FLAGS ?=
CLONES ?=
IMAGES ?= cifar10-jpeg.npz
RECORDS ?= $(wildcard results/benchmark*.jsonl)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev
# Files are compiled when they are first imported, not all at once.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
OLDEST := .venv-oldest
# The oldest supported, 2.11.0, is on PyPI with CUDA only; .github/workflows/ci.yml takes it without.
TORCH ?= 2.13.0

.PHONY: help install demo test test-quick test-all test-oldest fuzz check release-check build verify push speed peers \
	gpu-day readme house docs clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15
	@echo "Variables: SOURCE=$(SOURCE) OUTPUT=$(OUTPUT) FLAGS=$(FLAGS) REPO_ID=$(REPO_ID)"

install: $(DEV) ## Create .venv with the pinned development set

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[report]'
	@touch $@

$(DEV): $(READY)
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## Search, build, verify, load, train and report on the built-in sample
	$(BIN)/python examples/demo.py demo

# Two processes, in which networks use two threads each: waiting threads must not spin.
test: $(DEV) ## Run all tests except the slow ones
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist worksteal

test-quick: $(DEV) ## Run what neither builds nor trains nor starts a process: two of three tests, in about a minute
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not work"

# What starts Ray or kills at a measured moment has the machine for itself.
test-all: $(DEV) ## Run all tests
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -m alone

test-oldest: $(OLDEST)/.ready ## Run the tests with the oldest supported version of each dependency, in .venv-oldest
	OMP_WAIT_POLICY=passive $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal $(FLAGS)

$(OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	sed 's/^torch==.*/torch==$(TORCH)/' constraints-oldest.txt > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python $(INSTALL) -c $(OLDEST)/constraints.txt -e '.[dev]'
	@touch $@

fuzz: $(DEV) ## Look for input that breaks a reader, ten minutes per reader: make fuzz FLAGS="noise --seconds 60"
	-$(BIN)/python $(INSTALL) -c constraints.txt -e '.[fuzz]'
	cd tests && ../$(BIN)/python -m fuzz $(FLAGS)

check: $(DEV) ## Check lint, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_architecture.py

release-check: test-all check docs ## Check a release of the package: all tests, all checks, and the installed wheel; writes dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(PYTHON) -m venv dist/alone
	dist/alone/bin/python $(INSTALL) -c constraints.txt dist/*.whl
	dist/alone/bin/cifar10-s build --source sample -c ops --name digits --output dist/alone/digits
	dist/alone/bin/cifar10-s verify dist/alone/digits
	rm -rf dist/alone

build: $(READY) ## Build the dataset: make build SOURCE=../cifar-10-python.tar.gz
	$(BIN)/python build_dataset.py --source "$(SOURCE)" --output "$(OUTPUT)" $(addprefix --records ,$(RECORDS)) $(FLAGS)

verify: $(READY) ## Check every file and image of the built dataset
	$(BIN)/cifar10-s verify "$(OUTPUT)" $(FLAGS)

push: $(READY) ## Verify, then upload to the Hub in one commit: make push REPO_ID=me/cifar10-s
	@test -n "$(REPO_ID)" || { echo "push: name the dataset: make push REPO_ID=<namespace>/<name>" >&2; exit 2; }
	$(BIN)/cifar10-s push "$(OUTPUT)" --repo-id $(REPO_ID) $(FLAGS)

speed: $(DEV) ## Measure speed against baselines of the same run; writes results/ and docs/performance.md; takes a SOURCE
	$(BIN)/python -m speed $(if $(filter command line environment,$(origin SOURCE)),--source "$(SOURCE)")
	$(BIN)/python -m speed.readme

peers: $(READY) ## Time other programs that you have cloned beside this one: make peers CLONES="folder folder"
	$(BIN)/python -m speed.peers $(CLONES) $(if $(filter command line environment,$(origin SOURCE)),--source "$(SOURCE)")

gpu-day: ## Measure what only a GPU can tell, without .venv: make gpu-day OUT=gpu-day IMAGES=cifar10-jpeg.npz FLAGS="--steps a,b"
	@test -n "$(OUT)" || { echo "gpu-day: name a folder for the results: make gpu-day OUT=gpu-day" >&2; exit 2; }
	$(PYTHON) -m speed.gpu_day --images $(IMAGES) --out $(OUT) $(FLAGS)

readme: $(READY) ## Write the tables of README.md, docs/results.md and docs/performance.md from results/
	$(BIN)/python -m speed.readme

house: $(DEV) ## Draw docs/house.svg, the picture of the rooms, from the imports
	$(BIN)/python docs/house.py

docs: $(READY) ## Build the site of the documentation into site/; executes the tutorials; a dead link fails
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## Remove what the other targets made, except the built dataset
	rm -rf $(VENV) $(OLDEST) demo dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
