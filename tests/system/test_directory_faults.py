"""What directory servers do wrong, by a scripted one that speaks as Active Directory and as OpenLDAP. PROMISES
"directory down, slow, lying, partial": a partial sync is never a deletion, the last complete view serves on, nobody is
called unknown by a source that was never complete, and the recovery needs no person."""
import copy
import random
import time
import uuid

import pytest

import ber
from dirwatch import HEAD, LIBRARIES_LEAK, Dirwatch, source
from ldap_entries import Entries
from ldap_server import (ADMIN_LIMIT, BARE, BUSY, CLOSE, HANG, INSUFFICIENT_ACCESS, OPERATIONS_ERROR, REFRESH_REQUIRED,
                         SIZE_LIMIT, TIME_LIMIT, UNAVAILABLE, UNAVAILABLE_EXTENSION, UNWILLING, LdapServer)
from wait import until

# How a source reads its server, and the kind of search that is its sync.
KINDS = {"openldap": "sync", "dirsync": "dirsync", "usn": "search"}
PEOPLE = 30
ROUND = 10  # entries in an answer of Active Directory
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
            server = LdapServer(entries or Entries().people(PEOPLE), **{"round_max": ROUND, "page_max": 2 * ROUND, **kw})
            self.made.append(server)
            return server.start()

        def conf(self, kind, *servers, **more):
            how = {"type": kind} if kind == "openldap" else {
                "type": "active-directory", "sync": kind, "page_size": str(ROUND), "poll_interval": "50ms"}
            (tmp_path / "password").write_text("secret\n")
            (tmp_path / "causeway.conf").write_text(HEAD + source("hr", **{
                **how, "uri": [s.uri for s in servers], "tls": "none", "base": servers[0].entries.base,
                "bind_dn": "cn=reader", "password_file": tmp_path / "password", "filter": "(objectClass=user)",
                "forest": "old", "flag_attribute": "extensionAttribute1", "flag_values": ["target = new"],
                "backoff_min": "100ms", "backoff_max": "200ms", "grace": "0", **more}))
            return tmp_path / "causeway.conf"

        def watch(self, conf, env=None):
            w = Dirwatch(conf, tmp_path / "state", env)
            self.made.append(w)
            return w

        def current(self, kind, *servers, env=None, **more):
            """A source that has read its server once."""
            w = self.watch(self.conf(kind, *servers, **more), env)
            w.until_state("hr", "current")
            w.until_entries("hr", len(servers[0].entries.all))
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


def must_reload(kind, server, more=lambda *_: None):
    """From now on the server cannot go on from where the source is; and what the script `more` says."""
    code = REFRESH_REQUIRED if kind == "openldap" else UNAVAILABLE_EXTENSION

    def script(at, search, session):
        if kind != "usn" and at == "search" and search.kind == KINDS[kind] and search.cookie and search.begins():
            return code
        return more(at, search, session)
    server.script = script
    if kind == "usn":
        server.entries.invocation = uuid.uuid4().bytes
    server.cut()


FAULTS = {
    **{f"code {code}": (code, "entry") for code in (SIZE_LIMIT, BUSY)},
    **{f"code {code} at the end": (code, "done") for code in (
        OPERATIONS_ERROR, TIME_LIMIT, SIZE_LIMIT, ADMIN_LIMIT, BUSY, UNAVAILABLE, UNWILLING, INSUFFICIENT_ACCESS)},
    "closes": (CLOSE, "entry"),
    "closes at the end": (CLOSE, "done"),
    **{name: (data, "entry") for name, data in GARBAGE.items()},
}


def leaks(what):
    return LIBRARIES_LEAK if what in GARBAGE else None


@pytest.mark.parametrize("what", FAULTS)
def test_first_sync_breaks_off(stage, kind, what):
    server = stage.server(script=fault(kind, *FAULTS[what]))
    w = stage.watch(stage.conf(kind, server), leaks(what))
    w.until_state("hr", "failing")
    assert w.place("nobody@x.test") == "not-found-yet"
    assert w.place("u0029@x.test") in ("not-found-yet", "found old")
    assert w.status("hr")[3] == "0"
    heal(server)
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE)
    assert w.place("nobody@x.test") == "not-found"


