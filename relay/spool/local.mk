# relay/spool: the durable log of accepted messages
noinst_LIBRARIES += libspool.a
libspool_a_SOURCES = \
	relay/spool/batch.c relay/spool/batch.h \
	relay/spool/commit.c \
	relay/spool/compact.c \
	relay/spool/ended.c \
	relay/spool/flight.c relay/spool/flight.h \
	relay/spool/format.h \
	relay/spool/keeper.c \
	relay/spool/large.c \
	relay/spool/ordered.c relay/spool/ordered.h \
	relay/spool/orphans.c \
	relay/spool/quarantine.c \
	relay/spool/reader.c \
	relay/spool/record.c relay/spool/record.h \
	relay/spool/recover.c relay/spool/recover.h \
	relay/spool/replay.c \
	relay/spool/report.c \
	relay/spool/scan.c \
	relay/spool/segment.c \
	relay/spool/spool.c relay/spool/spool.h relay/spool/spool_int.h \
	relay/spool/state.c \
	relay/spool/table.c relay/spool/table.h \
	relay/spool/verify.c
EXTRA_DIST += doc/spool-format.md

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/spool_test tests/unit/spool_crash_test tests/unit/spool_fault_test \
	tests/unit/spool_format_test tests/unit/spool_full_test tests/unit/spool_recover_test
tests_unit_spool_test_SOURCES = tests/unit/spool_test.c tests/unit/spool_help.c tests/unit/spool_help.h
tests_unit_spool_test_LDADD = libspool.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_spool_crash_test_SOURCES = tests/unit/spool_crash_test.c tests/unit/spool_help.c \
	tests/unit/spool_help.h tests/unit/simdisk.c tests/unit/simdisk.h
tests_unit_spool_crash_test_LDADD = libspool.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
SPOOL_SIM = tests/unit/spool_sim.c tests/unit/spool_sim.h tests/unit/spool_help.c \
	tests/unit/spool_help.h tests/unit/simdisk.c tests/unit/simdisk.h
tests_unit_spool_fault_test_SOURCES = tests/unit/spool_fault_test.c $(SPOOL_SIM)
tests_unit_spool_fault_test_LDADD = libspool.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_spool_recover_test_SOURCES = tests/unit/spool_recover_test.c $(SPOOL_SIM)
tests_unit_spool_recover_test_LDADD = libspool.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_spool_full_test_SOURCES = tests/unit/spool_full_test.c $(SPOOL_SIM)
tests_unit_spool_full_test_LDADD = libspool.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_spool_format_test_SOURCES = tests/unit/spool_format_test.c
tests_unit_spool_format_test_LDADD = libspool.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_spool
tests_fuzz_fuzz_spool_SOURCES = tests/fuzz/fuzz_spool.c
tests_fuzz_fuzz_spool_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_spool_LDADD = libspool.a libbase.a $(XXHASH_LIBS)

EXTRA_PROGRAMS += tests/bench/spool_bench
tests_bench_spool_bench_SOURCES = tests/bench/spool_bench.c
tests_bench_spool_bench_LDADD = libspool.a libbase.a $(XXHASH_LIBS)
