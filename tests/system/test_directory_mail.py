"""Mail while a real slapd says where the mailboxes are: flags that flip, servers that die, hang, lie or are never
there. PROMISES "directory down, slow, lying, partial"."""
import signal

import pytest

from client import Client, message
from load import Load, all_delivered
from relay import DOMAIN
from slapd import BASE, Slapd, person
from wait import free_port, until

SLOW = ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]
FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]


def address(local):
    return f"{local}@{DOMAIN}"


def people(*locals_, flag="A"):
    return "".join(person(x, proxyAddresses=f"SMTP:{address(x)}", mailNickname=x, extensionAttribute1=flag)
                   for x in locals_)


class World:
    """A slapd and a relay that follows it, with the forests A and B."""

    def __init__(self, folder, relay, sinks):
        self.folder, self.make_relay, self.make_sink = folder, relay, sinks
        self.made = []
        self.slapd = self.relay = self.a = self.b = None

    def server(self, ldif, start=True, **kw):
        slapd = Slapd(self.folder / f"slapd{len(self.made)}", ldif, **kw)
        self.made.append(slapd)
        return slapd.start() if start else slapd

    def source(self, more="", ca=None, password="sync"):
        """The source section; the first server's."""
        file = self.folder / "password"
        file.write_text(password + "\n")
        slapd = self.slapd
        return f"""source "ldap" {{
    type = openldap
    uri = {{ "{slapd.uri}" }}
    tls = starttls
    ca_file = "{ca or slapd.folder / 'ca.pem'}"
    bind_dn = "cn=sync,{BASE}"
    password_file = "{file}"
    base = "{BASE}"
    filter = "(objectClass=mailRecipient)"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
    backoff_min = 100ms
    backoff_max = 500ms
    {more if "grace" in more else more + " grace = 0"}
}}
"""

    def up(self, ldif, queue=None, more="", start_slapd=True, wait=True, **kw):
        self.slapd = self.server(ldif, start=start_slapd)
        self.a, self.b = self.make_sink(), self.make_sink()
        self.relay = self.make_relay(forests={"A": [self.a.port], "B": [self.b.port]}, source=self.source(more, **kw),
                                     sections={"queue": queue or FAST}).start()
        if wait:
            self.until_state("current")
        return self

    def again(self, **kw):
        """The relay with another source section, at its next start."""
        self.relay.source = self.source(**kw)
        self.relay.write_conf()

    def state(self):
        return self.relay.ask("directory.status")["items"][0]

    def until_state(self, *states):
        until(lambda: f"the source to be {states}: {self.state()}", lambda: self.state()["state"] in states)

    def until_goes(self, local, forest):
        until(f"{local} to move to {forest}", lambda: self.relay.goes_to(local) == f"forest:{forest}")

    def rcpt(self, local):
        """What RCPT is answered with."""
        with Client(self.relay.port) as c:
            assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
            return c.cmd(f"RCPT TO:<{address(local)}>")

    def send(self, key, *locals_):
        with Client(self.relay.port) as c:
            assert c.send("s@sender.test", [address(x) for x in locals_], message(key))[0] == 250

    def stop(self):
        for slapd in self.made:
            if slapd.process is not None:
                slapd.send(signal.SIGCONT)
            slapd.stop(signal.SIGKILL)


@pytest.fixture
def world(tmp_path, relay, sinks):
    w = World(tmp_path, relay, sinks)
    yield w
    w.stop()


def test_flag_moves_the_next_mail(world):
    w = world.up(people("anna", "bob"))
    w.send("before", "anna", "bob")
    w.a.wait(1)
    w.slapd.modify("anna", extensionAttribute1="B")
    w.until_goes("anna", "B")
    w.send("after", "anna", "bob")
    w.b.wait(1)
    w.a.wait(2)
    assert sorted(w.a.keys()) == [("after", address("bob")), ("before", address("anna")), ("before", address("bob"))]
    assert w.b.keys() == [("after", address("anna"))]
    w.slapd.delete("bob")
    until("bob to be refused", lambda: w.rcpt("bob")[0] == 550)
    w.slapd.add("carl", proxyAddresses=f"SMTP:{address('carl')}", extensionAttribute1="B")
    until("carl to be known", lambda: w.rcpt("carl")[0] == 250)


