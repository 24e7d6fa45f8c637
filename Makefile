# leat: `make demo` and `make test` are all a newcomer needs; both install what is missing first.
.POSIX:
.PHONY: help bootstrap build release demo demo-retail dist test test-peers soak bench asan tsan fuzz clean
JOBS = 2
TESTS_AT_ONCE = 3 # many of them wait now and then

help:
	@echo "make demo        build, and show all of it on an online shop's day; leaves the dashboard running (DEMO_EXIT=1: ends)"
	@echo "make demo-retail an older shop's real order lines, stream and batch compared row for row"
	@echo "make dist        packages: a tar.gz that runs from wherever it is unpacked, and a .deb"
	@echo "make test        every test that needs no other server (minutes)"
	@echo "make test-peers  tests against independent readers (delta-rs, DuckDB, Spark) and real servers"
	@echo "make bench       figures beside their peers, build/bench.json"
	@echo "make soak        the long versions of the tests"
	@echo "make asan|tsan   all tests under sanitizers, the long ones shortened;  make fuzz  each fuzz target for a minute"

bootstrap:
	@scripts/bootstrap

build: bootstrap
	@cmake --preset dev >build-dev.log 2>&1 || (cat build-dev.log; exit 1)
	@rm -f build-dev.log
	@cmake --build --preset dev -j $(JOBS)

release: bootstrap
	@mkdir -p build
	@cmake --preset release >build/release.log 2>&1 || (cat build/release.log; exit 1)
	@cmake --build --preset release -j $(JOBS) --target leat

demo: release
	@rm -rf build/demo
	@build/release/leat demo build/demo $${DEMO_EXIT:+--exit}

demo-retail: release
	@examples/retail/demo build/release/leat build/demo-retail

dist: release
	@scripts/dist build/release

test: build
	@ctest --preset dev -j $(TESTS_AT_ONCE)

test-peers: build
	@scripts/bootstrap --peers
	@LEAT=build/dev/leat .deps/venv/bin/python -m pytest -q tests/peers

soak: build
	@scripts/soak

bench: release
	@cmake --build --preset release -j $(JOBS) --target benches
	@scripts/bootstrap --peers
	@.deps/venv/bin/python bench/bench.py --leat build/release/leat --out build/bench.json

asan tsan: bootstrap
	@cmake --preset $@ >/dev/null && cmake --build --preset $@ -j $(JOBS) && ctest --preset $@ -j $(JOBS)

fuzz: bootstrap
	@scripts/fuzz

clean:
	rm -rf build
