# doc
dist_man_MANS += doc/causewayd.8
EXTRA_DIST += doc/control-protocol.md doc/causewayctl.8.in
