# make help lists the targets.
PYTHON ?= python3
SOURCE ?= uoft-cs/cifar10
OUTPUT ?= cifar10-s
FLAGS ?=
RECORDS ?= $(wildcard results/benchmark*.jsonl)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help install demo test test-all fuzz check release-check build verify push bench readme clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15
	@echo "Variables: SOURCE=$(SOURCE) OUTPUT=$(OUTPUT) FLAGS=$(FLAGS) REPO_ID=$(REPO_ID)"

install: $(READY) ## Create .venv with the pinned development set

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## Search, build, verify, load and train on the built-in sample
	$(BIN)/python examples/demo.py demo

# Two at a time; networks compute on two threads each, which are not to wait for one another at full speed.
test: $(READY) ## Run the tests but the slow ones
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(READY) ## Run all tests
	$(BIN)/python -m pytest -m ""

fuzz: $(READY) ## Look for input that breaks a reader, ten minutes each: make fuzz FLAGS="noise --seconds 60"
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	cd tests && ../$(BIN)/python -m fuzz $(FLAGS)

check: $(READY) ## Lint, format, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

release-check: test-all check ## All before a release of the package: tests, checks, and the wheel in dist/ at work by itself
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(PYTHON) -m venv dist/alone
	dist/alone/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	dist/alone/bin/cifar10-s build --source sample -c ops --name digits --output dist/alone/digits
	dist/alone/bin/cifar10-s verify dist/alone/digits
	rm -rf dist/alone

build: $(READY) ## Build the dataset: make build SOURCE=../cifar-10-python.tar.gz
	$(BIN)/python build_dataset.py --source $(SOURCE) --output $(OUTPUT) $(addprefix --records ,$(RECORDS)) $(FLAGS)

verify: $(READY) ## Check every file and image of the built dataset
	$(BIN)/cifar10-s verify $(OUTPUT) $(FLAGS)

push: $(READY) ## Verify, then upload to the Hub in one commit: make push REPO_ID=me/cifar10-s
	@test -n "$(REPO_ID)" || { echo "push: name the dataset: make push REPO_ID=<namespace>/<name>" >&2; exit 2; }
	$(BIN)/cifar10-s push $(OUTPUT) --repo-id $(REPO_ID) $(FLAGS)

bench: $(READY) ## Measure speed against yardsticks of the same run and write results/ and docs/performance.md; takes a SOURCE
	$(BIN)/python benchmarks/bench.py $(if $(filter command line environment,$(origin SOURCE)),--source $(SOURCE))
	$(BIN)/python benchmarks/readme.py

readme: $(READY) ## Write what was measured into README.md and docs/performance.md, from results/
	$(BIN)/python benchmarks/readme.py

clean: ## Remove what the other targets made, but for the built dataset
	rm -rf $(VENV) demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
