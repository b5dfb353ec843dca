# conf: the configuration, all of it made from conf/options.def
noinst_LIBRARIES += libconf.a
libconf_a_SOURCES = conf/conf.h conf/options.h conf/options.def \
	conf/attributes.def conf/load.h \
	conf/table.c conf/value.c conf/checks.c conf/text.c conf/suggest.c conf/load.c \
	conf/check.c conf/check_source.c conf/files.c conf/conf.c conf/sample.c conf/man.c \
	conf/blackout.c conf/blackout.h

# What is made from the table when the program is built
noinst_PROGRAMS += conf/conf-gen
conf_conf_gen_SOURCES = conf/gen.c
conf_conf_gen_LDADD = libconf.a libbase.a $(CONFUSE_LIBS) $(XXHASH_LIBS)

man_MANS = doc/causeway.conf.5
exampledir = $(docdir)/examples
nodist_example_DATA = contrib/causeway.conf.sample
CLEANFILES += doc/causeway.conf.5 contrib/causeway.conf.sample

doc/causeway.conf.5: conf/conf-gen$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) doc && conf/conf-gen$(EXEEXT) man > $@.tmp && mv -f $@.tmp $@

contrib/causeway.conf.sample: conf/conf-gen$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) contrib && conf/conf-gen$(EXEEXT) sample > $@.tmp && mv -f $@.tmp $@

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/conf_test tests/unit/conf_errors_test
tests_unit_conf_test_SOURCES = tests/unit/conf_test.c
tests_unit_conf_test_LDADD = libconf.a libbase.a $(CONFUSE_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)
tests_unit_conf_errors_test_SOURCES = tests/unit/conf_errors_test.c
tests_unit_conf_errors_test_LDADD = $(tests_unit_conf_test_LDADD)
check_PROGRAMS += tests/unit/blackout_test
tests_unit_blackout_test_SOURCES = tests/unit/blackout_test.c
tests_unit_blackout_test_LDADD = $(tests_unit_conf_test_LDADD)
endif

FUZZERS += tests/fuzz/fuzz_conf
tests_fuzz_fuzz_conf_SOURCES = tests/fuzz/fuzz_conf.c
tests_fuzz_fuzz_conf_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_conf_LDADD = libconf.a libbase.a $(CONFUSE_LIBS) $(XXHASH_LIBS)
EXTRA_DIST += tests/fuzz/corpus/conf/full tests/fuzz/corpus/conf/syntax

# Joins TESTS when every module that reads the configuration is there
dist_check_SCRIPTS += tests/check-options
TESTS += tests/check-options
