# tests
dist_check_SCRIPTS += tests/check-includes
TESTS += tests/check-includes
# Says what is missing, so that nobody takes a short `make check` for the whole.
EXTRA_DIST += tests/no-unit-tests
if !HAVE_CMOCKA
TESTS += tests/no-unit-tests
endif
AM_TESTS_ENVIRONMENT = CC='$(CC)'; export CC; CPPFLAGS='$(CPPFLAGS)'; export CPPFLAGS;
EXTRA_DIST += tests/conftest.py tests/data tests/lib tests/system tests/crash
include tests/bench/local.mk
