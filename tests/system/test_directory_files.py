"""Directories without a server: CSV files that are swapped, and a manual source that is told by causewayctl. A flip
moves mail, a bad file or request changes nothing, what was taken survives."""
import os
import threading

import pytest

from client import Client, message
from relay import DOMAIN
from wait import until

FLAGS = 'flag_values = { "A = A", "B = B" }'
SLOW = ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]


def address(local):
    return f"{local}@{DOMAIN}"


class World:
    """A relay with the forests A and B, and a source."""

    def __init__(self, relay, sinks, source):
        self.a, self.b = sinks(), sinks()
        self.relay = relay(forests={"A": [self.a.port], "B": [self.b.port]}, source=source,
                           sections={"queue": SLOW}).start()

    def state(self):
        return self.relay.ask("directory.status")["items"][0]

    def until_state(self, wanted):
        until(lambda: f"the source to be {wanted}: {self.state()}", lambda: self.state()["state"] == wanted)

    def until_goes(self, local, forest):
        until(f"{local} to be in {forest}", lambda: self.goes(local) == f"forest:{forest}")

    def goes(self, local):
        return self.relay.goes_to(local)

    def rcpt(self, local):
        with Client(self.relay.port) as c:
            assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
            return c.cmd(f"RCPT TO:<{address(local)}>")

    def send(self, key, local):
        with Client(self.relay.port) as c:
            assert c.send("s@sender.test", [address(local)], message(key))[0] == 250

    def tell(self, *words):
        """A causewayctl command that succeeds; its output."""
        code, text = self.relay.ctl("directory", *words)
        assert code == 0, text
        return text


# ---- csv ----

class Export:
    """As Exchange's Export-Csv writes it."""

    def __init__(self, folder):
        self.path = folder / "recipients.csv"
        self.people = {"ann": "A", "bob": "B"}
        self.write()

    def source(self, more=""):
        return (f'source "export" {{\n    type = csv\n    path = "{self.path}"\n'
                f'    flag_attribute = "CustomAttribute1"\n    {FLAGS}\n    mass_change_percent = 100\n    grace = 0\n    {more}\n}}\n')

    def write(self, more=""):
        new = self.path.with_suffix(".new")
        rows = "".join(f'"{address(p)}","SMTP:{address(p)},smtp:{address(p + ".old")}","UserMailbox","{f}"\r\n'
                       for p, f in self.people.items())
        new.write_text("#TYPE Selected.Microsoft.Exchange.Data.Directory.Management.ReducedRecipient\r\n"
                       '"PrimarySmtpAddress","EmailAddresses","RecipientTypeDetails","CustomAttribute1"\r\n'
                       + rows + more, encoding="utf-8-sig", newline="")
        os.rename(new, self.path)


@pytest.fixture
def export(tmp_path):
    return Export(tmp_path)


def test_csv_flip_moves_mail(relay, sinks, export):
    """Also what waits: A is away, and ann's mail follows her to B when the file is swapped."""
    w = World(relay, sinks, export.source())
    w.until_state("current")
    w.send("one", "ann.old")
    w.a.wait(1)
    until("the relay to know it", lambda: not w.relay.ask("queue.list")["items"])
    w.a.stop()
    w.send("two", "ann")
    until("it to wait", lambda: w.relay.ask("queue.list")["items"][0]["state"] in ("waiting", "parked"))
    export.people["ann"] = "B"
    export.people["eve"] = "A"
    del export.people["bob"]
    export.write()
    w.b.wait(1)
    assert w.b.keys() == [("two", address("ann"))]
    w.until_goes("eve", "A")
    assert w.rcpt("bob")[0] == 550 and w.rcpt("ann.old")[0] == 250


@pytest.mark.parametrize("bad, said", [
    ('"eve@example.test","","UserMailbox"\r\n', "line 5: 3 values, but the header has 4 columns"),
    ('"eve","","UserMailbox","A"\r\n', 'line 5: column 1 (PrimarySmtpAddress): "eve" is no usable address'),
    ('"eve@example.test","eve","UserMailbox","A"\r\n', 'line 5: column 2 (EmailAddresses): "eve" is no address'),
    ('"ann@example.test","","UserMailbox","A"\r\n', "line 5: this entry is in the file twice (same primary address)"),
    ('"eve@example.test","smtp:e@example.test\r\n', "line 5, column 2: a quoted value without an end"),
])
def test_csv_with_a_bad_line_changes_nothing(relay, sinks, export, bad, said):
    w = World(relay, sinks, export.source())
    w.until_state("current")
    export.people["ann"] = "B"
    export.write(bad)
    w.until_state("failing")
    assert f"recipients.csv: {said}" in w.state()["last_error"]
    assert w.goes("ann") == "forest:A"
    export.write()
    w.until_goes("ann", "B")
    w.until_state("current")


