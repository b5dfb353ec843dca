# directory: what every source says about every recipient
noinst_LIBRARIES += libdirectory.a
libdirectory_a_SOURCES = \
	directory/conflict.c \
	directory/directory.c directory/directory.h \
	directory/entry.c directory/entry.h \
	directory/grace.c \
	directory/hashmap.c directory/hashmap.h \
	directory/hold.c directory/hold.h \
	directory/limits.c \
	directory/locate.c \
	directory/map.c directory/map.h \
	directory/pending.c \
	directory/person.c directory/person.h \
	directory/recipient_type.c directory/recipient_type.h \
	directory/record.c \
	directory/replica.c directory/replica.h directory/replica_int.h \
	directory/rules.c directory/rules.h \
	directory/source.c directory/source.h \
	directory/source_hold.c \
	directory/stack.c directory/stack.h \
	directory/store.c directory/store.h \
	directory/table.c directory/table.h directory/table_int.h \
	directory/table_build.c \
	directory/table_group.c \
	directory/table_guard.c \
	directory/table_key.c \
	directory/table_pack.c \
	directory/view.c directory/view.h directory/view_int.h \
	directory/walk.c directory/walk.h \
	directory/file/csv.c directory/file/csv.h \
	directory/file/csv_column.c \
	directory/file/csv_map.c directory/file/csv_map.h directory/file/csv_map_int.h \
	directory/file/csv_source.c \
	directory/file/file_source.c directory/file/file_source.h \
	directory/file/ldif.c directory/file/ldif.h \
	directory/file/ldif_source.c \
	directory/file/manual.c directory/file/manual.h \
	directory/ldap/der.c directory/ldap/der.h \
	directory/ldap/flag_write.c directory/ldap/flag_write.h \
	directory/ldap/ldap_bind.c directory/ldap/ldap_bind.h \
	directory/ldap/ldap_entry.c directory/ldap/ldap_entry.h \
	directory/ldap/ldap_follow.c directory/ldap/ldap_follow.h \
	directory/ldap/ldap_link.c directory/ldap/ldap_link.h \
	directory/ldap/ldap_probe.c directory/ldap/ldap_probe.h \
	directory/ldap/openldap.c \
	directory/ldap/syncrepl.c directory/ldap/syncrepl.h \
	directory/ldap/x509.c directory/ldap/x509.h \
	directory/ad/active_directory.c \
	directory/ad/ad_int.h \
	directory/ad/ad_account.c \
	directory/ad/ad_dirsync.c \
	directory/ad/ad_read.c \
	directory/ad/ad_search.c \
	directory/ad/ad_server.c \
	directory/ad/ad_usn.c \
	directory/ad/ad_value.c directory/ad/ad_value.h \
	directory/ad/dirsync.c directory/ad/dirsync.h \
	directory/override/override.c directory/override/override.h directory/override/override_int.h \
	directory/override/override_line.c directory/override/override_line.h \
	directory/override/override_wave.c \
	directory/override/override_write.c \
	directory/doctor/doctor.c directory/doctor/doctor.def directory/doctor/doctor.h directory/doctor/doctor_int.h \
	directory/doctor/doctor_finding.c \
	directory/doctor/doctor_gather.c \
	directory/doctor/doctor_object.c \
	directory/doctor/doctor_person.c \
	directory/doctor/doctor_setting.c \
	directory/doctor/doctor_table.c \
	directory/doctor/doctor_target.c

DIRECTORY_LIBS = libdirectory.a libconf.a librewrite.a libbase.a \
	$(LDAP_LIBS) $(CONFUSE_LIBS) $(XXHASH_LIBS)

if HAVE_CMOCKA
DIRECTORY_MODEL = tests/unit/directory_model.c tests/unit/directory_model.h
DIRECTORY_STAGE = $(DIRECTORY_MODEL) tests/unit/directory_stage.c tests/unit/directory_stage.h
DIRECTORY_WORLD = $(DIRECTORY_MODEL) tests/unit/directory_world.c tests/unit/directory_world.h
check_PROGRAMS += \
	tests/unit/directory_ad_test \
	tests/unit/directory_doctor_test \
	tests/unit/directory_grace_test \
	tests/unit/directory_hold_test \
	tests/unit/directory_damage_test \
	tests/unit/directory_join_test \
	tests/unit/directory_csv_test \
	tests/unit/directory_ldif_test \
	tests/unit/directory_limits_test \
	tests/unit/directory_manual_test \
	tests/unit/directory_override_test \
	tests/unit/directory_random_test \
	tests/unit/directory_replica_test \
	tests/unit/directory_syncrepl_test \
	tests/unit/directory_table_test \
	tests/unit/directory_view_test
