# rewrite: what mail addresses and headers mean (pure)
noinst_LIBRARIES += librewrite.a
librewrite_a_SOURCES = rewrite/address.c rewrite/address.h \
	rewrite/imceaex.c rewrite/imceaex.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/address_test
tests_unit_address_test_SOURCES = tests/unit/address_test.c
tests_unit_address_test_LDADD = librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/imceaex_test
tests_unit_imceaex_test_SOURCES = tests/unit/imceaex_test.c
tests_unit_imceaex_test_LDADD = librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_address
tests_fuzz_fuzz_address_SOURCES = tests/fuzz/fuzz_address.c
tests_fuzz_fuzz_address_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_address_LDADD = librewrite.a libbase.a $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/address/quoted \
	tests/fuzz/corpus/address/route \
	tests/fuzz/corpus/address/utf8

FUZZERS += tests/fuzz/fuzz_imceaex
tests_fuzz_fuzz_imceaex_SOURCES = tests/fuzz/fuzz_imceaex.c
tests_fuzz_fuzz_imceaex_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_imceaex_LDADD = librewrite.a libbase.a $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/imceaex/reply
