# Every target sets up what it needs. Environments live in .venv/, one a service, each from its own lock.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := .venv/uv/bin/uv
SERVICES := gateway watchdog killswitch console simulator journal demo
ENVIRONMENTS := $(SERVICES) tests
# Programs that are run beside ours and never imported.
TOOLS := mitmproxy load
TESTS := .venv/tests/bin
ARGS ?=
# Plain runs of pytest beside each other, those that wait longest first. Workers of pytest-xdist would each collect all of the 11,000
# tests, and tell of each one in three messages: that took as much computing as the tests themselves.
BESIDE := --no-print-directory --jobs 3 --keep-going --output-sync=target
FAST := not slow and not hypothesis
FAST_FOLDERS := watchdog gateway journal simulator core killswitch
# Containers often set this. Every process that the tests start would then compile its libraries again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test check lint fast-tests fast-others $(FAST_FOLDERS:%=fast-%) system-packages coverage mutate redteam hostile days simulate view year crash grow drill bench bench-setup bench-clients load format locks clean
help:
	@echo "make demo   the whole stack on a simulated exchange, with a real freqtrade (ARGS=\"...\" goes to trade-demo)"
	@echo "make test   everything: format, lint, types, contracts, unit and integration tests with real parts"
	@echo "make check  the fast half of it, about 2.5 minutes on 2 cores: all but the random tests and those with real parts"
	@echo "make coverage  which branches of the pure core its own tests leave out; none may be"
	@echo "make mutate  breaks every line of the pure core and sees whether its tests notice (ARGS=\"NAME... --afresh\")"
	@echo "make bench  an order through the gateway, side by side with nginx, mitmproxy, a naive gateway and the bare disk, then bench-clients (ARGS=\"--quick\": a minute, and no clients)"
	@echo "make bench-clients  what bad clients cost an honest one, and what one decision costs"
	@echo "make load   bots, a flood, a slow exchange and a halt, with limits on errors and latency (ARGS=\"SCENARIO... --seconds N\")"
	@echo "make redteam  every attack, and 100,000 hostile requests, against a real gateway (ARGS=\"--count N --seed N\")"
	@echo "make hostile  thousands of attacks on the published loss, each under a policy of its own (ARGS=\"--count N --seed N\")"
	@echo "make days      a thousand synthetic account-days: does the ladder miss a breach or kill anybody? (ARGS=\"--days N --seed S\")"
	@echo "make watch-figures  how soon the watchdog sees a fall, a rogue order, a rogue key, an edited row (ARGS=\"--falls N --orders N --keys N --journals N\")"
	@echo "make simulate  gateway, watchdog and exchange in one process on one clock, with everything that can break (SEEDS=A..B, ARGS=\"--market FILE.csv --twice\")"
	@echo "make view      the gateway's view of the account beside the exchange's truth, after 10,000 events with faults"
	@echo "make year      a simulated year of one account: does the memory of the services grow? (ARGS=\"--days N\")"
	@echo "make crash  fails every system call of the journal once, and kills gateway and journal writer under load (ARGS=\"--kills N --seed N\")"
	@echo "make grow   lets a journal grow to a million rows and more, and sees that nothing grows faster (ARGS=\"--rows N --folder DIR\")"
	@echo "make drill  kills a hundred whole stacks, every process real, forty more with an open position, and one with each part broken (ARGS=\"--kills N --closing N --faults N --results FILE\")"
	@echo "make locks  resolve requirements/*.txt again"

.venv/uv/.ready: requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# Compiled at once: the first starts of several processes would each compile the same, ccxt alone for 20 s.
# Own packages are installed without dependencies and without a build environment: the lock holds all of it.
$(ENVIRONMENTS:%=.venv/%/.ready): .venv/%/.ready: requirements/%.txt pyproject.toml .venv/uv/.ready
	$(UV) venv --quiet --clear --python $(PYTHON) .venv/$*
	$(UV) pip install --quiet --compile-bytecode --python .venv/$*/bin/python --require-hashes -r requirements/$*.txt
	$(UV) pip install --quiet --python .venv/$*/bin/python --no-build-isolation --no-deps --editable .
	@touch $@

.venv/freqtrade/.ready: requirements/freqtrade.txt .venv/uv/.ready
	$(UV) venv --quiet --clear --python $(PYTHON) .venv/freqtrade
	$(UV) pip install --quiet --python .venv/freqtrade/bin/python --require-hashes -r requirements/freqtrade.txt
	.venv/freqtrade/bin/python -c 'import freqtrade.worker, freqtrade.rpc.api_server.webserver, ccxt.pro'  # compiles what it needs
	@touch $@

$(TOOLS:%=.venv/%/.ready): .venv/%/.ready: requirements/%.txt .venv/uv/.ready
	$(UV) venv --quiet --clear --python $(PYTHON) .venv/$*
	$(UV) pip install --quiet --compile-bytecode --python .venv/$*/bin/python --require-hashes -r requirements/$*.txt
	@touch $@

setup: $(ENVIRONMENTS:%=.venv/%/.ready) .venv/freqtrade/.ready .venv/load/.ready

demo: $(SERVICES:%=.venv/%/.ready) .venv/freqtrade/.ready
	.venv/demo/bin/trade-demo $(ARGS)

check: .venv/tests/.ready
	$(MAKE) $(BESIDE) lint fast-tests