def test_flag_moves_queued_mail_and_wakes_nothing_else(world):
    """A is away. What waits for anna goes to B at the flip, at once; the mail of the others is not even tried."""
    w = world.up(people("anna", "bob", "carl"), queue=SLOW)
    w.a.stop()
    for i in range(10):
        w.send(f"anna{i}", "anna")
        w.send(f"bob{i}", "bob")
        w.send(f"both{i}", "anna", "carl")

    def waits():
        return all(m["state"] in ("waiting", "parked") for m in w.relay.ask("queue.list")["items"])
    until("all to wait", lambda: w.relay.queue_length() == 30 and waits())
    before = {m["id"]: m for m in w.relay.ask("queue.list")["items"]}
    w.slapd.modify("anna", extensionAttribute1="B")
    w.b.wait(20, 20)
    assert sorted(w.b.keys()) == sorted([(f"anna{i}", address("anna")) for i in range(10)] +
                                        [(f"both{i}", address("anna")) for i in range(10)])
    until("anna's own to be gone", lambda: w.relay.queue_length() == 20)
    until("the rest to wait again", waits)
    left = w.relay.ask("queue.list", rcpt=address("bob"))["items"]
    assert len(left) == 10
    for m in left:
        assert m["attempts"] == before[m["id"]]["attempts"], "mail that the change does not concern was woken"
    w.a.start()
    w.relay.retry_all()
    w.relay.wait_empty()
    assert sorted(w.a.keys()) == sorted([(f"bob{i}", address("bob")) for i in range(10)] +
                                        [(f"both{i}", address("carl")) for i in range(10)])
    assert len(w.b.keys()) == 20


def test_server_dies_and_comes_back(world):
    """Known recipients as before, unknown ones 550 while the view is fresh; afterwards it catches up, with what was
    deleted while nobody was connected."""
    w = world.up(people("anna", "bob", "gone"), more="stale_after = 1h")
    w.slapd.stop(signal.SIGKILL)
    w.until_state("failing")
    assert w.rcpt("nobody")[0] == 550
    w.send("down", "anna", "gone")
    w.a.wait(1)
    code, text = w.relay.ctl("directory")
    assert code == 0 and "failing" in text and "connect" in text, text
    alarm = w.relay.alarms()["failing"]
    assert alarm["about"] == "ldap" and "its last complete state is used" in alarm["text"], alarm
    w.slapd.start()
    w.slapd.delete("gone")
    w.slapd.modify("bob", extensionAttribute1="B")
    w.slapd.add("new", proxyAddresses=f"SMTP:{address('new')}", extensionAttribute1="A")
    until("bob to be in B", lambda: w.relay.goes_to("bob") == "forest:B")
    until("gone to be unknown", lambda: w.rcpt("gone")[0] == 550)
    until("new to be known", lambda: w.rcpt("new")[0] == 250)
    w.until_state("current")
    w.relay.until_no_alarm()
    w.slapd.stop()
    w.until_state("failing")
    assert w.rcpt("gone")[0] == 550
    w.slapd.start()
    w.until_state("current")


def test_deletions_while_the_relay_was_not_connected(world):
    """Whatever slapd remembers of its session: nobody who was deleted is still delivered to."""
    w = world.up(people("anna", "bob", "gone", "late"))
    assert w.relay.terminate() == 0
    w.slapd.delete("gone")
    w.slapd.stop()
    w.slapd.start()  # forgets its session log: a present phase
    w.relay.start()
    until("gone to be unknown", lambda: w.rcpt("gone")[0] == 550)
    assert w.rcpt("anna")[0] == 250
    w.relay.kill()
    w.slapd.delete("late")
    w.relay.start()
    until("late to be unknown", lambda: w.rcpt("late")[0] == 550)
    assert w.rcpt("bob")[0] == 250


def test_mail_flows_while_the_server_dies(world):
    w = world.up(people("anna", "bob"))
    load = Load(w.relay.port)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        until("some mail", lambda n=len(load.accepted): len(load.accepted) > n + 20)
        w.slapd.stop(number)
        until("more mail", lambda n=len(load.accepted): len(load.accepted) > n + 20)
        w.slapd.start()
        w.until_state("current")
    load.stop()
    assert load.cut == [] and load.refused == []
    assert sum(all_delivered(w.a, load, w.relay).values()) == len(load.accepted)


def test_unknown_recipients_once_the_view_is_old(world):
    w = world.up(people("anna"), more="stale_after = 2s")
    until("550", lambda: w.rcpt("nobody")[0] == 550)
    w.slapd.stop(signal.SIGKILL)
    until("451 for the unknown", lambda: w.rcpt("nobody")[0] == 451)
    code, text = w.rcpt("nobody")
    assert "4.3.0" in text and "ldap" in text, text
    assert w.rcpt("anna")[0] == 250
    w.until_state("stale")
    alarm = w.relay.alarms()["stale"]
    assert alarm["about"] == "ldap" and "451" in alarm["text"], alarm
    w.send("stale", "anna")
    w.a.wait(1)
    w.slapd.start()
    until("550 again", lambda: w.rcpt("nobody")[0] == 550)
    w.relay.until_no_alarm()


def test_server_hangs(world):
    """It answers nothing, with its connection open: that is no proof that nothing changed."""
    w = world.up(people("anna"), more="stale_after = 3s")
    until("550", lambda: w.rcpt("nobody")[0] == 550)
    w.slapd.send(signal.SIGSTOP)
    until("451 for the unknown", lambda: w.rcpt("nobody")[0] == 451)
    assert w.rcpt("anna")[0] == 250
    w.slapd.send(signal.SIGCONT)
    until("550 again", lambda: w.rcpt("nobody")[0] == 550)


