# Written for GNU make 3.81 and a POSIX sh. `make` alone prints what there is.

ENVIRONMENT = .venv
PY = $(ENVIRONMENT)/bin/python
MINUTES = 30
SEED =

.PHONY: help serve check lint unit test soak bench lock tools environment clean

help:
	@echo 'make serve   a registry on 127.0.0.1:5000, data in ./data   (ARGS="--listen 127.0.0.1:5010" adds flags)'
	@echo 'make check   format, lint, types and unit tests; under a minute'
	@echo 'make test    everything: check, then every test with real clients; installs those where it may'
	@echo 'make soak    the randomised tests for longer   (MINUTES=30 SEED=1)'
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
	$(PY) -m pytest -q -n 2 -m 'not e2e and not soak'

test: lint tools
	$(PY) -m pytest -n 2 --dist loadscope

soak: environment tools
	MINUTES='$(MINUTES)' SEED='$(SEED)' $(PY) -m pytest -m 'soak or other_client' -s

bench: environment tools
	$(PY) -m tests.bench

# A tool that cannot be had is no error here: the tests that need it say so, and what to type.
tools: environment
	@$(PY) -m tests.equipment.install $(if $(ONLY),--only $(ONLY)) || \
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
