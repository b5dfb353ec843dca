# base: strings, memory, clock, log, counters, threads' channel, files
noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = \
	base/arena.c base/arena.h \
	base/assert.c base/assert.h \
	base/base64.c base/base64.h \
	base/buf.c base/buf.h \
	base/chan.c base/chan.h \
	base/clock.c base/clock.h \
	base/err.c base/err.h \
	base/escape.c base/escape.h \
	base/file.c base/file.h \
	base/hash.c base/hash.h \
	base/heap.c base/heap.h \
	base/list.h \
	base/log.c base/log.h \
	base/mem.c base/mem.h \
	base/moment.c base/moment.h \
	base/random.c base/random.h \
	base/stats.c base/stats.def base/stats.h \
	base/str.c base/str.h

if HAVE_CMOCKA
check_PROGRAMS += \
	tests/unit/base_test \
	tests/unit/base_thread_test \
	tests/unit/base_file_test \
	tests/unit/base_log_test
tests_unit_base_test_SOURCES = tests/unit/base_test.c
tests_unit_base_test_LDADD = libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_base_thread_test_SOURCES = tests/unit/base_thread_test.c
tests_unit_base_thread_test_LDADD = libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_base_file_test_SOURCES = tests/unit/base_file_test.c
tests_unit_base_file_test_LDADD = libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_base_log_test_SOURCES = tests/unit/base_log_test.c
tests_unit_base_log_test_LDADD = libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif
