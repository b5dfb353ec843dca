# Programs of contrib/bench that no package has. Built with everything else, so that they keep building.
noinst_PROGRAMS += tests/bench/bench-load tests/bench/bench-idle tests/bench/bench-directory
tests_bench_bench_load_SOURCES = tests/bench/bench_load.c tests/bench/bench_load.h \
	tests/bench/generator.c tests/bench/sink.c
tests_bench_bench_load_LDADD = -lm
tests_bench_bench_idle_SOURCES = tests/bench/bench_idle.c
tests_bench_bench_directory_SOURCES = tests/bench/bench_directory.c
tests_bench_bench_directory_LDADD = $(DIRECTORY_LIBS)
EXTRA_DIST += contrib/bench tests/bench/bench.py tests/bench/cases_cutover.py tests/bench/cases_queue.py \
	tests/bench/cases_relay.py tests/bench/cases_sync.py tests/bench/causeway.py tests/bench/load.py \
	tests/bench/postfix.py tests/bench/procs.py tests/bench/report.py
