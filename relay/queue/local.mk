# queue: schedule, retry, destination windows
noinst_LIBRARIES += libqueue.a
libqueue_a_SOURCES = relay/queue/queue.h relay/queue/queue_int.h relay/queue/underway.h relay/queue/underway.c \
	relay/queue/confirm.c relay/queue/pace.h relay/queue/pace.c relay/queue/queue.c \
	relay/queue/index.c relay/queue/reply.c relay/queue/dest.c relay/queue/active.c \
	relay/queue/result.c relay/queue/refused.c relay/queue/remove.c relay/queue/schedule.c relay/queue/admin.c

if HAVE_CMOCKA
QUEUE_TEST_LIBS = libqueue.a libmail.a libproto.a librewrite.a libbase.a $(XXHASH_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/queue_test
tests_unit_queue_test_SOURCES = tests/unit/queue_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_pace_test
tests_unit_queue_pace_test_SOURCES = tests/unit/queue_pace_test.c
tests_unit_queue_pace_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/underway_test
tests_unit_underway_test_SOURCES = tests/unit/underway_test.c
tests_unit_underway_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_underway_test
tests_unit_queue_underway_test_SOURCES = tests/unit/queue_underway_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_underway_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_refused_test
tests_unit_queue_refused_test_SOURCES = tests/unit/queue_refused_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_refused_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_dest_test
tests_unit_queue_dest_test_SOURCES = tests/unit/queue_dest_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_dest_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_retry_test
tests_unit_queue_retry_test_SOURCES = tests/unit/queue_retry_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_retry_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_apart_test
tests_unit_queue_apart_test_SOURCES = tests/unit/queue_apart_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_apart_test_LDADD = $(QUEUE_TEST_LIBS)

check_PROGRAMS += tests/unit/queue_random_test
tests_unit_queue_random_test_SOURCES = tests/unit/queue_random_test.c tests/unit/queue_world.c tests/unit/queue_world.h
tests_unit_queue_random_test_LDADD = $(QUEUE_TEST_LIBS)
endif
