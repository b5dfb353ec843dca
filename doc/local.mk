# doc
dist_man_MANS += doc/causewayd.8
EXTRA_DIST += doc/architecture.md doc/benchmarks.md doc/spool-format.md \
	doc/control-protocol.md doc/causewayctl.8.in doc/causeway-doctor.7.in
