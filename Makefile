# The few commands of a contributor. Each is a script that can be called by itself.
.PHONY: help setup test test-all format docs hooks release

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

setup: ## the virtual environment, .venv
	scripts/setup.sh

test: ## style, layers, dependencies, types and the fast tests
	scripts/test.sh

test-all: ## the slow tests too: what CI runs
	.ci/run

format: setup ## format the code, and fix what can be fixed
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

docs: setup ## the documentation site, in site/index.html
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build

hooks: setup ## check every commit before it is made
	.venv/bin/python -m pip install --quiet pre-commit && .venv/bin/pre-commit install

release: ## build, install and try the release on every supported Python
	scripts/release.sh
