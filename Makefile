# Every target makes the environment that it needs. `make PYTHON=python3.12 test` uses another interpreter.
PYTHON ?= python3
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
AT_ONCE ?= -n 4
SPREAD := --dist loadscope --no-loadscope-reorder
HOURS ?=
LOCK_PYTHONS ?= python3.11 python3.12 python3.13

# Where Python may keep no bytecode, each of the hundred processes of a test run compiles the tests and the flows anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
INSTALLED := .venv/.installed
FOLDERS := core policies decision fleet turn adapters contracts blocks flows simulation standins gateway services cli demo deployments

.PHONY: demo test check docs bench bench-policies soak oldest-prefect endurance typing lock lock-environments clean environment

# One simple command, so that make starts Python itself: Ctrl-C and SIGTERM reach it, and make waits until it has ended.
demo: $(INSTALLED)
	$(BIN)/python -m ebbflow.demo $(DEMO_ARGS)

# Many tests wait for processes and servers, so four workers share them; PYTEST_ARGS="-n 0" runs them one by one.
test: $(INSTALLED)
	$(BIN)/pytest -m "not soak and not endurance" --durations=10 $(AT_ONCE) $(SPREAD) $(PYTEST_ARGS)

# Most of these live under Prefect, whose every run takes seconds of a core: more of them at once would only wait for
# each other, up to their limits. One of the three mostly waits for clocks. Exit code 5 is pytest's "no test was selected".
soak: AT_ONCE = -n 3
soak: $(INSTALLED)
	$(BIN)/pytest -m soak --durations=10 $(AT_ONCE) $(SPREAD) $(PYTEST_ARGS) || [ $$? -eq 5 ]

# Where Prefect itself does something, with the oldest one of our range; everything else here runs with the newest.
oldest-prefect: AT_ONCE = -n 2
oldest-prefect: $(INSTALLED)
	$(BIN)/python -m tests.oldest_prefect --durations=10 $(AT_ONCE) $(SPREAD) $(PYTEST_ARGS)

# The long forms of what soak does in short, and searches that draw something new as long as they have time: HOURS=8, HOURS=0.5; ten minutes by default.
endurance: $(INSTALLED)
	EBBFLOW_ENDURANCE_HOURS=$(HOURS) $(BIN)/pytest -m endurance -s $(AT_ONCE) $(SPREAD) $(PYTEST_ARGS)

# At most 25 minutes; BENCH_ARGS=--quick at most five, and says what it leaves out.
bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.run $(BENCH_ARGS)

# The league table of scaling policies in virtual time, in build/bench-policies/; BENCH_ARGS=--quick: on fewer traces,
# within ten minutes.
bench-policies: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.policies $(BENCH_ARGS)

check: $(INSTALLED) typing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests docs
	$(BIN)/lint-imports

# The site, in build/site: it needs no network to be built or read, and a link or an anchor that leads nowhere fails it.
docs: $(INSTALLED) typing
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Type checkers do not follow an editable install of a namespace; they follow these links.
typing:
	@mkdir -p .typing/ebbflow
	@for folder in $(FOLDERS); do \
	  if [ -d $$folder ]; then ln -sfn ../../$$folder .typing/ebbflow/$$folder; fi; \
	done

# Resolves the ranges of pyproject.toml anew, on the oldest Python first: what it chooses runs on the newer ones too.
# A newer Python adds only what it needs besides, with a marker.
lock:
	rm -rf build/lock && mkdir -p build/lock
	@echo "# What the ranges of pyproject.toml, with the extras dev and docs, resolve to: the versions that we test with." > build/lock/pins
	@echo "# Written by \`make lock\`: run it again to renew them, and commit the result." >> build/lock/pins
	set -e; for python in $(LOCK_PYTHONS); do \
	  $$python -m venv --clear build/lock/venv; \
	  build/lock/venv/bin/pip install --quiet --disable-pip-version-check --editable ".[dev,docs]" --constraint build/lock/pins; \
	  build/lock/venv/bin/pip freeze --all --exclude pip --exclude ebbflow > build/lock/found; \
	  marker=$$($$python -c 'import sys; print("" if sys.version_info < (3, 12) else "; python_version >= \"%d.%d\"" % sys.version_info[:2])'); \
	  sed 's/;.*//' build/lock/pins > build/lock/known; \
	  grep -vxFf build/lock/known build/lock/found | sed "s/$$/$$marker/" >> build/lock/pins || true; \
	done
	mv build/lock/pins constraints.txt
	rm -rf build/lock

# The same for the environments that tests make besides ours, from the line "# wanted:" of each list.
lock-environments: $(INSTALLED)
	rm -rf build/lock && mkdir -p build/lock
	set -e; for list in tests/environments/*.txt; do \
	  grep '^#' $$list > build/lock/pins; wanted=$$(sed -n 's/^# wanted: //p' $$list); \
	  for python in $(LOCK_PYTHONS); do \
	    $$python -m venv --clear --without-pip build/lock/venv; pip="$(BIN)/pip --python build/lock/venv/bin/python"; \
	    $$pip install --quiet --disable-pip-version-check $$wanted --constraint build/lock/pins; \
	    $$pip freeze --all > build/lock/found; \
	    marker=$$($$python -c 'import sys; print("" if sys.version_info < (3, 12) else "; python_version >= \"%d.%d\"" % sys.version_info[:2])'); \
	    sed 's/;.*//' build/lock/pins > build/lock/known; \
	    grep -vxFf build/lock/known build/lock/found | sed "s/$$/$$marker/" >> build/lock/pins || true; \
	  done; \
	  mv build/lock/pins $$list; \
	done
	rm -rf build/lock

clean:
	rm -rf .venv .typing .demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) was not found: Ebbflow needs Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Ebbflow needs Python 3.11 or newer, $(PYTHON) is %s; try: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev,docs]" --constraint constraints.txt
	@# pip compiles what it copies, not what it links; every turn of a fleet is a new process.
	$(BIN)/python -m compileall -q $(wildcard $(FOLDERS))
	@touch $@