@pytest.mark.parametrize("stale_after,code", [("1h", 550), ("1s", 451)])
@pytest.mark.parametrize("how", ["clean", "kill"])
def test_relay_starts_with_the_server_down(world, stale_after, code, how):
    """It works from its snapshot; unknown recipients by the age of it."""
    w = world.up(people("anna", "bob"))
    w.slapd.modify("bob", extensionAttribute1="B")  # in the journal, not in the snapshot
    w.until_goes("bob", "B")
    w.relay.terminate() if how == "clean" else w.relay.kill()
    w.slapd.stop()
    w.again(more=f"stale_after = {stale_after}")
    w.relay.start()
    w.until_state("failing", "stale")
    w.send("snapshot", "anna", "bob")
    w.a.wait(1)
    w.b.wait(1)
    until(f"{code} for the unknown", lambda: w.rcpt("nobody")[0] == code)


def test_never_synced(world):
    """Nobody can be said not to exist."""
    w = world.up(people("anna"), start_slapd=False, wait=False)
    w.until_state("failing")
    for local in ("anna", "nobody"):
        code, text = w.rcpt(local)
        assert code == 451 and "4.3.0" in text, (code, text)
    w.slapd.start()
    until("anna to be known", lambda: w.rcpt("anna")[0] == 250)
    until("550", lambda: w.rcpt("nobody")[0] == 550)


def test_wrong_password(world):
    w = world.up(people("anna"), wait=False, password="wrong")
    until("the reason", lambda: "refused bind_dn" in w.state()["last_error"])
    assert w.rcpt("anna")[0] == w.rcpt("nobody")[0] == 451
    code, text = w.relay.ctl("directory")
    assert code == 0 and "refused bind_dn" in text, text
    (w.folder / "password").write_text("sync\n")  # no reload: the file is read at each attempt
    until("anna to be known", lambda: w.rcpt("anna")[0] == 250)


def test_wrong_password_later(world):
    """After it worked once: as a server that is down."""
    w = world.up(people("anna"))
    assert w.relay.terminate() == 0
    w.again(password="wrong")
    w.relay.start()
    w.until_state("failing")
    assert w.rcpt("anna")[0] == 250
    assert w.rcpt("nobody")[0] == 550


def test_wrong_ca(world):
    """A server that cannot prove who it is gets no password and is not believed."""
    w = world
    other = w.server(people("anna"), start=False)
    w.up(people("anna"), wait=False, ca=other.folder / "ca.pem")
    until("the reason", lambda: "StartTLS" in w.state()["last_error"])
    assert w.rcpt("anna")[0] == 451
    w.relay.source = w.source()
    w.relay.write_conf()
    assert w.relay.ctl("reload")[0] == 0
    until("anna to be known", lambda: w.rcpt("anna")[0] == 250)


def test_mass_deletion_waits_for_a_person(world):
    """More than mass_change_percent of the entries are gone: mail goes on to them until somebody agrees."""
    names = [f"m{i:02d}" for i in range(40)]
    w = world.up(people("anna", *names), more="mass_change_percent = 20")
    assert w.relay.terminate() == 0
    w.slapd.delete(*names)
    w.relay.start()
    until("the report", lambda: "mass_change_percent" in w.state()["last_error"])
    code, text = w.relay.ctl("directory")
    assert code == 0 and "mass_change_percent" in text, text
    w.send("kept", "m01")
    w.a.wait(1)
    w.again(more="mass_change_percent = 100")
    assert w.relay.ctl("reload")[0] == 0
    until("the deletion to be in force", lambda: w.rcpt("m39")[0] == 550)
    assert w.rcpt("anna")[0] == 250


def test_mass_deletion_one_by_one(world):
    """The same by a script that deletes one entry after the other while we are connected."""
    names = [f"m{i:02d}" for i in range(60)]
    w = world.up(people("anna", *names), more="mass_change_percent = 20")
    w.slapd.modify("m59", extensionAttribute1="B")  # moving is no loss, however many
    w.slapd.delete(*names[:50])
    until("the report", lambda: "mass_change_percent" in w.state()["last_error"])
    assert "held" in w.relay.ctl("directory")[1]
    kept = [x for x in names[:50] if w.rcpt(x)[0] == 250]
    assert len(kept) >= 50 - 61 * 20 // 100, kept
    assert w.state()["entries"] == 11 + len(kept)
    w.again(more="mass_change_percent = 100")
    assert w.relay.ctl("reload")[0] == 0
    until("the deletion to be in force", lambda: w.rcpt("m49")[0] == 550)
    assert [x for x in names if w.rcpt(x)[0] == 250] == names[50:]


def test_many_moves_one_by_one(world):
    """A script that cuts everybody over is what all this is for."""
    names = [f"m{i:02d}" for i in range(40)]
    w = world.up(people(*names), more="mass_change_percent = 20")
    for x in names:
        w.slapd.modify(x, extensionAttribute1="B")
    w.until_goes("m39", "B")
    assert w.state()["last_error"] == ""
    assert all(w.relay.goes_to(x) == "forest:B" for x in names)
