# What a clone of XTrack can do. Everything happens in .venv, build and dist, below this folder.

# The first of these that is new enough makes .venv. Another one: make PYTHON=/opt/python/bin/python3 test
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
# For pytest: make test PYTEST_ARGS='-k slots -x'
PYTEST_ARGS ?=
# make bench BENCH_ARGS='--write data growth' measures some parts and puts their tables into bench/README.md.
BENCH_ARGS ?=
# How long make fuzz goes on.
FUZZ_MINUTES ?= 10
# More workers than cores: the tests against a real systemd wait most of their time. A file stays with one worker, which
# then boots its machines once; the files in pytest's order, because the longest ones, of tests/system, come first there.
WORKERS ?= 4

VENV_PYTHON := .venv/bin/python
PYTEST := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
LOWEST := build/lowest
CODE := xtrack templates tests $(wildcard bench)

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-exhaustive test-lowest fuzz bench lint dist clean anew

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: .venv/installed ## a job on invented posts, a real timer, a digest, in a minute
	@$(VENV_PYTHON) -m xtrack.demo

test: .venv/installed-dev ## all tests; those against a real systemd are root's: sudo make test
	@$(VENV_PYTHON) $(PYTEST) $(PYTEST_ARGS)

test-slow: .venv/installed-dev ## the tests that wait for minutes; root's
	@$(VENV_PYTHON) $(PYTEST) -m slow $(PYTEST_ARGS)

test-exhaustive: .venv/installed-dev ## every step killed, a thousand jobs, random commands for long; root's
	@$(VENV_PYTHON) $(PYTEST) -m exhaustive $(PYTEST_ARGS)

fuzz: .venv/installed-dev ## the parsers on inputs that nobody thought of, for ten minutes, or FUZZ_MINUTES
	@end=$$(( $$(date +%s) + 60 * $(FUZZ_MINUTES) )); \
	while [ $$(date +%s) -lt $$end ]; do \
		$(VENV_PYTHON) $(PYTEST) --hypothesis-profile=fuzz $(PYTEST_ARGS) tests/test_*fuzz*.py || exit 1; \
	done

test-lowest: $(LOWEST)/installed ## the unit tests, with the oldest dependencies that setup.cfg allows
	@$(LOWEST)/bin/python $(PYTEST) --ignore tests/system $(PYTEST_ARGS)

bench: .venv/installed-bench ## what it costs, as a table, in half an hour; what needs a real systemd is root's
	@$(VENV_PYTHON) -m bench $(BENCH_ARGS)

lint: .venv/installed-dev ## ruff, and mypy --strict on the package as installed
	$(VENV_PYTHON) -m ruff check --config .ci/ruff.toml $(CODE)
	$(VENV_PYTHON) -m ruff format --check --config .ci/ruff.toml $(CODE)
	@rm -rf build/lib build/installed
	@$(VENV_PYTHON) $(PIP_INSTALL) --no-deps --no-build-isolation --target build/installed .
	cd build/installed && ../../$(VENV_PYTHON) -m mypy --strict --cache-dir ../../.mypy_cache --package xtrack

dist: .venv/installed-dev ## the sdist and the wheel, in dist
	@rm -rf dist && mkdir -p build
	@$(VENV_PYTHON) -m build --no-isolation >build/dist.log 2>&1 || { cat build/dist.log >&2; exit 1; }
	@ls dist/*

clean: ## remove all that make has made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -prune -exec rm -r {} +

# Anew where its interpreter is gone, after an upgrade of the system say.
.venv/pyvenv.cfg: $(shell [ -x $(VENV_PYTHON) ] || echo anew)
	@for python in $(PYTHON); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'No Python 3.11 or newer here (tried: $(PYTHON)).' >&2; \
		echo 'On Debian and Ubuntu: sudo apt install python3-venv; elsewhere: make PYTHON=/path/to/python3' >&2; \
		exit 1; \
	fi; \
	version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python ($$version) cannot make virtual environments." >&2; \
		echo "On Debian and Ubuntu: sudo apt install python$$version-venv" >&2; \
		exit 1; \
	fi; \
	echo "Making .venv with $$python ($$version) …"; \
	$$python -m venv --clear .venv

.venv/installed: setup.cfg pyproject.toml .venv/pyvenv.cfg
	@echo 'Installing XTrack into .venv …'
	@$(VENV_PYTHON) $(PIP_INSTALL) --editable .
	@touch $@

.venv/installed-dev: setup.cfg pyproject.toml .venv/pyvenv.cfg
	@echo 'Installing XTrack and what its tests need into .venv …'
	@$(VENV_PYTHON) $(PIP_INSTALL) --editable '.[dev]'
	@touch .venv/installed $@

.venv/installed-bench: setup.cfg pyproject.toml .venv/pyvenv.cfg
	@echo 'Installing XTrack and what its benchmark needs into .venv …'
	@$(VENV_PYTHON) $(PIP_INSTALL) --editable '.[bench,dev]'
	@touch .venv/installed .venv/installed-dev $@

$(LOWEST)/installed: setup.cfg pyproject.toml .venv/pyvenv.cfg
	@echo 'Installing XTrack with its oldest dependencies into $(LOWEST) …'
	@$(VENV_PYTHON) -m venv --clear $(LOWEST)
	@sed -n 's/^    \([a-z0-9-]*\)>=\([0-9.]*\)$$/\1==\2/p' setup.cfg >$(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python $(PIP_INSTALL) --constraint $(LOWEST)/constraints.txt --editable '.[dev]'
	@touch $@
