# conf: the configuration, all of it made from conf/options.def
noinst_LIBRARIES += libconf.a
libconf_a_SOURCES = conf/conf.h conf/options.h conf/options.def conf/load.h \
	conf/table.c conf/value.c conf/checks.c conf/text.c conf/suggest.c conf/load.c \
	conf/check.c conf/conf.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/conf_test
tests_unit_conf_test_SOURCES = tests/unit/conf_test.c
tests_unit_conf_test_LDADD = libconf.a libbase.a $(CONFUSE_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif
