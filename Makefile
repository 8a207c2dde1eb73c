# Two commands for a new machine: `make demo` and `make test`. Each sets up what it needs, once. Needs Python 3.11 or later.
PYTHON ?= $(shell sh scripts/interpreter.sh)
BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
VIEW := .cache/typing/driftline
MEASURE := PYTHONPATH=scripts $(BIN)/python
CODE := schemas sinks src streams tests scripts examples benchmarks

.PHONY: help demo test check bench bench-peers bench-profile bench-scale bench-quality parity soak fuzz kafka clean
help:
	@echo "make demo    watch driftline find drift, here, now: nothing to configure"
	@echo "make test    every test; those that need real Kafka start one (Java 17 and Maven)"
	@echo "make check   style, types, import rules, the compose file"
	@echo "make bench   how fast it is on this machine; bench-peers: beside four other libraries, bench-profile, bench-scale"
	@echo "make bench-quality  how well it judges, beside other libraries: writes docs/quality (an hour)"
	@echo "make parity  our detectors at the alarms of river's and frouros', on new streams: SEED=1"
	@echo "make soak    simulate all that can go wrong, then kill workers on real Kafka: STEPS=100000 ROUNDS=20 SEED=1"
	@echo "make fuzz    look for input that the decoders mishandle: SECONDS=60"
	@echo "make kafka   a real Kafka on localhost:9092, in the foreground"
	@echo "make clean   remove everything that these commands made"

demo: .venv/.demo
	@$(BIN)/driftline demo

test: .venv/.dev
	@[ -d .cache/kafka/libs ] || echo "· fetching Apache Kafka's jars into .cache/kafka (54 MB, once)"
	@$(BIN)/python scripts/kafka_node.py fetch || true
	$(BIN)/pytest --numprocesses=auto --dist=loadfile

check: .venv/.dev $(VIEW)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(VIEW) tests scripts examples benchmarks
	PYTHONPATH=.cache/typing $(BIN)/lint-imports --no-cache
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

# Each writes to benchmarks/results; ARGS= as `make bench ARGS=--help` says. Half an hour and more: ARGS=--quick shows that it works.
bench: .venv/.bench
	@$(MEASURE) benchmarks/monitor.py $(ARGS)

bench-peers: .venv/.bench
	@$(MEASURE) benchmarks/monitor.py --peers $(ARGS)

bench-profile: .venv/.bench
	@$(MEASURE) benchmarks/stages.py $(ARGS)

# EVENTS= of the long run, for instance 100000000.
bench-scale: .venv/.bench
	@$(MEASURE) benchmarks/scale.py $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

# Answers of the libraries are kept in .cache/quality: what was interrupted goes on where it was.
bench-quality: .venv/.dev
	@$(INSTALL) --editable '.[quality]'
	$(BIN)/python benchmarks/quality/drift.py
	$(BIN)/python benchmarks/quality/detectors.py $(ARGS)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/quality/estimates.py

# Each library in an environment of its own, made the first time.
parity: .venv/.dev
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/parity/live.py $(if $(SEED),--seed $(SEED))

# STEPS= of the simulation, ROUNDS= on Kafka, and SEED= as you like; the seed is printed.
soak: .venv/.dev
	$(BIN)/python scripts/simulate.py --steps $(or $(STEPS),100000) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python scripts/kafka_node.py fetch
	$(BIN)/python scripts/soak.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

fuzz: .venv/.dev
	@$(INSTALL) --editable '.[fuzz]'
	@mkdir -p .cache/fuzz
	$(BIN)/python scripts/fuzz.py .cache/fuzz/corpus -max_total_time=$(or $(SECONDS),60) -artifact_prefix=.cache/fuzz/

kafka: .venv/.dev
	$(BIN)/python scripts/kafka_node.py run

clean:
	rm -rf .venv .cache build driftline.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The packages are those of constraints.txt. To renew it:
#   uv pip compile pyproject.toml --extra bench --universal --python-version 3.11 --no-header --no-annotate --upgrade -o constraints.txt
.venv/.demo: pyproject.toml constraints.txt | .venv/bin/uv
	@echo "· installing driftline with the embedded ClickHouse (about 600 MB, once)"
	@$(INSTALL) --editable '.[embedded]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/uv
	@echo "· installing driftline with everything its tests need (about 900 MB, once)"
	@$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/.demo

.venv/.bench: .venv/.dev
	@$(INSTALL) --editable '.[bench]'
	@$(BIN)/python scripts/kafka_node.py fetch
	@touch $@

.venv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 …")'
	@echo "· making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

# Type checkers and import-linter cannot follow the folder map of pyproject.toml: they see the package through this view of links.
.PHONY: $(VIEW)
$(VIEW):
	@rm -rf $@ && mkdir -p $@ && ln -s $(CURDIR)/src/driftline/* $(CURDIR)/schemas $(CURDIR)/sinks $(CURDIR)/streams $@/
