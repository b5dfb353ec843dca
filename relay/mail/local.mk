# relay/mail: what a message and a delivery are; the envelope's encoding
noinst_LIBRARIES += libmail.a
libmail_a_SOURCES = \
	relay/mail/decision.h relay/mail/delivery.h \
	relay/mail/envelope.c relay/mail/envelope.h \
	relay/mail/names.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/envelope_test
tests_unit_envelope_test_SOURCES = tests/unit/envelope_test.c
tests_unit_envelope_test_LDADD = libmail.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_envelope
tests_fuzz_fuzz_envelope_SOURCES = tests/fuzz/fuzz_envelope.c
tests_fuzz_fuzz_envelope_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_envelope_LDADD = libmail.a libbase.a $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/envelope/one
