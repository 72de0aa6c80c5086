# `make quickstart` and `make test` do everything on a fresh machine with Python 3.11 or newer:
# environment, install, run.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow lint check-wheel

quickstart: .venv/quickstart-installed
	$(BIN)/python recipes/quickstart.py

# Each process takes one half of the tests in their order, because the fixtures of a file are dear,
# and of the other half what is left when it is done.
test: .venv/dev-installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: .venv/dev-installed
	$(BIN)/python -m pytest -m slow

lint: .venv/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# Needs the package index: it installs the wheel into an environment of its own.
check-wheel: .venv/dev-installed
	$(BIN)/python tests/wheel/check_wheel.py

.venv/quickstart-installed: pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	@echo "Installing TensorFlow and Keras: minutes, depending on the network."
	$(BIN)/python -m pip install --quiet --editable ".[tensorflow,train,litert]"
	touch $@

.venv/dev-installed: pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	@echo "Installing TensorFlow, JAX and the test tools: minutes, depending on the network."
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
