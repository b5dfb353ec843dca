# contrib

# What an installation runs with. The paths below $(prefix)/lib are read by systemd for /usr and
# /usr/local.
unitdir = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
completiondir = $(datadir)/bash-completion/completions

nodist_unit_DATA = contrib/causeway.service
nodist_sysusers_DATA = contrib/sysusers.d/causeway.conf
nodist_tmpfiles_DATA = contrib/tmpfiles.d/causeway.conf
nodist_completion_DATA = contrib/completions/causewayctl
dist_example_DATA = contrib/causeway.logrotate
EXTRA_DIST += contrib/causeway.service.in contrib/causeway.sysusers contrib/causeway.tmpfiles \
	contrib/causewayctl.bash.in
CLEANFILES += contrib/causeway.service contrib/sysusers.d/causeway.conf \
	contrib/tmpfiles.d/causeway.conf contrib/completions/causewayctl

contrib/causeway.service: contrib/causeway.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) contrib && \
	sed -e 's,@sbindir[@],$(sbindir),' -e 's,@sysconfdir[@],$(sysconfdir),' \
		$(srcdir)/contrib/causeway.service.in > $@.tmp && mv -f $@.tmp $@

# Under the names that they are installed by
contrib/sysusers.d/causeway.conf: contrib/causeway.sysusers
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp -f $(srcdir)/contrib/causeway.sysusers $@
contrib/tmpfiles.d/causeway.conf: contrib/causeway.tmpfiles
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp -f $(srcdir)/contrib/causeway.tmpfiles $@
contrib/completions/causewayctl: contrib/causewayctl.bash.in relay/ctl/ctl-gen$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && relay/ctl/ctl-gen$(EXEEXT) $(srcdir)/contrib/causewayctl.bash.in > $@.tmp && \
		mv -f $@.tmp $@

# Every command and option of the table is in it.
dist_check_SCRIPTS += tests/check-completion
TESTS += tests/check-completion

# What works in a clone and in an unpacked archive alike.
EXTRA_DIST += contrib/build contrib/check contrib/check.py contrib/demo/quickstart.py \
	contrib/demo/sink.py contrib/packages contrib/quickstart
