"""Mail between forests whose directories are real: two Active Directory domains (Samba) and an OpenLDAP server, all
followed by one relay. People appear, change, are moved from forest to forest, and go; servers go and come back."""
import os
import signal
import time

import pytest

from client import Client, message
from dirwatch import source
from load import Load, all_delivered
from relay import DOMAIN
from samba_dc import Samba
from slapd import BASE, Slapd, person
from wait import until

FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]
SLOW = ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]
COMMON = {"backoff_min": "100ms", "backoff_max": "300ms", "mass_change_percent": "100", "grace": "0"}
MAILBOX, MAIL_USER, REMOTE_MAILBOX = "1", "128", "2147483648"


def address(local, domain=DOMAIN):
    return f"{local}@{domain}"


class Forest:
    """An Exchange organisation: a domain controller, and a sink that takes its mail. Its own domain is e.g. a.test."""

    def __init__(self, name, dc, sink):
        self.name, self.dc, self.sink, self.own = name, dc, sink, f"{name.lower()}.test"

    def addresses(self, local):
        return [f"SMTP:{address(local)}", f"smtp:{address(local, self.own)}"]

    def mailbox(self, local, **more):
        return self.dc.person(local, **{
            "mail": address(local), "proxyAddresses": self.addresses(local), "homeMDB": self.dc.database,
            "msExchRecipientTypeDetails": MAILBOX, **more})

    def mail_user(self, local, target, **more):
        return self.dc.person(local, **{
            "mail": address(local), "proxyAddresses": self.addresses(local), "targetAddress": f"SMTP:{target}",
            "msExchRecipientTypeDetails": MAIL_USER, **more})

    def source(self, **more):
        return source(f"ad-{self.name}", **{
            "type": "active-directory", "uri": [self.dc.uri], "ca_file": self.dc.ca, "base": self.dc.base,
            "bind_dn": self.dc.account(), "password_file": self.dc.password, "forest": self.name,
            "flag_attribute": "extensionAttribute1", "flag_values": ["to-a = A", "to-b = B"], **COMMON, **more})


class World:
    def __init__(self, folder, domains, relay, sinks):
        self.folder, self.make_relay = folder, relay
        self.a = Forest("A", Samba(folder / "a", domains["source.test"]), sinks())
        self.b = Forest("B", Samba(folder / "b", domains["target.test"]), sinks())
        self.slapd, self.c, self.relay = None, sinks(), None

    def up(self, a, b, c=(), queue=FAST, start=True, **more):
        """a, b: LDIF of the people of each domain; c: names of those in slapd, where someone is at any rate."""
        self.slapd = Slapd(self.folder / "slapd", "".join(
            person(x, proxyAddresses=f"SMTP:{address(x)}") for x in (*c, "someone")))
        for forest, ldif in ((self.a, a), (self.b, b)):
            forest.dc.change(ldif)
            if start:
                forest.dc.start()
        self.slapd.start()
        hr = source("hr", **{
            "type": "openldap", "uri": [self.slapd.uri], "ca_file": self.slapd.folder / "ca.pem", "base": BASE,
            "bind_dn": f"cn=sync,{BASE}", "password_file": self.slapd.folder / "password", "forest": "C",
            "filter": "(objectClass=mailRecipient)", **COMMON, **more})
        self.relay = self.make_relay(
            forests={"A": [self.a.sink.port], "B": [self.b.sink.port], "C": [self.c.port]},
            source=self.a.source(**more) + self.b.source(**more) + hr,
            sections={"forest A": ['routing_domain = "a.test"'], "forest B": ['routing_domain = "b.test"'],
                      "queue": queue}).start()
        if start:
            self.until_current()
        return self

    def states(self):
        return {s["name"]: s["state"] for s in self.relay.ask("directory.status")["items"]}

    def until_current(self):
        until(lambda: f"all to be current: {self.relay.ask('directory.status')['items']}",
              lambda: set(self.states().values()) == {"current"})

    def until_goes(self, local, forest):
        until(lambda: f"{local} to move to {forest}: {self.relay.ask('explain', address=address(local))}",
              lambda: self.relay.goes_to(local) == f"forest:{forest}")

    def rcpt(self, local):
        """The code that RCPT is answered with."""
        with Client(self.relay.port) as c:
            assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
            return c.cmd(f"RCPT TO:<{address(local)}>")[0]

    def until_rcpt(self, local, code):
        until(lambda: f"RCPT {local} to be answered with {code}, not {self.rcpt(local)}",
              lambda: self.rcpt(local) == code)

    def send(self, key, *locals_):
        with Client(self.relay.port) as c:
            assert c.send("s@sender.test", [address(x) for x in locals_], message(key))[0] == 250

    def stop(self):
        for server in (self.a.dc, self.b.dc, self.slapd):
            if server is not None and server.process is not None:
                server.stop(signal.SIGKILL)


