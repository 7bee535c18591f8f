# What a person types. Everything is installed into .venv, from the hash-locked files in requirements/.

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
BASE := .venv/.base
DEVELOPMENT := .venv/.development
# Three at a time keep two cores busy: many tests wait for a process. Without bytecode each process that a test
# starts compiles every module anew.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 3 --dist worksteal

.DEFAULT_GOAL := serve
.PHONY: serve settings test test-services bench seed-large page-times conformance check lock messages screenshots interop clean help

serve: $(BASE) ## start the gateway on HOST:PORT (127.0.0.1:8000); worker and beat run inside
	@exec $(BIN)/python manage.py serve $(ARGS)

settings: $(BASE) ## every setting that is in force, and where it comes from
	@$(BIN)/python manage.py show_settings $(ARGS)

test: $(DEVELOPMENT) ## all tests on SQLite; pytest options in ARGS
	@DATABASE_URL= REDIS_URL= $(PYTEST) $(ARGS)

test-services: export DATABASE_URL ?= postgres://postgres@127.0.0.1:5432/postgres
test-services: export REDIS_URL ?= redis://127.0.0.1:6379/5
test-services: $(DEVELOPMENT) ## the same tests on Postgres and Redis (DATABASE_URL, REDIS_URL)
	@$(PYTEST) $(ARGS)

bench: $(BASE) ## measure the gateway beside nginx and print a table; needs Linux, gcc and two cores
	@$(BIN)/python -m benchmarks.run $(ARGS)

# A made-up site of five million requests on a throw-away Postgres database, and the times of its pages.
seed-large page-times: export DATABASE_URL ?= postgres://postgres@127.0.0.1:5432/large
seed-large page-times: export PROXYSITE_HOME ?= var/large

seed-large: $(BASE) ## fill a throw-away database as a large site has it; takes many minutes
	@$(BIN)/python -m benchmarks.seed_large $(ARGS)

page-times: $(BASE) ## how long each page of the desk takes on the database of `make seed-large`
	@$(BIN)/python -m benchmarks.page_times $(ARGS)

conformance: $(BASE) ## the gateway in front of an upstream that fails in sixteen ways; prints a table
	@$(BIN)/python -m proxysite.conformance.local $(ARGS)

check: $(DEVELOPMENT) ## linters, types, import rules, dead code, readability, migrations, deployment
	@set -e; export PROXYSITE_HOME="$$(mktemp -d)" DATABASE_URL= REDIS_URL=; trap 'rm -rf "$$PROXYSITE_HOME"' EXIT; \
	step() { echo "== $$*"; "$(BIN)/$$@"; }; \
	step ruff check .; \
	step ruff format --check .; \
	step mypy; \
	step lint-imports; \
	step vulture; \
	step python -m benchmarks.readability; \
	step python manage.py makemigrations --check --dry-run; \
	export DATABASE_URL=postgres://proxysite@127.0.0.1/proxysite REDIS_URL=redis://127.0.0.1:6379/0; \
	export ALLOWED_HOSTS=gateway.example BEHIND_TLS=true; \
	step python manage.py check --deploy --fail-level WARNING

lock: $(DEVELOPMENT) ## write requirements/*.txt anew from *.in; ARGS=--upgrade takes newer releases
	@set -e; for name in base production development documents sign-in; do \
		echo "requirements/$$name.txt"; constraint=; \
		test $$name = base || constraint="--constraint requirements/base.txt"; \
		test $$name != documents || constraint="$$constraint --no-deps"; \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" $$constraint $(ARGS) \
			--output-file requirements/$$name.txt requirements/$$name.in; \
	done

messages: $(DEVELOPMENT) ## collect the texts of pages into proxysite/locale/; needs GNU gettext
	@$(BIN)/python manage.py write_messages

screenshots: $(DEVELOPMENT) ## take the pictures of docs/screenshots/ again; needs chromium
	@$(BIN)/python -m benchmarks.screenshots $(ARGS)

interop: $(DEVELOPMENT) ## tests against third-party servers and clients
	@DATABASE_URL= REDIS_URL= $(BIN)/python -m pytest -m interop --timeout 600 $(ARGS)

clean: ## remove .venv and caches; what a run wrote (var/) stays
	rm -rf .venv .interop .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-20s %s\n' "$$name" "$$text"; done

# A stamp per lock: the install is skipped until the lock is newer. Both locks agree on every version they share.
$(BASE): requirements/base.txt | $(BIN)/python
$(DEVELOPMENT): requirements/development.txt | $(BIN)/python
$(BASE) $(DEVELOPMENT):
	@if [ -e $@ ]; then echo "Installing into .venv, because $< has changed:"; \
	else echo "Installing $< into .venv, once; this takes a minute or two:"; fi
	@PYTHON="$(BIN)/python" sh requirements/install.sh $<
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null \
		|| { echo "Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, and $(PYTHON) is older; name another with make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) has no venv; on Debian and Ubuntu: apt-get install python3-venv." >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