@pytest.mark.parametrize("what", FAULTS)
def test_later_sync_breaks_off(stage, kind, what):
    """Everything has to be read anew, and that breaks off each time: nothing of it is a deletion."""
    server = stage.server()
    w = stage.current(kind, server, env=leaks(what))
    must_reload(kind, server, fault(kind, *FAULTS[what]))
    server.entries.delete("u0000")
    server.entries.delete("u0029")
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
    w.until_entries("hr", PEOPLE - 2)


PAGES = PEOPLE // ROUND


@pytest.mark.parametrize("page", range(1, PAGES + 1))
@pytest.mark.parametrize("where", ["entry", "done"])
def test_ad_size_limit_on_each_page(stage, ad, where, page):
    """In the first sync and in a later one. Then nothing is known that comes after it, and nothing is a deletion."""
    server = stage.server(script=fault(ad, SIZE_LIMIT, where, page))
    w = stage.watch(stage.conf(ad, server))
    w.until_state("hr", "failing")
    w.until_error("hr", "limit")
    assert {s.page for s in server.asked if s.kind == KINDS[ad]} == set(range(1, page + 1))
    assert w.place("nobody@x.test") == "not-found-yet" and w.status("hr")[3] == "0"
    heal(server)
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE)
    must_reload(ad, server, fault(ad, SIZE_LIMIT, where, page))
    server.entries.delete("u0000")
    asked = server.count(KINDS[ad])
    w.until_state("hr", "failing")
    until("some more attempts", lambda: server.count(KINDS[ad]) > asked + 2 * page)
    for i in range(1, PEOPLE):
        assert w.place(f"u{i:04d}@x.test") == "found old"
    heal(server)
    w.until("u0000@x.test", "not-found")
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE - 1)


