# doc
dist_man_MANS += doc/causewayd.8 doc/causewayctl.8
