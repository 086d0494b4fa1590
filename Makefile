# make demo               a video in, an animated 3D object and a page to look at out
# make demo VIDEO=my.mp4  the same with your own clip (OUT=folder says where to)
# make test               every check: lint, format, types, tests
# make fuzz               damaged files and hostile command lines, for some minutes
#                         (CASES=2000 a reader, SEED=1; CI runs 40)
# make blender            Blender's own environment in .venv-blender, for `l4gm data render`
# make clean              remove the environment and what the demo wrote
#
# Variables: VENV, PYTHON and TORCH_INDEX as in tools/setup.sh; PYTEST_ARGS goes to pytest;
# BLENDER_PYTHON as in tools/blender.sh; BLENDER=none makes the tests do without Blender.

VENV ?= .venv
VIDEO ?= src/l4gm/assets/demo.mp4
OUT ?=
PYTEST_ARGS ?=
export VENV PYTHON TORCH_INDEX VIDEO OUT BLENDER BLENDER_PYTHON

BIN = $(VENV)/bin
SETUP_INPUTS = pyproject.toml constraints.txt tools/setup.sh

CASES ?= 2000
SEED ?= 1

.PHONY: help demo test lint fuzz blender clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -10

$(VENV)/.installed: $(SETUP_INPUTS)
	@tools/setup.sh
	@touch $@

$(VENV)/.installed-dev: $(SETUP_INPUTS)
	@tools/setup.sh dev
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed
	@name=$$(basename "$$VIDEO"); \
	$(BIN)/l4gm reconstruct "$$VIDEO" -o "$${OUT:-out/$${name%.*}}" --overwrite

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	@tools/browser.sh
	@tools/node.sh
	@tools/blender.sh if-easy
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev
	L4GM_FUZZ_CASES=$(CASES) L4GM_FUZZ_SEED=$(SEED) $(BIN)/pytest tests/fuzz \
		tests/cli/test_option_ranges.py -n 2 --timeout 0 --show-capture=no $(PYTEST_ARGS)

blender:
	@tools/blender.sh

clean:
	rm -rf $(VENV) .venv-blender .node out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