@pytest.mark.parametrize("left", [0, PEOPLE // 3])
def test_an_answer_that_lacks_most_people_waits_for_a_person(stage, kind, left):
    """The server says that this is all. It is a mass change, which ends when another answer has them all again."""
    server = stage.server()
    w = stage.current(kind, server)
    server.hides = lambda entry: server.entries.all.index(entry) >= left
    must_reload(kind, server)
    w.until_state("hr", "held")
    for i in (0, 9, 10, PEOPLE - 1):
        assert w.place(f"u{i:04d}@x.test") == "found old"
    server.hides = lambda entry: False
    must_reload(kind, server)
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE)


def test_mass_deletion_one_by_one_waits_for_a_person(stage, kind):
    server = stage.server()
    w = stage.current(kind, server)
    for i in range(2 * PEOPLE // 3):
        server.entries.delete(f"u{i:04d}")
    w.until_state("hr", "held")
    assert w.place(f"u{2 * PEOPLE // 3 - 1:04d}@x.test") == "found old"
    assert w.ask(f"reload {stage.conf(kind, server, mass_change_percent='100')}") == ["reloaded"]
    w.until(f"u{2 * PEOPLE // 3 - 1:04d}@x.test", "not-found")
    assert w.place(f"u{PEOPLE - 1:04d}@x.test") == "found old"


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
    server.entries.modify("u0003", extensionAttribute1="target")
    must_reload(kind, server)
    w.until("u0003@x.test", "found new")
    heal(server)
    server.entries.modify("u0004", extensionAttribute1="target")
    w.until("u0004@x.test", "found new")
    assert w.status("hr")[1:] == [str(PEOPLE), str(PEOPLE), "1"]
    assert sum(n for _, n, _ in w.changes[changes:]) <= 4, w.changes


@pytest.mark.parametrize("kind", ["openldap", "dirsync"])
def test_cookies_refused_always(stage, kind):
    """A server that never takes its own cookies is read again and again, at the pace of failures: nothing is lost."""
    server = stage.server()
    must_reload(kind, server)
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
    """Values beyond all limits, and no addresses at all, cost nobody anything."""
    server = stage.server()
    server.entries.add("long", proxyAddresses=["SMTP:long@x.test", "smtp:" + "x" * 2000000 + "@x.test"])
    server.entries.add("other", proxyAddresses=["X500:/o=x/cn=" + "y" * 100000, b"\xff\xfe\0\x80", b"", "SMTP:"])
    server.entries.add("last")
    w = stage.watch(stage.conf(kind, server))
    w.until_state("hr", "current")
    for name in ("u0029", "long", "last"):
        assert w.place(f"{name}@x.test") == "found old"
    assert w.place("nobody@x.test") == "not-found"


def test_absurdly_many_values(stage, kind):
    """An entry with more addresses than the limit allows: named, and nothing is applied while it is there."""
    server = stage.server(values_max=10**6)
    w = stage.current(kind, server)
    server.entries.add("many", proxyAddresses=[f"smtp:many{i}@x.test" for i in range(100000)])
    w.until_error("hr", "addresses_max")
    assert w.place("u0029@x.test") == "found old"
    assert w.place("many5@x.test") == "not-found"
    server.entries.modify("many", proxyAddresses="smtp:many5@x.test")
    w.until("many5@x.test", "found old")
    w.until_state("hr", "current")


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


# ---- only Active Directory does these ----


@pytest.fixture(params=["dirsync", "usn"])
def ad(request):
    return request.param


def test_ad_answer_without_its_control(stage, ad):
    """Without the response control nobody knows whether this was all."""
    server = stage.server(script=lambda at, search, _: BARE if at == "done" and search.kind == KINDS[ad] else None)
    w = stage.watch(stage.conf(ad, server))
    w.until_state("hr", "failing")
    assert w.place("nobody@x.test") == "not-found-yet"
    heal(server)
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE)


def test_ad_values_in_ranges(stage, ad):
    server = stage.server(values_max=5)
    server.entries.add("many", proxyAddresses=[f"smtp:many{i}@x.test" for i in range(23)])
    w = stage.current(ad, server)
    for i in range(23):
        assert w.place(f"many{i}@x.test") == "found old"
    server.entries.modify("many", proxyAddresses=[f"smtp:many{i}@x.test" for i in range(11, 40)])
    w.until("many39@x.test", "found old")
    w.until("many10@x.test", "not-found")
    assert w.place("many11@x.test") == "found old"


def test_ad_thousands(stage, ad):
    server = stage.server(Entries().people(2500), round_max=1000, page_max=1000)
    w = stage.current(ad, server, page_size="1000")
    w.until_entries("hr", 2500)
    assert server.count(KINDS[ad]) >= 3
    for i in range(0, 2500, 5):
        server.entries.modify(f"u{i:04d}", extensionAttribute1="target")
    w.until("u2495@x.test", "found new")
    for i in range(0, 2500, 250):
        w.until(f"u{i:04d}@x.test", "found new")
        assert w.place(f"u{i + 1:04d}@x.test") == "found old"


@pytest.mark.parametrize("page_max", [2 * ROUND, 1000])
@pytest.mark.parametrize("deleted", [True, False])
def test_ad_changes_during_the_first_reading(stage, page_max, deleted):
    """A server that does not limit answers is read by one search, others in rounds. Neither tells of those who are
    deleted or leave the filter meanwhile, so what changed is looked for."""
    def script(at, search, _):
        if at == "search" and search.kind == "notify":
            return UNWILLING
        if at == "done" and server.script is script and (search.kind, search.page) == where:
            heal(server)
            server.entries.modify("u0000", extensionAttribute1="target")
            server.entries.delete("u0001")
            server.entries.modify("u0003", mail=None)
            server.entries.add("late")
        return None
    where = ("search", 1) if page_max > PEOPLE else ("dirsync", 2)
    server = stage.server(page_max=page_max, deleted=deleted, script=script)
    w = stage.watch(stage.conf("dirsync", server, filter="(mail=*)"))
    w.until_state("hr", "current")
    assert w.place("u0000@x.test") == "found new"
    assert w.place("u0001@x.test") == "not-found"
    assert w.place("u0003@x.test") == "not-found"
    assert w.place("late@x.test") == "found old"
    server.entries.modify("u0002", extensionAttribute1="target")
    w.until("u0002@x.test", "found new")


def test_ad_identity_changes(stage, ad):
    """The domain controller was restored from a backup: its invocationId is another, its USNs mean something else."""
    server = stage.server()
    w = stage.current(ad, server)
    server.entries.delete("u0007")
    server.entries.modify("u0008", extensionAttribute1="target")
    server.entries.invocation = uuid.uuid4().bytes
    server.cut()
    w.until("u0007@x.test", "not-found")
    w.until("u0008@x.test", "found new")
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE - 1)


