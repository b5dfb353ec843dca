"""What directory servers do wrong, by a scripted one that speaks as Active Directory and as OpenLDAP. PROMISES
"directory down, slow, lying, partial": a partial sync is never a deletion, the last complete view serves on, nobody is
called unknown by a source that was never complete, and the recovery needs no person."""
import random
import time

import pytest

import ber
from dirwatch import HEAD, Dirwatch, source
from ldap_entries import Entries
from ldap_server import (ADMIN_LIMIT, BUSY, CLOSE, HANG, INSUFFICIENT_ACCESS, OPERATIONS_ERROR, REFRESH_REQUIRED,
                         SIZE_LIMIT, TIME_LIMIT, UNAVAILABLE, UNAVAILABLE_EXTENSION, UNWILLING, LdapServer)
from wait import until

KINDS = {"openldap": "sync"}  # and the kind of search that is its sync
PEOPLE = 30
ROUND = 10  # entries in an answer of the server as Active Directory
GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "endless length": b"\x30\x84\xff\xff\xff\xff",
    "inner length": ber.sequence(ber.integer(2), b"\x64\x7f\x04\x01"),
    "half an entry": ber.sequence(ber.integer(2), ber.tlv(0x64, b"x" * 100))[:50],
    "zeros": bytes(64),
}


@pytest.fixture
def stage(tmp_path):
    """stage.server(...), stage.conf(...), stage.watch(...): all are stopped at the end."""
    class Stage:
        def __init__(self):
            self.made = []

        def server(self, entries=None, **kw):
            server = LdapServer(entries or Entries().people(PEOPLE), **{"round_max": ROUND, **kw})
            self.made.append(server)
            return server.start()

        def conf(self, kind, *servers, **more):
            (tmp_path / "password").write_text("secret\n")
            (tmp_path / "causeway.conf").write_text(HEAD + source("hr", **{
                "type": kind, "uri": [s.uri for s in servers], "tls": "none", "base": servers[0].entries.base,
                "bind_dn": "cn=reader", "password_file": tmp_path / "password", "filter": "(objectClass=user)",
                "forest": "old", "flag_attribute": "extensionAttribute1", "flag_values": ["target = new"],
                "backoff_min": "100ms", "backoff_max": "200ms", **more}))
            return tmp_path / "causeway.conf"

        def watch(self, conf):
            w = Dirwatch(conf, tmp_path / "state")
            self.made.append(w)
            return w

        def current(self, kind, *servers, **more):
            """A source that has read its server once."""
            w = self.watch(self.conf(kind, *servers, **more))
            w.until_state("hr", "current")
            assert w.status("hr")[1] == str(len(servers[0].entries.all))
            return w
    stage = Stage()
    yield stage
    for thing in reversed(stage.made):
        if isinstance(thing, LdapServer):
            thing.stop()
        elif thing.process.poll() is None:
            thing.stop()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def heal(server):
    server.script = lambda *_: None


def fault(kind, action, where, page=2, sent=5):
    """A script: the action in each sync, in its second round, before an entry or before its result. (OpenLDAP has no
    rounds.)"""
    def script(at, search, _):
        if search is None or search.kind != KINDS[kind] or at != where:
            return None
        if kind == "openldap":
            return action if at == "done" or search.sent == sent + ROUND * (page - 1) else None
        return action if search.page == page and (at == "done" or search.sent == sent) else None
    return script


def refuses_cookies(kind, more=lambda *_: None):
    """A script: cookies of earlier syncs are refused; otherwise what `more` says."""
    code = REFRESH_REQUIRED if kind == "openldap" else UNAVAILABLE_EXTENSION

    def script(at, search, session):
        if at == "search" and search.kind == KINDS[kind] and search.cookie and search.begins():
            return code
        return more(at, search, session)
    return script


