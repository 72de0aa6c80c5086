# `make quickstart` and `make test` do everything on a fresh machine: environment, install, run.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow lint

quickstart: .venv/quickstart-installed
	$(BIN)/python recipes/quickstart.py

# By file, because the fixtures of a file are dear, and in their order: xdist would leave the files
# with few and long tests to the end, where one process waits for the other.
test: .venv/dev-installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/dev-installed
	$(BIN)/python -m pytest -m slow

lint: .venv/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/quickstart-installed: requirements.txt setup.py
	$(PYTHON) -m venv .venv
	@echo "Installing TensorFlow and Keras: minutes, depending on the network."
	$(BIN)/python -m pip install --quiet --editable ".[litert]"
	touch $@

.venv/dev-installed: requirements.txt setup.py
	$(PYTHON) -m venv .venv
	@echo "Installing TensorFlow, JAX and the test tools: minutes, depending on the network."
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
