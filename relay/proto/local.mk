# relay/proto: SMTP commands, replies, parameters, dot-stuffing (pure)
noinst_LIBRARIES += libproto.a
libproto_a_SOURCES = \
	relay/proto/command.c relay/proto/command.def relay/proto/command.h \
	relay/proto/dot.c relay/proto/dot.h \
	relay/proto/params.h \
	relay/proto/reply.c relay/proto/reply_parser.c relay/proto/reply.h \
	relay/proto/xtext.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/command_test
tests_unit_command_test_SOURCES = tests/unit/command_test.c
tests_unit_command_test_LDADD = libproto.a librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/dot_test
tests_unit_dot_test_SOURCES = tests/unit/dot_test.c
tests_unit_dot_test_LDADD = libproto.a librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/reply_test
tests_unit_reply_test_SOURCES = tests/unit/reply_test.c
tests_unit_reply_test_LDADD = libproto.a librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_command
tests_fuzz_fuzz_command_SOURCES = tests/fuzz/fuzz_command.c
tests_fuzz_fuzz_command_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_command_LDADD = libproto.a librewrite.a libbase.a $(XXHASH_LIBS)

FUZZERS += tests/fuzz/fuzz_dot
tests_fuzz_fuzz_dot_SOURCES = tests/fuzz/fuzz_dot.c
tests_fuzz_fuzz_dot_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_dot_LDADD = libproto.a librewrite.a libbase.a $(XXHASH_LIBS)

FUZZERS += tests/fuzz/fuzz_reply
tests_fuzz_fuzz_reply_SOURCES = tests/fuzz/fuzz_reply.c
tests_fuzz_fuzz_reply_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_reply_LDADD = libproto.a librewrite.a libbase.a $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/command/ehlo \
	tests/fuzz/corpus/command/mail \
	tests/fuzz/corpus/command/rcpt \
	tests/fuzz/corpus/dot/message \
	tests/fuzz/corpus/reply/ehlo \
	tests/fuzz/corpus/reply/refusal
