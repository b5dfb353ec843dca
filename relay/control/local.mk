# relay/control: the control socket; its command table is causewayctl's, too
noinst_LIBRARIES += libcontrol.a
libcontrol_a_SOURCES = \
	relay/control/args.c \
	relay/control/commands.c relay/control/commands.def relay/control/commands.h \
	relay/control/control.h relay/control/control_int.h \
	relay/control/facts.c relay/control/facts.h relay/control/filter.c \
	relay/control/line.c \
	relay/control/peer.c relay/control/peer.h \
	relay/control/server.c

CONTROL_LIBS = libcontrol.a libqueue.a libroute.a libspool.a libdirectory.a libio.a libmail.a \
	libproto.a librewrite.a libconf.a libbase.a $(EVENT_LIBS) $(CARES_LIBS) $(LDAP_LIBS) \
	$(CONFUSE_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS)
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/control_test tests/unit/control_peer_test
tests_unit_control_peer_test_SOURCES = tests/unit/control_peer_test.c
tests_unit_control_peer_test_LDADD = $(CONTROL_LIBS) $(CMOCKA_LIBS)
tests_unit_control_test_SOURCES = tests/unit/control_test.c
tests_unit_control_test_LDADD = $(CONTROL_LIBS) $(CMOCKA_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_control
tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz_control.c
tests_fuzz_fuzz_control_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_control_LDADD = $(CONTROL_LIBS)
EXTRA_DIST += tests/fuzz/corpus/control/list tests/fuzz/corpus/control/remove \
	tests/fuzz/corpus/control/explain
