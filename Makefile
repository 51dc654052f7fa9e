# Written for GNU make 3.81 and a POSIX sh. `make` alone prints what there is.

ENVIRONMENT = .venv
PY = $(ENVIRONMENT)/bin/python
MINUTES = 30
SEED =

# Else each of the thousand servers and commands that the tests start would compile all of the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help serve check lint unit test soak pythons bench lock tools tools-soak environment clean

help:
	@echo 'make serve   a registry on 127.0.0.1:5000, data in ./data   (ARGS="--listen 127.0.0.1:5010" adds flags)'
	@echo 'make check   format, lint, types and unit tests; under a minute'
	@echo 'make test    everything: check, then every test with real clients; installs those where it may'
	@echo 'make soak    the randomised tests for longer, and all clients on buckets   (MINUTES=30 SEED=1)'
	@echo 'make pythons the unit tests under every other Python 3.11 to 3.14 that is here; make soak begins with it'
	@echo 'make bench   measure beside CNCF Distribution and write BENCHMARKS.md'
	@echo 'make tools   install the clients and servers that the tests drive   (ONLY="crane oras": just these)'
	@echo 'make lock    resolve the dependencies anew into requirements/   (needs uv)'
	@echo 'make clean   remove what the targets above made, except ./data'
	@echo 'PYTHON=/path/to/python3 chooses the Python (3.11 to 3.14) that the environment is made with.'

serve: $(ENVIRONMENT)/runtime.made
	@PYTHON='$(PY)' sh scripts/serve.sh $(ARGS)

check: lint unit

lint: environment
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

unit: environment
	$(PY) -m pytest -q -n 2 -m 'not e2e and not soak and not exhaustive' --ignore tests/e2e --ignore tests/api

test: lint tools
	$(PY) -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m 'not long_build and not other_client'

soak: environment tools-soak pythons
	MINUTES='$(MINUTES)' SEED='$(SEED)' $(PY) -m pytest -m 'soak or other_client or long_build' -s
	MINUTES='$(MINUTES)' $(PY) -m pytest -n 2 tests/core/test_undo_races.py
	MOORAGE_TEST_REGISTRY=s3 $(PY) -m pytest -m any_registry tests/e2e
	MOORAGE_TEST_REGISTRY=s3-redirect $(PY) -m pytest -m any_registry tests/e2e
	MOORAGE_TEST_ENGINE=minio $(PY) -m pytest -m any_engine tests/e2e

pythons: environment
	$(PY) -m tests.pythons

bench: environment tools
	$(PY) -m tests.bench

# A tool that cannot be had is no error here: the tests that need it say so, and what to type.
tools: environment
	@$(PY) -m tests.equipment.install $(if $(ONLY),--only $(ONLY)) || \
	    echo 'equipment: not everything could be had; the tests that miss something say so at the end' >&2

tools-soak: environment
	@$(PY) -m tests.equipment.install --soak || \
	    echo 'equipment: not everything could be had; the tests that miss something say so at the end' >&2

lock: environment
	$(PY) scripts/lock.py

environment: $(ENVIRONMENT)/dev.made

# The developers' set contains the run-time set, so having it is having both.
$(ENVIRONMENT)/dev.made: requirements/dev.txt scripts/environment.sh scripts/command.py
	@echo 'making $(ENVIRONMENT) from requirements/dev.txt'
	@PYTHON='$(PYTHON)' sh scripts/environment.sh $(ENVIRONMENT) requirements/dev.txt
	@$(PY) scripts/command.py
	@touch $@ $(ENVIRONMENT)/runtime.made

$(ENVIRONMENT)/runtime.made: requirements/runtime.txt scripts/environment.sh scripts/command.py
	@echo 'making $(ENVIRONMENT) from requirements/runtime.txt'
	@PYTHON='$(PYTHON)' sh scripts/environment.sh $(ENVIRONMENT) requirements/runtime.txt
	@$(PY) scripts/command.py
	@touch $@

clean:
	rm -rf $(ENVIRONMENT) build dist results .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find registry storage tests scripts -name __pycache__ -prune -exec rm -rf {} +
