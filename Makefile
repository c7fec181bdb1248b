# make demo   set up, then simulate, verify and open a gallery of worlds
# make test   set up, then lint, check types and run the whole test suite
# make bench  run the benchmarks, but for those of an hour in benchmarks/long;  make docs  write their output into the docs
# The environment lives in .venv and is made once; a second call starts at once.

PYTHON ?= python3
# Any build of torch will do; on a CUDA machine set TORCH to the wheel that fits it.
TORCH ?= torch==2.13.0
BIN := .venv/bin
READY := .venv/.ready
OUT ?= demo
# Tests run in so many processes of one thread each.
JOBS ?= 2

.PHONY: demo test lint bench docs lock clean

demo: $(READY)
	$(BIN)/phys4d demo --out $(OUT)

test: $(READY) lint
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

docs: $(READY)
	$(BIN)/python docs/generate.py

# torch goes first: any other order pulls gigabytes of CUDA packages on a machine without a GPU.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "phys4d needs Python 3.11 or later; set PYTHON, e.g. make PYTHON=python3.12 demo"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Needs uv. Resolves every extra, with hashes, for all platforms.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--no-strip-extras --no-emit-package torch --extra view --extra dev \
		--custom-compile-command "make lock" -o requirements.lock pyproject.toml

clean:
	rm -rf .venv $(OUT)
