# relay/daemon: the process
noinst_LIBRARIES += libdaemon.a
libdaemon_a_SOURCES = \
	relay/daemon/alarms.c \
	relay/daemon/alarms.h \
	relay/daemon/bind.c \
	relay/daemon/bind.h \
	relay/daemon/control_dests.c \
	relay/daemon/control_directory.c \
	relay/daemon/control_directory.h \
	relay/daemon/control_doctor.c \
	relay/daemon/control_doctor.h \
	relay/daemon/control_export.c \
	relay/daemon/control_manual.c \
	relay/daemon/control_manual.h \
	relay/daemon/control_move.c \
	relay/daemon/control_move.h \
	relay/daemon/control_moves.c \
	relay/daemon/control_ops.c \
	relay/daemon/control_ops.h \
	relay/daemon/control_queue.c \
	relay/daemon/control_queue.h \
	relay/daemon/control_round.c \
	relay/daemon/control_round.h \
	relay/daemon/control_walk.c \
	relay/daemon/control_walk.h \
	relay/daemon/control_write.c \
	relay/daemon/control_write.h \
	relay/daemon/cutover.c \
	relay/daemon/cutover.h \
	relay/daemon/daemon.c \
	relay/daemon/daemon.h \
	relay/daemon/job.c \
	relay/daemon/job.h \
	relay/daemon/move_plan.c \
	relay/daemon/move_plan.h \
	relay/daemon/privileges.c \
	relay/daemon/recovery.c \
	relay/daemon/recovery.h \
	relay/daemon/report.c \
	relay/daemon/worker.c \
	relay/daemon/worker.h \
	relay/daemon/worker_int.h \
	relay/daemon/worker_queue.c

sbin_PROGRAMS += causewayd
causewayd_SOURCES = relay/daemon/main.c
causewayd_LDADD = libdaemon.a libcontrol.a libsmtpd.a libsmtpc.a libqueue.a libroute.a libdsn.a libspool.a \
	libdirectory.a libconf.a libmail.a libproto.a librewrite.a libio.a libbase.a $(EVENT_LIBS) \
	$(CARES_LIBS) $(LDAP_LIBS) $(CONFUSE_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/job_test
tests_unit_job_test_SOURCES = tests/unit/job_test.c
tests_unit_job_test_LDADD = libdaemon.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/cutover_test
tests_unit_cutover_test_SOURCES = tests/unit/cutover_test.c $(DIRECTORY_MODEL)
tests_unit_cutover_test_LDADD = libdaemon.a libdirectory.a libio.a libconf.a librewrite.a libbase.a \
	$(EVENT_LIBS) $(CARES_LIBS) $(LDAP_LIBS) $(CONFUSE_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif
