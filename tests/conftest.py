"""Fixtures for all system tests: see tests/lib/. CAUSEWAY_BUILD names the build directory to test."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from relay import Relay  # noqa: E402
from samba_dc import Domains  # noqa: E402
from sink import Sink  # noqa: E402


@pytest.fixture
def sinks():
    """sinks(behaviour...) -> a Sink; all are stopped at the end."""
    made = []

    def make(**kw):
        made.append(Sink(**kw))
        return made[-1]
    yield make
    for sink in made:
        sink.stop()


@pytest.fixture(scope="session")
def domains(tmp_path_factory):
    """domains["source.test"] -> a domain for Samba(); made once for all tests of the session."""
    return Domains(tmp_path_factory.mktemp("domains"))


@pytest.fixture
def relay(tmp_path):
    """relay(...) -> a Relay that is not started yet; all are killed at the end, and must not have left
    a sanitizer's report."""
    made = []

    def make(**kw):
        made.append(Relay(tmp_path / f"relay{len(made)}", **kw))
        return made[-1]
    yield make
    for r in made:
        r.finish()
