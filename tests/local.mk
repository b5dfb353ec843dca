# tests
dist_check_SCRIPTS += tests/check-includes
TESTS += tests/check-includes
AM_TESTS_ENVIRONMENT = CC='$(CC)'; export CC; CPPFLAGS='$(CPPFLAGS)'; export CPPFLAGS;
EXTRA_DIST += tests/conftest.py tests/data tests/lib tests/system tests/crash
include tests/bench/local.mk
