# relay/smtpc
noinst_LIBRARIES += libsmtpc.a
libsmtpc_a_SOURCES = \
	relay/smtpc/client.c relay/smtpc/smtpc.h relay/smtpc/smtpc_int.h \
	relay/smtpc/dest.c relay/smtpc/hosts.c relay/smtpc/ops.c relay/smtpc/pending.c \
	relay/smtpc/resting.c relay/smtpc/result.c relay/smtpc/session.c relay/smtpc/session_reply.c \
	relay/smtpc/session_send.c relay/smtpc/session_state.def

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/smtpc_session_test tests/unit/smtpc_pool_test \
	tests/unit/smtpc_hosts_test tests/unit/smtpc_random_test tests/unit/smtpc_silent_test \
	tests/unit/smtpc_early_test tests/unit/smtpc_reload_test
smtpc_test_libs = libsmtpc.a libio.a libmail.a libproto.a libconf.a librewrite.a libbase.a \
	$(CONFUSE_LIBS) $(EVENT_LIBS) $(CARES_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)
smtpc_test_peer = tests/unit/smtpc_peer.c tests/unit/smtpc_peer.h
tests_unit_smtpc_session_test_SOURCES = tests/unit/smtpc_session_test.c $(smtpc_test_peer)
tests_unit_smtpc_session_test_LDADD = $(smtpc_test_libs)
tests_unit_smtpc_pool_test_SOURCES = tests/unit/smtpc_pool_test.c $(smtpc_test_peer)
tests_unit_smtpc_pool_test_LDADD = $(smtpc_test_libs)
tests_unit_smtpc_hosts_test_SOURCES = tests/unit/smtpc_hosts_test.c $(smtpc_test_peer)
tests_unit_smtpc_hosts_test_LDADD = $(smtpc_test_libs)
tests_unit_smtpc_random_test_SOURCES = tests/unit/smtpc_random_test.c $(smtpc_test_peer)
tests_unit_smtpc_random_test_LDADD = $(smtpc_test_libs)
tests_unit_smtpc_silent_test_SOURCES = tests/unit/smtpc_silent_test.c $(smtpc_test_peer)
tests_unit_smtpc_silent_test_LDADD = $(smtpc_test_libs)
tests_unit_smtpc_early_test_SOURCES = tests/unit/smtpc_early_test.c $(smtpc_test_peer)
tests_unit_smtpc_early_test_LDADD = $(smtpc_test_libs)
tests_unit_smtpc_reload_test_SOURCES = tests/unit/smtpc_reload_test.c $(smtpc_test_peer)
tests_unit_smtpc_reload_test_LDADD = $(smtpc_test_libs)
endif
