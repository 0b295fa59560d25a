# make run     a demonstration: lab nodes with real packets, a collector's planning page; Ctrl-C ends it
# make test    format, lint, types, and every test, against the built wheel
# make test-system  Debian 12's kernel in QEMU, its systemd in a container, real VPN servers, real
#              engines, Chromium; as root
# make deb     the packages trafficd and trafficd-collector for Debian 12, in this directory
# make bench   the numbers that the README quotes
# make lock    write requirements/*.txt anew, with hashes
# make clean   take the environment away

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A terminal sees what pip does meanwhile.
QUIET := $(shell test -t 2 || echo --quiet)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
SOURCES := pyproject.toml README.md $(shell find trafficd -name '*.py')

.PHONY: run test test-system deb bench lock clean

run: $(VENV)/demo.done
	@$(BIN)/trafficd demo

test: $(VENV)/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	$(PIP) install $(QUIET) --no-deps --force-reinstall dist/*.whl
	$(BIN)/pytest

test-system: $(VENV)/dev.done
	$(BIN)/pytest tests/system

deb:
	@packaging/build-deb

bench: $(VENV)/dev.done
	$(BIN)/python bench/run.py

lock: $(VENV)/dev.done
	cd requirements && ./lock

clean:
	rm -rf $(VENV) dist build trafficd.egg-info trafficd*_*.deb

# One line says what is missing, since only a package manager can bring it.
$(VENV)/made.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "trafficd needs Python 3.11 or newer; on Debian: apt install python3, or make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "python3-venv is missing; on Debian: apt install python3-venv"; exit 1; }
	@echo "making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.done: requirements/demo.txt requirements/build.txt $(SOURCES) | $(VENV)/made.done
	@echo "installing trafficd and what it needs"
	@$(PIP) install $(QUIET) --require-hashes -r requirements/demo.txt -r requirements/build.txt
	@$(PIP) install $(QUIET) --no-deps --no-build-isolation .
	@touch $@

$(VENV)/dev.done: requirements/dev.txt | $(VENV)/made.done
	@echo "installing the tools of the tests"
	@$(PIP) install $(QUIET) --require-hashes -r requirements/dev.txt
	@touch $@
