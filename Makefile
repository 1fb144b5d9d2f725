# Two commands do everything on a machine with Python 3.11 to 3.13 and make:
#   make demo    install into .venv, start the app on the bundled weights, print its address
#   make test    install into .venv, lint, type-check and run every test

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	>/dev/null 2>&1; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test check stress oldest backends format screenshots bench clean help

help:
	@sed -n '2,3s/^#   //p' Makefile

demo: $(VENV)/.app
	$(BIN)/python app.py $(ARGS)

test: check
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m train compare --check
	$(BIN)/python -m train card --check

# The app under attack and under load, some minutes; its short form is among the tests.
stress: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tests/stress.py $(ARGS)
	PYTHONPATH=. $(BIN)/python tests/soak.py

# The bundled models in the oldest Keras that holds their layers, in an environment of its own.
oldest: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tests/oldest_keras.py

# Training on JAX, on two virtual devices too, beside TensorFlow, in an environment of its own.
backends: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tests/backends.py $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The README's pictures, from the app on the bundled weights; needs a Chromium.
screenshots: $(VENV)/.dev
	$(BIN)/python tests/screenshots.py

# How long everything takes beside the arithmetic in it, into docs/bench.md; on an idle machine.
bench: $(VENV)/.dev
	$(BIN)/python -m tools.bench $(ARGS)

clean:
	rm -rf $(VENV) .venv-oldest .venv-backends artefacts .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
	echo "Python 3.11, 3.12 or 3.13 with venv is needed"; \
	echo "(on Debian: apt install python3 python3-venv);"; \
	echo "or name one: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# The stamps make a second call instant; a changed list of packages installs again.
$(VENV)/.app: requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into $(VENV); the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet --progress-bar on -r requirements.txt
	@touch $@

$(VENV)/.dev: pyproject.toml requirements.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --progress-bar on -e ".[app,mcp,train,export,parquet,ray,dev]"
	@touch $@
