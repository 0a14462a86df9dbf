# What a contributor runs. Everything sets itself up; nothing but Python, g++ and make is needed.

VENV ?= .venv
# The first Python in the supported range.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python3.10 python3.9; do \
	$$p -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST_ARGS ?=
INSIST ?=
SECONDS ?= 60
RELEASES ?= 2.15.1
ATLAS = envlock/atlas/data/tensorflow.atlas

BIN = $(VENV)/bin
READY = $(VENV)/.envlock-ready
CHECKED = envlock tests tools examples benchmarks

.PHONY: help demo test test-quick lint truth bench conformance atlas atlas-check scoreboard survival corruptions loaders fuzz pythons clean

help:
	@echo "make demo         envlock on a real TensorFlow op, from nothing, step by step"
	@echo "make test-quick   the tests of single modules: no TensorFlow, no network, about a minute"
	@echo "make test         the whole test suite, TensorFlow included"
	@echo "make lint         ruff, formatting, mypy"
	@echo "make truth        every recorded load of a published plugin against the prediction"
	@echo "make conformance  our own ops on every TensorFlow release, each load tried for real"
	@echo "make atlas        the shipped atlas again, from the public wheels (hours)"
	@echo "make atlas-check  one release of it again, compared: RELEASES=2.15.1"
	@echo "make scoreboard   what the verdict catches and wrongly refuses (docs/scoreboard.md)"
	@echo "make survival     which tools keep the stamp (docs/survival.md)"
	@echo "make corruptions  what envlock says of damaged plugins (docs/corruptions.md)"
	@echo "make loaders      other C libraries: their dlopen beside the prediction (docs/loaders.md)"
	@echo "make fuzz         every reader, SECONDS=60 each"
	@echo "make pythons      types and the gate on every Python from 3.9 to 3.14 found here"
	@echo "make bench        the figures, side by side"

demo: | python
	$(PYTHON) examples/demo.py

test: $(READY)
	$(BIN)/python -m tests.support.environments --for-tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

test-quick: $(READY)
	$(BIN)/python -m pytest tests/unit -n $(JOBS) --dist loadgroup -m "not tensorflow and not slow" $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check $(wildcard $(CHECKED))
	$(BIN)/ruff format --check $(wildcard $(CHECKED))
	$(BIN)/mypy envlock tests/support tests/campaigns/conformance tests/campaigns/truth tests/campaigns/scoreboard tests/campaigns/survival tests/campaigns/loaders tools examples

truth: $(READY)
	$(BIN)/python -m tests.campaigns.truth.run

conformance: $(READY)
	$(BIN)/python -m tests.campaigns.conformance.run

atlas: $(READY)
	$(BIN)/python -m tools.atlas --parts build/atlas -o $(ATLAS)

atlas-check: $(READY)
	$(BIN)/python -m tools.atlas --releases $(RELEASES) --distributions tensorflow-cpu \
	--verify $(ATLAS)

scoreboard: $(READY)
	$(BIN)/python -m tests.campaigns.scoreboard.run

survival: $(READY)
	$(BIN)/python -m tests.campaigns.survival.run

corruptions: $(READY)
	$(BIN)/python -m tests.campaigns.corruptions.run

loaders: $(READY)
	$(BIN)/python -m tests.campaigns.loaders.run

fuzz: $(READY)
	$(BIN)/python -m tests.campaigns.fuzz.run --seconds $(SECONDS)

pythons: $(READY)
	$(BIN)/python -m tests.support.pythons --insist "$(INSIST)"

bench: $(READY)
	@for file in $$(grep -l '^def main' benchmarks/*.py); do \
	name=$$(basename $$file .py); echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "no Python from 3.9 to 3.14 found; name one: make PYTHON=..." >&2; exit 1; }

# The virtual environment is made with what Python brings, and filled by uv, which comes with it.
$(READY): pyproject.toml | python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	echo "this Python lacks venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group dev
	@touch $@
