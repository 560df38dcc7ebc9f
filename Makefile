# Two promises: `make reproduce` and `make test`, on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
# A file of tests or a notebook to each core, in the order given: two single threads get more done
# than one with two.
WORKERS = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15
# From the last, which take longest. 00 and 01 are left to tests/test_notebooks.py.
NOTEBOOKS = $(shell ls -r notebooks/*.ipynb | grep -v '/0[01]_')
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "$(PYTHON) is missing or older than Python 3.11: install 3.11+ and name it, e.g. make PYTHON=python3.11" >&2; exit 1; }

.PHONY: help reproduce reproduce-all test campaign site bench lab lint lock clean-runs

help:
	@echo "make reproduce   run the notebooks of the tour in order: figures/ and the results table"
	@echo "make reproduce-all  the same, with the extensions (06 and on)"
	@echo "make test        lint, unit tests, and every notebook in the smoke profile"
	@echo "make campaign    hostile inputs, kills, full disks: writes docs/robustness.md (minutes; not part of make test)"
	@echo "make site        the static site with the explorer in front: build/site"
	@echo "make bench       time per step against the kept ratios (minutes; not part of make test)"
	@echo "make lab         open the notebooks in JupyterLab"
	@echo "make lint        ruff only"
	@echo "make lock        resolve pyproject.toml again: requirements.lock and what follows from it"
	@echo "make clean-runs  forget cached runs"

reproduce: $(VENV)/.installed
	$(PY) -m companion reproduce

reproduce-all: $(VENV)/.installed
	$(PY) -m companion reproduce --all

test: lint $(VENV)/.site
	OMP_NUM_THREADS=1 $(PY) -m pytest $(WORKERS)
	OMP_NUM_THREADS=1 AEF_PROFILE=smoke $(PY) -m pytest $(WORKERS) --nbval-lax --nbval-current-env $(NOTEBOOKS)

campaign: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(PY) -m tests.campaign --write

# AEF_REPOSITORY=https://github.com/OWNER/NAME adds launch buttons; SITE="--faces 12"
# changes what the explorer shows. Its runs are made once; --profile smoke is for a look.
site: $(VENV)/.installed $(VENV)/.site
	$(PY) -m companion explorer --out build/site/explorer.html $(SITE)
	$(PY) -m sphinx -W --keep-going -q -b html -c docs . build/site
	@echo "build/site/index.html"

$(VENV)/.site: $(VENV)/.installed docs/requirements.txt
	@$(PY) $(PIP_INSTALL) -r docs/requirements.txt
	@touch $@

bench: $(VENV)/.installed
	$(PY) -m companion bench --check

lab: $(VENV)/.installed
	$(PY) -m jupyterlab notebooks

lint: $(VENV)/.installed
	$(PY) -m ruff check .

clean-runs:
	rm -rf runs

# The environment: made once, made again when the lock or the package's metadata change.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(NEW_ENOUGH)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements.lock into $(VENV) (5 GB on Linux with the CUDA libraries; minutes, once)"
	@$(PY) $(PIP_INSTALL) -r requirements.lock
	@$(PY) $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# The lock: resolve the ranges of pyproject.toml in a fresh environment and write down what came out.
# Run it on Linux: only there does torch bring the CUDA packages, which the marker keeps off macOS.
LOCK = $(VENV)-lock
DIRECT = import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	print(*p["build-system"]["requires"], *p["project"]["dependencies"], sep="\n")
EXTRA = import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	print(*p["project"]["optional-dependencies"]["site"], sep="\n")

lock:
	@$(NEW_ENOUGH)
	@echo "resolving pyproject.toml in $(LOCK)"
	@rm -rf $(LOCK) && $(PYTHON) -m venv $(LOCK)
	@$(LOCK)/bin/python -c '$(DIRECT)' > $(LOCK)/direct.txt
	@$(LOCK)/bin/python $(PIP_INSTALL) -r $(LOCK)/direct.txt
	@{ echo "# Every package, pinned: what pip resolved from pyproject.toml on Linux with Python 3.11."; \
	   echo "# Made by \`make lock\`; do not edit by hand."; \
	   $(LOCK)/bin/python -m pip freeze --all --exclude pip \
	   | sed -E 's/^((cuda|nvidia|triton)[^ ]*)$$/\1 ; sys_platform == "linux"/'; } > $(LOCK)/requirements.lock
	@awk 'NR == FNR { split($$1, p, "=="); pin[p[1]] = $$1; next } \
	      /==/ { split($$2, p, "=="); $$0 = "      - " pin[p[1]] } { print }' \
	      $(LOCK)/requirements.lock environment.yml > $(LOCK)/environment.yml
	@{ echo "# The lock without PyTorch and CUDA, for machines that bring a PyTorch: Binder, Colab."; \
	   echo "# Made by \`make lock\`; do not edit by hand."; \
	   grep -vE '^(#|torch=|torchvision=|cuda|nvidia|triton)' $(LOCK)/requirements.lock; \
	   } > .binder/requirements-cpu.txt
	@mv $(LOCK)/requirements.lock $(LOCK)/environment.yml .
	@$(LOCK)/bin/python -m pip freeze --exclude pip > $(LOCK)/before.txt
	@$(LOCK)/bin/python -c '$(EXTRA)' > $(LOCK)/site.txt
	@$(LOCK)/bin/python $(PIP_INSTALL) -c $(LOCK)/before.txt -r $(LOCK)/site.txt
	@{ echo "# What the site needs on top of requirements.lock, pinned. Made by \`make lock\`."; \
	   $(LOCK)/bin/python -m pip freeze --exclude pip | grep -vxFf $(LOCK)/before.txt; \
	   } > docs/requirements.txt && rm -rf $(LOCK)
