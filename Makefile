# make run    install what is missing, then the app on http://localhost:8501
# make test   the same, and the whole test suite
#
# PYTHON=python3.12 chooses the interpreter; PORT=8080 another port.

PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
INSTALL := PYTHON="$(PYTHON)" scripts/install.sh $(VENV)
NEEDS := pyproject.toml $(wildcard scripts/*)

.PHONY: run test bench bench-ui load pictures lint lock sbom audit clean test-gpu bench-gpu

run: $(VENV)/.installed
	FORWARDED_ALLOW_IPS= $(BIN)/python -m streamlit run asgi.py --server.port $(PORT)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

# Eight browsers on one server for five minutes; LOAD="--minutes 30" for longer.
load: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.load $(LOAD)

# How fast the app feels in Chromium.
bench-ui: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.ui $(UI)

# The pictures in docs, from the running app; PICTURES=decide takes one.
pictures: $(VENV)/.installed-test
	$(BIN)/python -m scripts.pictures $(PICTURES)

lint: $(VENV)/.installed-test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

# Versions and hashes of all that pyproject.toml asks for; LOCK=--upgrade for the newest. Needs the package index.
lock: $(VENV)/.installed-release
	$(BIN)/python scripts/lock.py $(LOCK)

sbom:
	@$(PYTHON) scripts/sbom.py

# Known vulnerabilities of what is locked for the app, asked of the package index.
audit: $(VENV)/.installed-release
	$(BIN)/python scripts/requirements.py > $(VENV)/audit.txt
	$(BIN)/python -m pip_audit --disable-pip --require-hashes --requirement $(VENV)/audit.txt

# On a machine with a CUDA device; with $(PYTHON) as it is where it has torch for CUDA, without network and virtual environment.
test-gpu:
	PYTHON="$(PYTHON)" tests/gpu/python.sh -m pytest tests/gpu

bench-gpu:
	@PYTHON="$(PYTHON)" tests/gpu/python.sh -m benchmarks.gpu

clean:
	rm -rf $(VENV)

$(VENV)/.installed: $(NEEDS)
	$(INSTALL)
	@touch $@

$(VENV)/.installed-test: $(NEEDS)
	$(INSTALL) test gguf eval
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-release: $(NEEDS)
	$(INSTALL) release
	@touch $@ $(VENV)/.installed
