# relay/dsn: the text of delivery status notifications (pure)
noinst_LIBRARIES += libdsn.a
libdsn_a_SOURCES = \
	relay/dsn/dsn.c relay/dsn/dsn.h relay/dsn/dsn_int.h \
	relay/dsn/human.c relay/dsn/status.c relay/dsn/write.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/dsn_test
tests_unit_dsn_test_SOURCES = tests/unit/dsn_test.c
tests_unit_dsn_test_LDADD = libdsn.a libmail.a libproto.a librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_dsn
tests_fuzz_fuzz_dsn_SOURCES = tests/fuzz/fuzz_dsn.c
tests_fuzz_fuzz_dsn_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_dsn_LDADD = libdsn.a libmail.a libproto.a librewrite.a libbase.a $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/dsn/report