@pytest.fixture
def world(tmp_path, domains, relay, sinks):
    w = World(tmp_path, domains, relay, sinks)
    yield w
    w.stop()
    w.a.dc.finish()
    w.b.dc.finish()


def test_each_to_their_own(world):
    """Three directories; mailboxes, mail users that point at them, a contact, a group."""
    a, b = world.a, world.b
    world.up(a.mailbox("anna") + a.mail_user("bob", "bob@b.test") +
             a.dc.person("carl", object_class="contact", mail=address("carl"), targetAddress="SMTP:carl@b.test") +
             a.dc.person("team", object_class="group", groupType="8", mail=address("team")),
             b.mailbox("bob") + b.mail_user("anna", "anna@a.test", msExchRecipientTypeDetails=REMOTE_MAILBOX) +
             b.mailbox("carl"),
             ["dora"])
    world.send("one", "anna", "bob", "carl", "dora", "team")
    a.sink.wait(1)
    b.sink.wait(1)
    world.c.wait(1)
    world.relay.wait_empty()
    assert sorted(a.sink.keys()) == [("one", "anna@a.test"), ("one", address("team"))]
    assert sorted(b.sink.keys()) == [("one", "bob@b.test"), ("one", "carl@b.test")]
    assert world.c.keys() == [("one", address("dora"))]
    assert world.rcpt("nobody") == 550


def test_flag_moves_mail_that_waits_and_mail_that_comes(world):
    world.up(world.a.mailbox("anna") + world.a.mailbox("bob"), world.b.mail_user("anna", "anna@a.test"), queue=SLOW)
    world.a.sink.stop()
    for i in range(5):
        world.send(f"waits{i}", "anna")
    world.send("stays", "bob")
    world.a.dc.modify("anna", extensionAttribute1="to-b")
    world.b.sink.wait(5)
    assert sorted(world.b.sink.keys()) == [(f"waits{i}", "anna@b.test") for i in range(5)]
    world.send("comes", "anna")
    world.b.sink.wait(6)
    world.a.dc.modify("anna", extensionAttribute1=None)  # and back
    world.until_goes("anna", "A")
    world.a.sink.start()
    world.send("back", "anna")
    world.relay.retry_all()  # each worker found out for itself that A was away
    world.relay.wait_empty()
    assert sorted(world.a.sink.keys()) == [("back", "anna@a.test"), ("stays", "bob@a.test")]


def test_a_migration_by_exchange_attributes(world):
    """As a mailbox move does it: for a moment both forests have the mailbox, then the old one points to the new."""
    world.up(world.a.mailbox("anna"), world.b.mail_user("anna", "anna@a.test"), queue=SLOW)
    world.a.sink.stop()
    world.send("waits", "anna")
    world.b.dc.modify("anna", targetAddress=None, homeMDB=world.b.dc.database, msExchRecipientTypeDetails=MAILBOX)
    until("the conflict to be seen",
          lambda: "conflict" in str(world.relay.ask("explain", address=address("anna"))).lower())
    assert world.relay.goes_to("anna") == "forest:A"  # the first by priority, as before
    world.a.dc.modify("anna", homeMDB=None, msExchRecipientTypeDetails=REMOTE_MAILBOX, targetAddress="SMTP:anna@b.test")
    world.b.sink.wait(1)
    world.relay.wait_empty()
    assert world.b.sink.keys() == [("waits", "anna@b.test")]
    world.send("comes", "anna")
    world.b.sink.wait(2)


