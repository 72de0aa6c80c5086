# `make quickstart` and `make test` do everything on a fresh machine with Python 3.11 or newer:
# environment, install, run.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow test-backend lint docs notebooks check-wheel

quickstart: .venv/quickstart-installed
	$(BIN)/python recipes/quickstart.py

# Each process takes one half of the tests in their order, because the fixtures of a file are dear,
# and of the other half what is left when it is done.
test: .venv/dev-installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: .venv/dev-installed
	$(BIN)/python -m pytest -m slow

# On another backend: make test-backend BACKEND=torch. XLA optimises little here, because it
# compiles a test for longer than the test runs.
BACKEND ?= jax
test-backend: .venv/dev-installed
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true" \
	$(BIN)/python -m pytest -n 2 --dist worksteal $(BACKEND_TESTS)
BACKEND_TESTS ?= tests/layers tests/training/test_data_on_device.py

lint: .venv/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# The site, in site/. Open site/index.html: it needs no server and no network.
docs: .venv/docs-installed
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/properdocs build --strict --config-file mkdocs.yml
	$(BIN)/python tests/site/check_site.py site

# Runs the notebooks and keeps their outputs in them.
notebooks: .venv/dev-installed
	$(BIN)/python tests/test_notebook.py

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

# Beside what the tests need, because the API reference is made of the imported library.
.venv/docs-installed: .venv/dev-installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@