def test_ad_other_controller(stage, ad):
    """The first domain controller goes away; the second has the same people, other USNs, and later changes."""
    first, second = Entries().people(PEOPLE), Entries()
    second.usn = 50000
    second.all = [copy.copy(e) for e in first.all]
    servers = [stage.server(first), stage.server(second)]
    w = stage.current(ad, *servers)
    assert servers[1].count(KINDS[ad]) == 0
    second.delete("u0001")
    second.modify("u0002", extensionAttribute1="target")
    servers[0].stop()
    w.until("u0001@x.test", "not-found")
    w.until("u0002@x.test", "found new")
    w.until_state("hr", "current")
    w.until_entries("hr", PEOPLE - 1)


def test_ad_controller_that_is_behind(stage):
    """A controller that has not replicated yet knows less than we do: nobody is thought deleted for that."""
    first = Entries().people(PEOPLE)
    behind = Entries()
    behind.all = [copy.copy(e) for e in first.all[:PEOPLE - 3]]
    servers = [stage.server(first), stage.server(behind)]
    w = stage.current("dirsync", *servers)
    servers[0].stop()
    until("the second to be asked", lambda: servers[1].count("dirsync") > 0)
    behind.usn = 9000
    behind.modify("u0002", extensionAttribute1="target")
    w.until("u0002@x.test", "found new")
    for i in range(PEOPLE - 3, PEOPLE):
        assert w.place(f"u{i:04d}@x.test") == "found old"


@pytest.mark.parametrize("code", [INSUFFICIENT_ACCESS, UNWILLING, UNAVAILABLE_EXTENSION])
def test_ad_dirsync_refused(stage, code):
    """Update sequence numbers do as well, and it is said."""
    server = stage.server(script=lambda at, search, _: code if search and search.kind == "dirsync" else None)
    w = stage.watch(stage.conf("auto", server))
    w.until_state("hr", "current")
    w.until_error("hr", "DirSync")
    server.entries.modify("u0002", extensionAttribute1="target")
    server.entries.delete("u0001")
    w.until("u0002@x.test", "found new")
    w.until("u0001@x.test", "not-found")
    w.until_entries("hr", PEOPLE - 1)


def test_ad_endless_rounds(stage):
    """A server that always has more, and never anything new, is never complete, and can be left."""
    server = stage.server(round_max=0)
    w = stage.watch(stage.conf("dirsync", server))
    until("some rounds", lambda: server.count("dirsync") > 5)
    assert w.place("nobody@x.test") == "not-found-yet"
    assert w.stop() < 8


@pytest.mark.parametrize("where", ["domain", "unit", "domain with a child", "forest"])
def test_ad_global_catalog(stage, where):
    """Whether the account sees deletions is known of one domain only: where others are read, too, that is no reason to
    rely on it."""
    server = stage.server(host=f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}",
                          port=3268)
    if "child" in where:
        server.entries.add("child", objectClass=["top", "domain", "domainDNS"])
    if where == "unit":
        server.entries.add("unit")
    base = {"forest": "", "unit": server.entries.dn("unit")}.get(where, server.entries.base)
    w = stage.watch(stage.conf("auto", server, base=base))
    w.until_state("hr", "current")
    if where in ("domain", "unit"):
        assert not any("every hour" in e for e in w.errors["hr"]), w.errors
    else:
        w.until_error("hr", "of all domains is not known; everything is read again every hour")


def test_ad_is_not_synchronized(stage):
    """A controller that was just made has not got everybody yet."""
    server = stage.server()
    server.synchronized = False
    w = stage.watch(stage.conf("dirsync", server))
    w.until_error("hr", "replication")
    assert w.place("nobody@x.test") == "not-found-yet"
    server.synchronized = True
    w.until_state("hr", "current")