def test_people_come_change_and_go(world):
    world.up(world.a.mailbox("anna"), world.b.mailbox("bob"))
    a, b = world.a.dc, world.b.dc
    assert world.rcpt("new") == 550
    b.change(world.b.mailbox("new"))
    world.until_rcpt("new", 250)
    world.send("created", "new")
    world.b.sink.wait(1)
    b.modify("new", proxyAddresses=[f"SMTP:{address('newer')}"], mail=address("newer"))
    world.until_rcpt("newer", 250)
    world.until_rcpt("new", 550)
    b.rename("new", "another name")
    b.move("another name", "OU=Elsewhere")
    b.change(world.b.mailbox("mark"))
    world.until_rcpt("mark", 250)
    assert world.rcpt("newer") == 250
    b.delete("another name", unit="OU=Elsewhere")
    world.until_rcpt("newer", 550)
    b.restore("new", mail=address("new"), proxyAddresses=f"SMTP:{address('new')}", homeMDB=b.database)
    world.until_rcpt("new", 250)
    world.slapd.add("dora", proxyAddresses=f"SMTP:{address('dora')}")
    world.until_rcpt("dora", 250)
    a.delete("anna")
    world.until_rcpt("anna", 550)
    assert world.rcpt("bob") == 250


def test_all_directories_die(world):
    """Routing goes on from what was known; with the relay started anew, too. Once it is stale nobody is unknown."""
    world.up(world.a.mailbox("anna"), world.b.mailbox("bob"), ["dora"],
             stale_after="4s")
    world.stop()
    assert world.rcpt("nobody") == 550
    world.relay.kill()
    world.relay.start()
    world.send("dead", "anna", "bob", "dora")
    for sink in (world.a.sink, world.b.sink, world.c):
        sink.wait(1)
    world.until_rcpt("nobody", 451)
    for local in ("anna", "bob", "dora"):
        assert world.rcpt(local) == 250
    world.b.dc.change(world.b.mailbox("late"))
    for server in (world.a.dc, world.b.dc, world.slapd):
        server.start()
    world.until_rcpt("late", 250)
    world.until_rcpt("nobody", 550)


def test_one_directory_was_never_there(world):
    """Its people could be anyone: 451, until it has been read."""
    world.up(world.a.mailbox("anna"), world.b.mailbox("bob"), start=False)
    world.a.dc.start()
    world.until_rcpt("anna", 250)
    assert world.rcpt("bob") == 451
    assert world.rcpt("nobody") == 451
    world.b.dc.start()
    world.until_rcpt("bob", 250)
    world.until_rcpt("nobody", 550)


def test_a_directory_dies_in_its_first_sync(world):
    world.b.dc.load(3000)
    world.up(world.a.mailbox("anna"), world.b.mailbox("bob"), start=False)
    world.a.dc.start()
    world.b.dc.start()
    until("the sync to begin", lambda: world.states()["ad-B"] == "syncing")
    world.b.dc.stop()
    until("the failure to be seen", lambda: world.states()["ad-B"] in ("failing", "current"))
    assert world.rcpt("nobody") in ((550,) if world.states()["ad-B"] == "current" else (451,))
    world.b.dc.start()
    world.until_current()
    assert world.rcpt("bob") == 250
    assert world.rcpt("nobody") == 550


def test_first_sync_in_bulk_beside_mail(world):
    """B's thousands come in for the first time while mail flows to A: nobody is refused, cut or kept waiting, and it all
    arrives."""
    sanitized = any(x in os.path.basename(os.environ["CAUSEWAY_BUILD"]) for x in ("asan", "tsan"))
    world.b.dc.load(3000)
    world.up(world.a.mailbox("anna"), world.b.mailbox("bob"), start=False)
    world.a.dc.start()
    world.until_rcpt("anna", 250)
    load, worst, during = Load(world.relay.port, clients=2), 0, 0
    until("some mail", lambda: len(load.accepted) > 20)
    world.b.dc.start()
    until("the sync to begin", lambda: world.states()["ad-B"] in ("syncing", "current"))
    began, before = time.monotonic(), len(load.accepted)
    with Client(world.relay.port) as c:
        while world.states()["ad-B"] != "current":
            asked = time.monotonic()
            assert c.cmd("NOOP")[0] == 250
            worst, during = max(worst, time.monotonic() - asked), len(load.accepted) - before
            assert asked - began < 60, world.relay.ask("directory.status")
    load.stop()
    print(f"{during} messages in {time.monotonic() - began:.1f} s, slowest NOOP {1000 * worst:.1f} ms")
    assert load.refused == [] and load.cut == [] and load.no_entry == 0
    assert during > 20 and worst < (0.5 if sanitized else 0.1)
    assert world.rcpt("bob") == 250
    entries = next(s["entries"] for s in world.relay.ask("directory.status")["items"] if s["name"] == "ad-B")
    assert entries >= 3001
    got = all_delivered(world.a.sink, load, world.relay)
    assert sum(got.values()) == len(load.accepted)
