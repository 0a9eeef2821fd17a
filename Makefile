# `make demo` and `make test` need nothing but Python >= 3.11: they set up .venv on their first run and start at once on the next.
# TORCH_INDEX decides which build of PyTorch goes into .venv: the CPU one unless told otherwise, for example
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
  $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null)))
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
READY := .venv/ready
PIP = $(BIN)/pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt
FACES := tests/data/faces
SCENES := tests/data/scenes
DEMO := demo-output
RECIPE := weights/recipes/portraits-256
FACEKIT ?= facekit.npz
PHOTOS ?= photos
WORK ?= weights-work
SEED ?= 1
COUNT ?= 150000

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-kills lint fuzz bench wheel weights clean

help:
	@echo "make demo    invert, reconstruct and edit the sample pictures and photographs into $(DEMO)/"
	@echo "make test    run the tests; test-fast leaves out the slowest folders, test-photo runs those of tests/photo"
	@echo "make test-kills  kill a run 100 times (KILLS=COUNT), and see that the outputs are the same in the end"
	@echo "make lint    ruff and mypy --strict"
	@echo "make fuzz    read damaged files, a million in some hours: SEED=1, COUNT=150000 of each kind"
	@echo "make bench   time the command line and the networks: BENCH=--help says what there is (docs/performance.md)"
	@echo "make wheel   build an installable wheel into dist/"
	@echo "make weights make the embedded model anew, in hours, from FACEKIT=facekit.npz and PHOTOS=photos (see $(RECIPE)/README.md)"
	@echo "make clean   remove everything that the other targets made"

# torch comes first and alone: where its index cannot be reached, pip falls back on PyPI's build after one short attempt
# instead of one for every package.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "stedit needs Python 3.11 or later: install it, or say make PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up .venv: once, some minutes, about 250 MB to download"
	@$(PYTHON) -m venv .venv
	@$(PIP) --no-deps --extra-index-url $(TORCH_INDEX) --retries 1 --timeout 30 torch
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/stedit invert $(FACES) --output $(DEMO)/codes --overwrite
	$(BIN)/stedit reconstruct $(DEMO)/codes --output $(DEMO)/reconstructed --overwrite
	$(BIN)/stedit edit --attr smile $(DEMO)/codes --output $(DEMO)/smile --overwrite
	$(BIN)/stedit edit --ref $(FACES)/glasses.jpg --attr glasses $(DEMO)/codes --output $(DEMO)/glasses --overwrite
	$(BIN)/stedit edit --ref $(FACES)/glasses.jpg --attr glasses $(FACES)/serious.jpg --output $(DEMO)/sheet.png --sheet --overwrite
	$(BIN)/stedit sheet $(FACES) $(DEMO)/reconstructed $(DEMO)/smile $(DEMO)/glasses --output $(DEMO)/overview.png --overwrite
	$(BIN)/stedit edit --attr smile $(SCENES) --output $(DEMO)/photographs-smile --overwrite
	$(BIN)/stedit edit --attr no-beard $(SCENES) --output $(DEMO)/photographs-no-beard --overwrite
	$(BIN)/stedit edit --attr glasses $(SCENES) --output $(DEMO)/photographs-glasses --overwrite
	$(BIN)/stedit sheet $(SCENES) $(DEMO)/photographs-smile $(DEMO)/photographs-no-beard $(DEMO)/photographs-glasses \
	  --output $(DEMO)/photographs.png --overwrite
	@echo
	@echo "Photographs before, after:  $(CURDIR)/$(DEMO)/photographs.png"
	@echo "All portraits at a glance:  $(CURDIR)/$(DEMO)/overview.png"
	@echo "One edit, step by step:     $(CURDIR)/$(DEMO)/sheet.png"
	@echo "Pictures and latent codes:  $(CURDIR)/$(DEMO)/"

# one torch thread for each worker: more would fight over the cores and take three times as long
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test: $(READY)
	$(PYTEST)

test-fast: $(READY)
	$(PYTEST) --ignore tests/training --ignore tests/recipes --ignore tests/test_wheel.py --ignore tests/test_readme.py

# how often the run of tests/batch is killed; 20 times in the other targets
KILLS ?= 100

test-kills: $(READY)
	KILLS=$(KILLS) $(BIN)/pytest tests/batch/test_pipeline.py -k killed

test-%: $(READY)
	$(PYTEST) tests/$*

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --seed $(SEED) --count $(COUNT)

# such as BENCH="generator --rounds 3 --threads 1"; `make bench BENCH=--help` says what there is
BENCH ?=

bench: $(READY)
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

wheel: $(READY)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

weights: $(READY)
	@$(PIP) --editable '.[train]' numba scipy
	$(BIN)/python $(RECIPE)/build.py all --facekit $(FACEKIT) --photos $(PHOTOS) --work $(WORK)

clean:
	rm -rf .venv build dist $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find stedit tests -name __pycache__ -type d -prune -exec rm -rf {} +
