# `make` sets everything up and runs the default study; `make help` lists the targets.
PYTHON ?= python3
CORES ?= all
CONFIG ?= config/default.yaml
BIN := .venv/bin

.DEFAULT_GOAL := run
.PHONY: run setup test test-fast check check-losses check-protocols speed speed-losses speed-protocols coverage \
	format mlflow report gallery docs docs-config docs-losses docs-speed clean help

run: setup ## set up, run the study of CONFIG (default: config/default.yaml), print the report's path
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)
	@$(BIN)/python -m benchmarks where --config $(CONFIG)

setup: .venv/installed ## make .venv from requirements.txt

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

test: setup ## the whole test suite (and style, types, lint)
	$(MAKE) check
	$(BIN)/python -m pytest

test-fast: setup ## the quick tests only
	$(BIN)/python -m pytest -m "not slow"

check: setup ## style, types and lint, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy losses datasets benchmarks reports
	$(BIN)/snakefmt --check Snakefile common.smk
	$(BIN)/snakemake --lint

format: setup ## bring the code into style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile common.smk

check-losses: setup ## every loss against independent vectors, hard cases, stack, state: a table
	$(BIN)/python -m tests.losses.check

check-protocols: setup ## every protocol against independent vectors and peers, time and memory: tables
	$(BIN)/python -m tests.benchmarks.protocols.check

speed: setup ## this suite beside the usual way, at equal quality: docs/speed.md with its tables and figure
	$(BIN)/python -m benchmarks.speed --out reports/published
	$(MAKE) docs-speed

speed-losses: setup ## time of every loss beside its floor and pytorch-metric-learning: a table
	$(BIN)/python -m benchmarks.speed.losses

speed-protocols: setup ## verification and retrieval beside the usual ways, 100,000 images included: a table
	$(BIN)/python -m benchmarks.speed.protocols --large

coverage: setup ## simulate whether 95 % intervals hold the truth in 95 % of studies (half an hour)
	$(BIN)/python -m tests.simulations.coverage --workers 2 --out reports/published/coverage.csv --figure docs/images/coverage.png

mlflow: setup ## serve the MLflow UI of the results on http://127.0.0.1:5000 (PORT=… for another)
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --workers 1 --host 127.0.0.1 --port $(or $(PORT),5000) \
		--backend-store-uri sqlite:///results/mlflow.db

report: setup ## the pipeline's own report as report.zip
	$(BIN)/snakemake --configfile $(CONFIG) --report report.zip

gallery: setup ## draw docs/gallery.md and its images from the tables in reports/gallery
	$(BIN)/python -m reports gallery

docs: setup ## the documentation as a site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-config: setup ## write the tables of config/README.md from config/schema.yaml
	$(BIN)/python -m benchmarks.schema_docs

docs-losses: setup ## write docs/losses from the catalog and the docstrings
	$(BIN)/python -m reports.loss_pages

docs-speed: setup ## write the tables of docs/speed.md and draw its figure from reports/published/speed_*.csv
	$(BIN)/python -m reports.speed_figure
	$(BIN)/python -m benchmarks.speed.page

clean: ## delete environment and results (data stays)
	rm -rf .venv results report.zip site

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1	\2/' | expand -t 20
