# Two commands do everything from nothing: `make demo` and `make test`.
VENV := .venv
BIN := $(VENV)/bin
# The first Python that transformers 5 accepts.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
# Tests wait for pages, jobs and processes half of their time, so that three keep two cores busy; each takes up to 3 GB of memory.
WORKERS ?= 3
# Those of make soak compute all the time; each says at once what came of it, for together they take an hour.
SOAKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test soak bench screenshots checkpoints clean

demo: $(VENV)/.ready  ## set everything up and serve the demo
	$(BIN)/python app.py

test: $(VENV)/.ready-dev  ## set everything up and run the tests, a file in one of the workers
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

soak: $(VENV)/.ready-dev  ## the tests that take longer: kill tests, loads, whole loops, every variant
	@figures=$$(mktemp) && export SOAK_FIGURES=$$figures && code=0; \
	$(BIN)/python -m pytest -q -m "soak and alone" --timeout=3600 -ra || { \
		echo "What failed is measured once more: the seconds of others who use this machine are not the project's. That counts."; \
		$(BIN)/python -m pytest -q -m "soak and alone" --timeout=3600 -ra --last-failed --last-failed-no-failures none || code=1; }; \
	$(BIN)/python -m pytest -v -m "soak and not alone" -n $(SOAKERS) --dist loadfile --timeout=3600 -ra --durations=20 || code=1; \
	echo "What was measured, and how long it took:"; cat $$figures; rm -f $$figures; exit $$code

bench: $(VENV)/.ready-dev  ## measure against peers
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.ready-dev  ## the pictures of the README
	$(BIN)/python scripts/screenshots.py

checkpoints: $(VENV)/.ready  ## train the bundled checkpoints again
	sh scripts/train_bundled.sh

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, but none was found. Install one, or run: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.txt requirements-train.txt | $(BIN)/python
	$(PIP) -r requirements-train.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt requirements-onnx.txt $(VENV)/.ready
	$(PIP) -r requirements-dev.txt
	@touch $@
