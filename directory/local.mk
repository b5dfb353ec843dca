# directory: what every source says about every recipient
noinst_LIBRARIES += libdirectory.a
libdirectory_a_SOURCES = \
	directory/directory.c directory/directory.h \
	directory/entry.c directory/entry.h \
	directory/hashmap.c directory/hashmap.h \
	directory/ldif.c directory/ldif.h \
	directory/ldap_link.c directory/ldap_link.h \
	directory/ldif_source.c \
	directory/map.c directory/map.h \
	directory/openldap.c \
	directory/override.c directory/override.h \
	directory/record.c \
	directory/replica.c directory/replica.h \
	directory/rules.c directory/rules.h \
	directory/source.c directory/source.h \
	directory/stack.c directory/stack.h \
	directory/store.c directory/store.h \
	directory/syncrepl.c directory/syncrepl.h \
	directory/table.c directory/table.h directory/table_int.h \
	directory/table_build.c \
	directory/view.c directory/view.h directory/view_int.h

DIRECTORY_LIBS = libdirectory.a libconf.a librewrite.a libbase.a \
	$(LDAP_LIBS) $(CONFUSE_LIBS) $(XXHASH_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/directory_view_test
tests_unit_directory_view_test_SOURCES = tests/unit/directory_view_test.c \
	tests/unit/directory_model.c tests/unit/directory_model.h
tests_unit_directory_view_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
endif

noinst_PROGRAMS += tests/system/dirwatch
tests_system_dirwatch_SOURCES = tests/system/dirwatch.c
tests_system_dirwatch_LDADD = $(DIRECTORY_LIBS)
