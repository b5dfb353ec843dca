# relay/ctl: causewayctl. It never links the daemon: of the control module it takes the table of
# commands, of the spool what checks it offline.
noinst_LIBRARIES += libctl.a
libctl_a_SOURCES = \
	relay/ctl/client.c relay/ctl/client.h \
	relay/ctl/cmdline.c relay/ctl/cmdline.h \
	relay/ctl/help.c relay/ctl/completion.c \
	relay/ctl/output.c relay/ctl/output.h \
	relay/ctl/load.c relay/ctl/load.h \
	relay/ctl/show.c relay/ctl/show.h relay/ctl/show_doctor.c \
	relay/ctl/show_moves.c relay/ctl/show_int.h \
	relay/ctl/grid.c relay/ctl/grid.h \
	relay/ctl/wave_file.c relay/ctl/wave_file.h

CTL_LIBS = libctl.a libcontrol.a libdirectory.a libspool.a libio.a libmail.a libproto.a librewrite.a libconf.a \
	libbase.a $(EVENT_LIBS) $(CARES_LIBS) $(CONFUSE_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS)

sbin_PROGRAMS += causewayctl
causewayctl_SOURCES = relay/ctl/main.c
causewayctl_LDADD = $(CTL_LIBS)

# causewayctl(8), causeway-doctor(7) and the completion for bash, their lists made from the tables
noinst_PROGRAMS += relay/ctl/ctl-gen
relay_ctl_ctl_gen_SOURCES = relay/ctl/gen.c
relay_ctl_ctl_gen_LDADD = $(CTL_LIBS)
man_MANS += doc/causewayctl.8 doc/causeway-doctor.7
CLEANFILES += doc/causewayctl.8 doc/causeway-doctor.7
doc/causewayctl.8: doc/causewayctl.8.in relay/ctl/ctl-gen$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) doc && relay/ctl/ctl-gen$(EXEEXT) $(srcdir)/doc/causewayctl.8.in > $@.tmp && \
		mv -f $@.tmp $@
doc/causeway-doctor.7: doc/causeway-doctor.7.in relay/ctl/ctl-gen$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) doc && relay/ctl/ctl-gen$(EXEEXT) $(srcdir)/doc/causeway-doctor.7.in > $@.tmp && \
		mv -f $@.tmp $@

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/ctl_test
tests_unit_ctl_test_SOURCES = tests/unit/ctl_test.c
tests_unit_ctl_test_LDADD = $(CTL_LIBS) $(CMOCKA_LIBS)
endif
