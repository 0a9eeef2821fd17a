# `make demo` and `make test` need nothing but Python >= 3.11: they set up .venv on their first run and start at once on the next.
# TORCH_INDEX decides which build of PyTorch goes into .venv: the CPU one unless told otherwise, for example
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
  $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null)))
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
READY := .venv/ready
FACES := tests/data/faces
DEMO := demo-output

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench wheel clean

help:
	@echo "make demo    invert, reconstruct and edit the sample pictures into $(DEMO)/"
	@echo "make test    run the tests"
	@echo "make lint    ruff and mypy --strict"
	@echo "make bench   time the command line and the networks"
	@echo "make wheel   build an installable wheel into dist/"
	@echo "make clean   remove everything that the other targets made"

# torch comes first and alone: where its index cannot be reached, pip falls back on PyPI's build after one short attempt
# instead of one for every package.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "stedit needs Python 3.11 or later: install it, or name it with make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt --extra-index-url $(TORCH_INDEX) --retries 1 --timeout 30 torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/stedit invert $(FACES) --output $(DEMO)/codes --overwrite
	$(BIN)/stedit reconstruct $(FACES) --output $(DEMO)/reconstruct --sheet --overwrite
	$(BIN)/stedit edit --attr smile $(FACES) --output $(DEMO)/smile --sheet --overwrite
	$(BIN)/stedit edit --ref $(FACES)/glasses.jpg --attr glasses $(FACES) --output $(DEMO)/glasses --sheet --overwrite
	@echo
	@echo "Pictures: $(CURDIR)/$(DEMO)"

test: $(READY)
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python tests/bench.py

wheel: $(READY)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf .venv build dist $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find stedit tests -name __pycache__ -type d -prune -exec rm -rf {} +