tests_unit_directory_doctor_test_SOURCES = tests/unit/directory_doctor_test.c $(DIRECTORY_WORLD)
tests_unit_directory_doctor_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_grace_test_SOURCES = tests/unit/directory_grace_test.c $(DIRECTORY_STAGE)
tests_unit_directory_grace_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_hold_test_SOURCES = tests/unit/directory_hold_test.c $(DIRECTORY_STAGE)
tests_unit_directory_hold_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_damage_test_SOURCES = tests/unit/directory_damage_test.c $(DIRECTORY_MODEL)
tests_unit_directory_damage_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_join_test_SOURCES = tests/unit/directory_join_test.c $(DIRECTORY_WORLD)
tests_unit_directory_join_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_csv_test_SOURCES = tests/unit/directory_csv_test.c $(DIRECTORY_MODEL)
tests_unit_directory_csv_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_ad_test_SOURCES = tests/unit/directory_ad_test.c
tests_unit_directory_ad_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_ldif_test_SOURCES = tests/unit/directory_ldif_test.c $(DIRECTORY_MODEL)
tests_unit_directory_ldif_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_limits_test_SOURCES = tests/unit/directory_limits_test.c $(DIRECTORY_MODEL)
tests_unit_directory_limits_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_manual_test_SOURCES = tests/unit/directory_manual_test.c $(DIRECTORY_WORLD)
tests_unit_directory_manual_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_override_test_SOURCES = tests/unit/directory_override_test.c $(DIRECTORY_MODEL)
tests_unit_directory_override_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_syncrepl_test_SOURCES = tests/unit/directory_syncrepl_test.c
tests_unit_directory_syncrepl_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_random_test_SOURCES = tests/unit/directory_random_test.c \
	tests/unit/directory_oracle.c tests/unit/directory_oracle.h \
	tests/unit/directory_steps.c tests/unit/directory_steps.h $(DIRECTORY_WORLD)
tests_unit_directory_random_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_replica_test_SOURCES = tests/unit/directory_replica_test.c $(DIRECTORY_MODEL)
tests_unit_directory_replica_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_table_test_SOURCES = tests/unit/directory_table_test.c $(DIRECTORY_MODEL)
tests_unit_directory_table_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
tests_unit_directory_view_test_SOURCES = tests/unit/directory_view_test.c $(DIRECTORY_WORLD)
tests_unit_directory_view_test_LDADD = $(DIRECTORY_LIBS) $(CMOCKA_LIBS)
endif

noinst_PROGRAMS += tests/system/dirwatch
tests_system_dirwatch_SOURCES = tests/system/dirwatch.c
tests_system_dirwatch_LDADD = $(DIRECTORY_LIBS)

FUZZERS += tests/fuzz/fuzz_csv tests/fuzz/fuzz_dirsync tests/fuzz/fuzz_ldif tests/fuzz/fuzz_syncrepl tests/fuzz/fuzz_table
tests_fuzz_fuzz_csv_SOURCES = tests/fuzz/fuzz_csv.c
tests_fuzz_fuzz_csv_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_csv_LDADD = $(DIRECTORY_LIBS)
tests_fuzz_fuzz_dirsync_SOURCES = tests/fuzz/fuzz_dirsync.c
tests_fuzz_fuzz_dirsync_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_dirsync_LDADD = $(DIRECTORY_LIBS)
tests_fuzz_fuzz_ldif_SOURCES = tests/fuzz/fuzz_ldif.c
tests_fuzz_fuzz_ldif_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_ldif_LDADD = $(DIRECTORY_LIBS)
tests_fuzz_fuzz_syncrepl_SOURCES = tests/fuzz/fuzz_syncrepl.c
tests_fuzz_fuzz_syncrepl_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_syncrepl_LDADD = $(DIRECTORY_LIBS)
tests_fuzz_fuzz_table_SOURCES = tests/fuzz/fuzz_table.c
tests_fuzz_fuzz_table_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_table_LDADD = $(DIRECTORY_LIBS)

EXTRA_DIST += tests/fuzz/corpus/table/domain-id
EXTRA_DIST += tests/fuzz/corpus/csv/exchange tests/fuzz/corpus/csv/plain