FAULTS = {
    **{f"code {code}": (code, "entry") for code in (SIZE_LIMIT, BUSY)},
    **{f"code {code} at the end": (code, "done") for code in (
        OPERATIONS_ERROR, TIME_LIMIT, SIZE_LIMIT, ADMIN_LIMIT, BUSY, UNAVAILABLE, UNWILLING, INSUFFICIENT_ACCESS)},
    "closes": (CLOSE, "entry"),
    "closes at the end": (CLOSE, "done"),
    **{name: (data, "entry") for name, data in GARBAGE.items()},
}


@pytest.mark.parametrize("what", FAULTS)
def test_first_sync_breaks_off(stage, kind, what):
    server = stage.server(script=fault(kind, *FAULTS[what]))
    w = stage.watch(stage.conf(kind, server))
    w.until_state("hr", "failing")
    assert w.place("nobody@x.test") == "not-found-yet"
    assert w.place("u0029@x.test") in ("not-found-yet", "found old")
    assert w.status("hr")[3] == "0"
    heal(server)
    w.until_state("hr", "current")
    assert w.status("hr")[1] == str(PEOPLE)
    assert w.place("nobody@x.test") == "not-found"


@pytest.mark.parametrize("what", FAULTS)
def test_later_sync_breaks_off(stage, kind, what):
    """Everything has to be read anew, and that breaks off each time: nothing of it is a deletion."""
    server = stage.server()
    w = stage.current(kind, server)
    server.script = refuses_cookies(kind, fault(kind, *FAULTS[what]))
    server.entries.delete("u0000")
    server.entries.delete("u0029")
    server.cut()
    w.until_state("hr", "failing")
    asked = server.count(KINDS[kind])
    until("some more attempts", lambda: server.count(KINDS[kind]) > asked + 4)
    for i in (1, 4, 5, 9, 10, 15, 16, 20, 28):
        assert w.place(f"u{i:04d}@x.test") == "found old"
    assert w.place("nobody@x.test") == "not-found"  # complete once, and not stale yet
    heal(server)
    for name in ("u0000", "u0029"):
        w.until(f"{name}@x.test", "not-found")
    w.until_state("hr", "current")
    assert w.status("hr")[1] == str(PEOPLE - 2)


