# relay/io
noinst_LIBRARIES += libio.a
libio_a_SOURCES = \
	relay/io/addr.c relay/io/addr_int.h \
	relay/io/connect.c \
	relay/io/descriptors.c relay/io/descriptors.h \
	relay/io/dns_cache.c relay/io/dns_channel.c relay/io/dns_int.h relay/io/dns_parse.c relay/io/dns_servers.c \
	relay/io/listen.c relay/io/listener.c relay/io/listener.h \
	relay/io/loop.c relay/io/loop.h relay/io/loop_int.h \
	relay/io/resolver.c relay/io/resolver.h \
	relay/io/stream.c relay/io/stream.h relay/io/stream_int.h \
	relay/io/stream_fake.c relay/io/stream_out.c relay/io/stream_sock.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/io_descriptors_test tests/unit/io_dns_test \
	tests/unit/io_listener_test tests/unit/io_loop_test tests/unit/io_resolver_test tests/unit/io_stream_test
tests_unit_io_descriptors_test_SOURCES = tests/unit/io_descriptors_test.c
tests_unit_io_descriptors_test_LDADD = $(IO_TEST_LIBS)
tests_unit_io_dns_test_SOURCES = tests/unit/io_dns_test.c tests/unit/io_dns_build.h
tests_unit_io_dns_test_LDADD = $(IO_TEST_LIBS)
tests_unit_io_resolver_test_SOURCES = tests/unit/io_resolver_test.c tests/unit/io_dns_build.h
tests_unit_io_resolver_test_LDADD = $(IO_TEST_LIBS)
tests_unit_io_listener_test_SOURCES = tests/unit/io_listener_test.c
tests_unit_io_listener_test_LDADD = $(IO_TEST_LIBS)
tests_unit_io_loop_test_SOURCES = tests/unit/io_loop_test.c
tests_unit_io_loop_test_LDADD = $(IO_TEST_LIBS)
tests_unit_io_stream_test_SOURCES = tests/unit/io_stream_test.c
tests_unit_io_stream_test_LDADD = $(IO_TEST_LIBS)
endif
IO_TEST_LIBS = libio.a libbase.a $(EVENT_LIBS) $(CARES_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)

FUZZERS += tests/fuzz/fuzz_dns
tests_fuzz_fuzz_dns_SOURCES = tests/fuzz/fuzz_dns.c
tests_fuzz_fuzz_dns_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_dns_LDADD = libio.a libbase.a $(EVENT_LIBS) $(CARES_LIBS) $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/dns/a tests/fuzz/corpus/dns/aaaa tests/fuzz/corpus/dns/mx \
	tests/fuzz/corpus/dns/null_mx tests/fuzz/corpus/dns/nxdomain
