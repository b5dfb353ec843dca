# relay/smtpd: inbound SMTP
noinst_LIBRARIES += libsmtpd.a
libsmtpd_a_SOURCES = \
	relay/smtpd/clients.c \
	relay/smtpd/command.c \
	relay/smtpd/content.c \
	relay/smtpd/data.c \
	relay/smtpd/mail.c \
	relay/smtpd/rcpt.c \
	relay/smtpd/session.c \
	relay/smtpd/smtpd.c \
	relay/smtpd/smtpd.h \
	relay/smtpd/smtpd_int.h \
	relay/smtpd/trace.c \
	relay/smtpd/transaction.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/smtpd_limits_test tests/unit/smtpd_test
tests_unit_smtpd_limits_test_SOURCES = tests/unit/smtpd_limits_test.c $(SMTPD_STAGE)
tests_unit_smtpd_limits_test_LDADD = $(SMTPD_TEST_LIBS)
tests_unit_smtpd_test_SOURCES = tests/unit/smtpd_test.c $(SMTPD_STAGE)
tests_unit_smtpd_test_LDADD = $(SMTPD_TEST_LIBS)
endif
SMTPD_STAGE = tests/unit/smtpd_stage.c tests/unit/smtpd_stage.h
SMTPD_TEST_LIBS = libsmtpd.a libconf.a libmail.a libproto.a librewrite.a libio.a libbase.a \
	$(EVENT_LIBS) $(CARES_LIBS) $(CONFUSE_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)
