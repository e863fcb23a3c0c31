# make lab | test | docs | clean. Needs Python >= 3.11 with pip and venv; everything stays inside this folder.
PYTHON ?= python3
BIN := .venv/bin
FIRST := nbs/00_start.ipynb

# what Jupyter, IPython, Matplotlib (and npm, which Jupyter asks about language servers) would keep in the home directory
HOMES := JUPYTER_CONFIG_DIR="$(CURDIR)/.jupyter/config" JUPYTER_DATA_DIR="$(CURDIR)/.jupyter/data" \
	IPYTHONDIR="$(CURDIR)/.jupyter/ipython" MPLCONFIGDIR="$(CURDIR)/.jupyter/matplotlib" npm_config_cache="$(CURDIR)/.jupyter/npm"

.PHONY: help lab test docs pins clean

help:
	@echo "make lab    the environment, then JupyterLab open at the first lesson"
	@echo "make test   the environment, then every lesson and every test"
	@echo "make docs   the site (needs Quarto: https://quarto.org)"
	@echo "make clean  remove what these have made, the environment included"

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.12 ..." % v[:2])'
	@echo "Making .venv with the course's environment: some minutes, about 6 GB on Linux (torch brings its CUDA libraries)."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-cache-dir --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@mkdir -p .venv/share/jupyter/lab/settings
	@echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' > .venv/share/jupyter/lab/settings/overrides.json
	@touch $@

lab: .venv/.ready
	@$(HOMES) $(BIN)/nbdev_trust
	$(HOMES) $(BIN)/jupyter-lab --LabApp.default_url=/lab/tree/$(FIRST) $(LAB_FLAGS)

# -rs says which tests were skipped and how to get them: those in a browser want Chromium (CI=true makes its absence a failure);
# two notebooks, then two files of tests at a time, one thread each: more threads than cores slow each other down a lot
test: .venv/.ready
	$(HOMES) $(BIN)/python -m pytest -q tests/test_repository.py
	$(HOMES) OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2 --do_print
	$(HOMES) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs --durations 5 -n 2 --dist loadfile --deselect tests/test_repository.py

docs: .venv/.ready
	@command -v quarto >/dev/null || { echo "make docs needs Quarto: https://quarto.org/docs/get-started"; exit 1; }
	$(BIN)/nbdev_docs --path .

# after a change of the dependencies in pyproject.toml
pins: .venv/.ready
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed --report - ".[dev]" | $(BIN)/python .ci/pins.py > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .jupyter _proc _docs build *.egg-info
