# relay/route: where a recipient's mail goes, and why (pure)
noinst_LIBRARIES += libroute.a
libroute_a_SOURCES = relay/route/route.h relay/route/route_int.h \
	relay/route/route.c relay/route/shared.c relay/route/recipient.c relay/route/claims.c relay/route/address.c \
	relay/route/explain.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/route_test
tests_unit_route_test_SOURCES = tests/unit/route_test.c
tests_unit_route_test_LDADD = libroute.a libmail.a libproto.a librewrite.a libconf.a libbase.a \
	$(CONFUSE_LIBS) $(XXHASH_LIBS) $(CMOCKA_LIBS)
endif
