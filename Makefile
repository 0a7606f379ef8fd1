# Each target does its own set-up: a virtual environment in .venv with everything it needs.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check bench clean

demo: $(STAMP)
	$(BIN)/glassbert demo --out glassbert-demo --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m bench encode --json bench-encode.json
	$(BIN)/python -m bench cost --json bench-cost.json
	$(BIN)/python -m bench train --json bench-train.json
	$(BIN)/python -m bench finetune --json bench-finetune.json
	$(BIN)/python -m bench load --json bench-load.json
	$(BIN)/python -m bench start --json bench-start.json
	$(BIN)/python -m bench tokenize --json bench-tokenize.json

# The constraints hold torch to one build for the processor; without them pip may fetch gigabytes for a GPU.
$(STAMP): pyproject.toml constraints.txt tools/build_kernels.py $(wildcard src/glassbert/native/*.[ch])
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv glassbert-demo dist build bench-*.json .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