@pytest.mark.parametrize("left", [0, PEOPLE // 3])
def test_an_answer_that_lacks_most_people_waits_for_a_person(stage, kind, left):
    """The server says that this is all. It is a mass change; or nobody at all, which no directory is."""
    server = stage.server()
    w = stage.current(kind, server)
    server.hides = lambda entry: server.entries.all.index(entry) >= left
    server.script = refuses_cookies(kind)
    server.cut()
    w.until_state("hr", "failing")
    for i in (0, 9, 10, PEOPLE - 1):
        assert w.place(f"u{i:04d}@x.test") == "found old"
    server.hides = lambda entry: False
    w.until_state("hr", "current")
    assert w.status("hr")[1] == str(PEOPLE)


def test_refused_for_ever_is_not_hammered(stage, kind):
    began = time.monotonic()
    server = stage.server(script=lambda at, search, _: UNWILLING if at == "search" and search.kind == KINDS[kind]
                          else None)
    w = stage.watch(stage.conf(kind, server))
    until("eight attempts", lambda: server.count(KINDS[kind]) >= 8)
    assert time.monotonic() - began > 7 * 0.05  # half of backoff_min
    w.until_state("hr", "failing")
    heal(server)
    w.until_state("hr", "current")


def test_cookie_refused_once(stage, kind):
    """Everything is read anew, by itself; what did not change disturbs nobody."""
    server = stage.server()
    w = stage.current(kind, server)
    changes = len(w.changes)
    server.script = refuses_cookies(kind)
    server.entries.modify("u0003", extensionAttribute1="target")
    server.cut()
    w.until("u0003@x.test", "found new")
    heal(server)
    server.entries.modify("u0004", extensionAttribute1="target")
    w.until("u0004@x.test", "found new")
    assert w.status("hr")[1:] == [str(PEOPLE), str(PEOPLE), "1"]
    assert sum(n for _, n, _ in w.changes[changes:]) <= 4, w.changes


def test_cookies_refused_always(stage, kind):
    """A server that never takes its own cookies is read again and again, at the pace of failures: nothing is lost."""
    server = stage.server(script=refuses_cookies(kind))
    w = stage.watch(stage.conf(kind, server))
    w.until("u0029@x.test", "found old")
    server.entries.delete("u0029")
    server.cut()
    w.until("u0029@x.test", "not-found")


def test_hangs(stage, kind):
    """It takes connections and says nothing: what is known serves on, nobody is called unknown once that is stale."""
    server = stage.server()
    w = stage.current(kind, server, stale_after="1s")
    server.script = lambda *_: HANG
    for session in list(server.sessions):
        session.hung.set()
    w.until("nobody@x.test", "not-found-yet")
    w.until_state("hr", "stale")
    assert w.place("u0001@x.test") == "found old"
    heal(server)
    server.cut()
    w.until("nobody@x.test", "not-found")
    server.script = lambda *_: HANG
    server.cut()
    w.until("nobody@x.test", "not-found-yet")
    assert w.stop() < 8


def test_hangs_in_the_first_sync(stage, kind):
    server = stage.server(script=fault(kind, HANG, "entry"))
    w = stage.watch(stage.conf(kind, server))
    until("the sync to begin", lambda: server.count(KINDS[kind]) > 0)
    assert w.place("nobody@x.test") == "not-found-yet"
    assert w.stop() < 8


def test_absurd_values(stage, kind):
    """An entry beyond all limits costs nobody else anything."""
    server = stage.server(values_max=10**6)
    server.entries.add("many", proxyAddresses=[f"smtp:many{i}@x.test" for i in range(100000)])
    server.entries.add("long", proxyAddresses=["SMTP:long@x.test", "smtp:" + "x" * 2000000 + "@x.test"])
    server.entries.add("other", proxyAddresses=["X500:/o=x/cn=" + "y" * 100000, b"\xff\xfe\0\x80", b"", "SMTP:"])
    server.entries.add("last")
    w = stage.watch(stage.conf(kind, server))
    w.until_state("hr", "current")
    for name in ("u0029", "long", "last"):
        assert w.place(f"{name}@x.test") == "found old"
    assert w.place("nobody@x.test") == "not-found"


def test_busy_server(stage, kind):
    """Changes while it is read, and connections that are cut: at the end both sides hold the same."""
    rnd = random.Random(5)
    server = stage.server()
    w = stage.watch(stage.conf(kind, server, mass_change_percent="100"))
    names = [f"u{i:04d}" for i in range(PEOPLE)]
    for i in range(300):
        name = rnd.choice(names)
        match rnd.randrange(12):
            case 0:
                server.entries.delete(name)
                names.remove(name)
            case 1:
                names.append(f"n{i}")
                server.entries.add(names[-1])
            case 2:
                server.entries.rename(name, name + "r")
                names[names.index(name)] = name + "r"
            case 3 if i % 2:
                server.cut()
            case 4:
                server.entries.modify(name, mail=f"m{i}@x.test", proxyAddresses=[f"SMTP:p{i}@x.test"])
            case _:
                server.entries.modify(name, extensionAttribute1=rnd.choice(["target", None]))
        time.sleep(0.002)
    server.entries.add("done")
    w.until("done@x.test", "found old")
    gone = {v for v in ("u%04d@x.test" % i for i in range(PEOPLE))}
    for e in server.entries.all:
        if not e.deleted:
            flag = e.get("extensionAttribute1")
            for value in e.get("proxyAddresses"):
                address = value.decode().split(":", 1)[1]
                w.until(address, "found " + ("new" if flag else "old"))
                gone.discard(address)
            gone.discard(e.get("mail")[0].decode())
    for address in gone:
        w.until(address, "not-found")