lint: .venv/tests/.ready
	$(TESTS)/ruff format --check .
	$(TESTS)/ruff check .
	$(TESTS)/lint-imports
	$(TESTS)/mypy

fast-tests: $(FAST_FOLDERS:%=fast-%) fast-others

$(FAST_FOLDERS:%=fast-%): fast-%: .venv/tests/.ready
	$(TESTS)/pytest -q -m "$(FAST)" tests/$*

# Whatever folder is not named above, so that no test is left out.
fast-others: .venv/tests/.ready
	$(TESTS)/pytest -q -m "$(FAST)" $(FAST_FOLDERS:%=--ignore=tests/%)

system-packages:
	tests/system-packages

# Only the pure core's own tests, and of them not the random ones: what luck or other tests touch proves nothing.
coverage: .venv/tests/.ready
	mkdir -p build/coverage
	$(TESTS)/coverage erase
	$(TESTS)/coverage run -m pytest -q -m "not slow and not hypothesis" $$($(TESTS)/python tests/proof/modules.py tests)
	$(TESTS)/coverage combine --quiet
	$(TESTS)/coverage report --include=$$($(TESTS)/python tests/proof/modules.py modules)

# Two environments at a time: one is unpacked while the other is compiled, and system packages come down beside them. The
# slow tests wait as long as they compute: four at a time keep two processors busy, three leave one idle half of the time.
test:
	$(MAKE) --no-print-directory -j 3 system-packages setup
	$(MAKE) $(BESIDE) lint fast-tests coverage FAST="not slow"
	$(TESTS)/pytest -q -m "slow and not attack" -n 4 --dist loadfile --no-loadscope-reorder --durations=12
	@echo "Left out: the attacks that need a stack of their own, one of ten (tests/redteam), and 90,000 fuzzed requests: make redteam"
	@echo "Left out: a race of the hostile bot against real makers (tests/hostile), which needs a quiet machine: make hostile"
	@echo "Left out: what needs a cluster (TRADE_KUBECONFIG) or a secret server (TRADE_VAULT_ADDR) of your own: pytest -m outside"

# Not a part of `make test`, but for its short form, which shows that it still runs.
bench-setup: $(ENVIRONMENTS:%=.venv/%/.ready) .venv/mitmproxy/.ready
	tests/system-packages nginx=nginx-light wrk=wrk

bench: bench-setup
	$(TESTS)/python loadtests/bench.py $(ARGS)
	$(if $(ARGS),,$(MAKE) --no-print-directory bench-clients)

bench-clients: .venv/tests/.ready $(SERVICES:%=.venv/%/.ready)
	$(TESTS)/python loadtests/slow_clients.py $(ARGS)
	$(TESTS)/python loadtests/decision_speed.py

load: $(ENVIRONMENTS:%=.venv/%/.ready) .venv/load/.ready
	$(TESTS)/python loadtests/load.py $(ARGS)

redteam: setup
	$(TESTS)/pytest -q -m slow -n 3 --dist loadfile --no-loadscope-reorder tests/redteam
	PYTHONPATH=tests $(TESTS)/python -m redteam.fuzz --count 100000 $(ARGS)

mutate: .venv/tests/.ready
	PYTHONPATH=tests $(TESTS)/python -m proof.mutate $(ARGS)

hostile: setup
	$(TESTS)/pytest -q -m attack tests/hostile
	PYTHONPATH=tests $(TESTS)/python -m hostile.run $(ARGS)

watch-figures: setup
	PYTHONPATH=tests $(TESTS)/python -m integration.watch_figures $(ARGS)

days: .venv/tests/.ready
	PYTHONPATH=tests $(TESTS)/python -m simulation.ladder_days $(ARGS)

SEEDS ?= 1..20
simulate: .venv/tests/.ready
	PYTHONPATH=tests PYTHONHASHSEED=0 $(TESTS)/python -m simulation.simulate --seeds $(SEEDS) $(ARGS)

# The account view against the simulator's truth, 10,000 events with faults.
view: .venv/tests/.ready
	TRADE_VIEW_EVENTS=10000 $(TESTS)/pytest -q -s --timeout 3000 tests/simulation/test_account_view.py

year: .venv/tests/.ready
	PYTHONPATH=tests $(TESTS)/python -m simulation.year $(ARGS)

crash: setup
	tests/system-packages
	PYTHONPATH=tests $(TESTS)/python -m crash.io_faults
	PYTHONPATH=tests $(TESTS)/python -m crash.sealing_faults
	PYTHONPATH=tests $(TESTS)/python -m crash.kills $(ARGS)

grow: .venv/tests/.ready
	PYTHONPATH=tests $(TESTS)/python -m growth.grow $(ARGS)

drill: setup
	PYTHONPATH=tests $(TESTS)/python -m integration.drill $(ARGS)

format: .venv/tests/.ready
	$(TESTS)/ruff format .
	$(TESTS)/ruff check --fix .

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
locks: .venv/uv/.ready
	for service in $(SERVICES); do $(COMPILE) --extra $$service pyproject.toml requirements/build.in -o requirements/$$service.txt || exit 1; done
	$(COMPILE) $(SERVICES:%=--extra %) pyproject.toml requirements/tests.in -o requirements/tests.txt
	for tool in freqtrade $(TOOLS); do $(COMPILE) requirements/$$tool.in -o requirements/$$tool.txt || exit 1; done
	$(COMPILE) requirements/uv.in -o requirements/uv.txt

clean:
	rm -rf .venv build .state