@pytest.mark.parametrize("limit, said", [
    ("entries_max = 2", "line 5: more entries than entries_max = 2 allows"),
    ("line_max = 1K", "line 5: longer than line_max = 1024 octets allow"),
    ("file_max = 64K", "longer than file_max = 65536 octets allow"),
    ("addresses_max = 4", "eve@example.test has 5 addresses, more than addresses_max = 4 allows"),
])
def test_csv_beyond_a_limit_changes_nothing(relay, sinks, export, limit, said):
    w = World(relay, sinks, export.source(limit))
    w.until_state("current")
    export.people["ann"] = "B"
    row = '"eve@example.test","' + ";".join(f"smtp:e{i}@example.test" for i in range(4)) + '","UserMailbox","A"\r\n'
    export.write({"line_max": row.replace("UserMailbox", "x" * 1000),
                  "file_max": "\r\n" * 40000}.get(limit.split(" ")[0], row))
    w.until_state("failing")
    assert said in w.state()["last_error"]
    assert w.goes("ann") == "forest:A"


def test_csv_restart_without_the_file(relay, sinks, export):
    w = World(relay, sinks, export.source())
    w.until_state("current")
    assert w.relay.terminate() == 0
    os.unlink(export.path)
    w.relay.start()
    w.until_state("failing")
    assert w.goes("ann") == "forest:A" and w.goes("bob") == "forest:B"
    assert w.rcpt("nobody")[0] == 550
    w.send("one", "ann")
    w.a.wait(1)


# ---- manual ----

MANUAL = f'source "tenant" {{\n    type = manual\n    forest = "B"\n    {FLAGS}\n}}\n'


def test_manual_source_is_told(relay, sinks):
    w = World(relay, sinks, MANUAL)
    assert w.rcpt("ann")[0] == 451, "it was never filled"
    assert w.tell("upsert", "tenant", address("ann"), "--proxy", address("a"), "--proxy", "X500:/o=x/cn=ann",
                  "--flag", "A") == "done\n"
    assert w.goes("ann") == w.goes("a") == "forest:A"
    assert w.rcpt("bob")[0] == 550
    w.a.stop()
    w.send("waits", "a")
    until("it to wait", lambda: w.relay.ask("queue.list")["items"][0]["state"] in ("waiting", "parked"))
    w.tell("upsert", "tenant", address("ann"), "--proxy", address("a"))
    w.b.wait(1)
    assert w.tell("upsert", "tenant", address("ann"), "--proxy", address("a")) == "as it was\n"
    code, text = w.relay.ctl("directory", "delete", "tenant", address("a"))
    assert code == 1 and f"{address('a')} is an address of {address('ann')}" in text
    assert w.tell("delete", "tenant", address("ann")) == "deleted\n"
    assert w.rcpt("ann")[0] == 550
    code, text = w.relay.ctl("directory", "delete", "tenant", address("ann"))
    assert code == 1 and "has no recipient" in text
    for words, said in [(["upsert", "tenant", "ann"], "must be an address"),
                        (["upsert", "nobody", address("ann")], 'there is no source "nobody"'),
                        (["upsert", "tenant", address("ann"), "--kind", "box"], "must be mailbox, mail-user"),
                        (["upsert", "tenant", address("ann"), "--proxy", "a"], '(proxyAddresses): "a" is no address')]:
        code, text = w.relay.ctl("directory", *words)
        assert code == 1 and said in text, text


def test_manual_load(relay, sinks, tmp_path):
    """Longer than a request; a bad row at its end changes nothing."""
    w = World(relay, sinks, MANUAL)
    file = tmp_path / "tenant.csv"
    rows = [f'{address(f"user{i}")},"smtp:{address(f"u{i}")}; smtp:{address(f"{i}")}",mailbox' for i in range(50000)]

    def write():
        file.write_text("address,proxies,kind\n" + "".join(r + "\n" for r in rows))
    rows.append("user50000,,mailbox")
    write()
    code, text = w.relay.ctl("directory", "load", "tenant", str(file))
    assert code == 1 and f'{file}: line 50002: column 1 (address): "user50000" is no usable address' in text
    assert w.rcpt("user0")[0] == 451
    rows.pop()
    write()
    assert w.tell("load", "tenant", str(file), "--dry-run") == "50000 recipients, 0 of them new or changed\n"
    assert w.rcpt("user0")[0] == 451
    assert w.tell("load", "tenant", str(file)) == "50000 recipients, 50000 of them new or changed\n"
    assert w.tell("load", "tenant", str(file)) == "50000 recipients, 0 of them new or changed\n"
    assert w.goes("u49999") == "forest:B" and w.rcpt("user50000")[0] == 550
    assert w.state()["entries"] == 50000 and w.state()["addresses"] == 150000


def test_manual_survives_a_restart_and_kill(relay, sinks):
    """What was answered is there after kill -9 in the middle of the next requests."""
    w = World(relay, sinks, MANUAL)
    w.tell("upsert", "tenant", address("first"))
    assert w.relay.terminate() == 0
    w.relay.start()
    assert w.goes("first") == "forest:B" and w.rcpt("nobody")[0] == 550
    done = []

    def tell():
        for i in range(100000):
            try:
                w.relay.ask("directory.upsert", source="tenant", address=address(f"p{i}"))
            except OSError:
                return
            done.append(i)
    teller = threading.Thread(target=tell)
    teller.start()
    until("some to be told", lambda: len(done) > 100)
    w.relay.kill()
    teller.join()
    w.relay.start()
    entries = w.state()["entries"]
    assert len(done) + 1 <= entries <= len(done) + 2
    assert w.goes(f"p{done[-1]}") == "forest:B"
