# SPDX-License-Identifier: GPL-2.0-or-later
#
# Thin: every target is one line of help, the work is in scripts/ and meson.
# `make demo` and `make check` also install what is missing.

PYTHON = /usr/bin/python3
CHECK = scripts/check.sh

.PHONY: help build demo check check-unit check-sim check-net check-tools check-fuzz \
        check-disk check-tsan check-lint check-qtest check-functional \
        check-libvirt fuzz bench series clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1@/p' Makefile | \
	    awk -F@ '{ printf "%-24s %s\n", $$1, $$2 }'

build: ## configure if needed, then build the emulator and tools into build/
	@scripts/build.sh

demo: ## watch a protected guest survive its primary (sets everything up first)
	@scripts/build.sh --install-deps
	@tests/guest/build.sh
	@$(PYTHON) tests/functional/demo.py

check: ## run every test (sets everything up first)
	@$(CHECK)

check-unit: ## unit tests of the core, under ASan and UBSan
	@$(CHECK) unit

check-sim: ## simulator: two cores, crashes and delays everywhere
	@$(CHECK) sim

check-net: ## comparer and rewriter: properties, failovers, a real capture
	@$(CHECK) net

check-disk: ## the secondary's disk: random worlds against an oracle
	@$(CHECK) disk

check-tools: ## the program colo, on two model hosts
	@$(CHECK) tools

check-fuzz: ## short fuzz run of every decoder, and the kept corpus
	@$(CHECK) fuzz

check-tsan: ## unit tests and simulator under ThreadSanitizer (not in check)
	@$(CHECK) tsan

check-lint: ## house rules, the series of hooks, configure's own failures
	@$(CHECK) lint

check-qtest: ## QEMU without a guest: QMP, properties, error texts
	@$(CHECK) qtest

check-functional: ## real guests: protect, kill, fail over
	@$(CHECK) functional

check-libvirt: ## two libvirt daemons: one command protects a domain (root)
	@$(CHECK) libvirt

fuzz: ## fuzz for long: make fuzz [FUZZ_TIME_S=600]
	@scripts/fuzz.sh $(FUZZ_TIME_S)

bench: ## measure: make bench [BENCH_ARGS="--reference QEMU"]
	@scripts/build.sh --install-deps
	@tests/guest/build.sh
	@$(PYTHON) tests/bench/run.py $(BENCH_ARGS)

series: ## write our work as patches for git am, and prove them
	@scripts/series.sh

clean: ## remove build/ (not the download cache)
	@rm -rf build
