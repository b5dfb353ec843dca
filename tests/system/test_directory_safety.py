"""What a directory's mistakes must not become: mass changes wait for a person, what vanished routes on for a while,
contradictions are told. With LDIF files, and with a slapd."""
import os
import signal

import pytest

from client import Client, message
from relay import DOMAIN
from slapd import BASE, Slapd, person
from wait import until

NAMES = [f"m{i:02d}" for i in range(60)]


def address(local):
    return f"{local}@{DOMAIN}"


def rcpt(relay, local):
    with Client(relay.port) as c:
        assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
        return c.cmd(f"RCPT TO:<{address(local)}>")[0]


def send(relay, key, local):
    with Client(relay.port) as c:
        assert c.send("s@sender.test", [address(local)], message(key))[0] == 250


def state(relay, name="people"):
    return next(s for s in relay.ask("directory.status")["items"] if s["name"] == name)


def until_held(relay, vanish, name="people"):
    until(lambda: f"{vanish} to be held: {state(relay, name)}",
          lambda: state(relay, name).get("held", {}).get("vanish") == vanish)


class Stage:
    """A relay with the forests A and B and an LDIF source; everybody is in A."""

    def __init__(self, relay, sinks):
        self.a, self.b = sinks(), sinks()
        self.relay = relay(forests={"A": [self.a.port], "B": [self.b.port]}, people=dict.fromkeys(NAMES, "A"))

    def up(self, more="grace = 7d", start=True):
        self.relay.source = self.source("people", self.relay.ldif, more)
        self.relay.write_conf()
        if start:
            self.relay.start()
        return self.relay

    @staticmethod
    def source(name, path, more=""):
        return (f'source "{name}" {{\n type = ldif\n path = "{path}"\n flag_attribute = "extensionAttribute1"\n'
                f' flag_values = {{ "A = A", "B = B" }}\n {more}\n}}\n')

    def keep(self, *names):
        """The file names only these from now on."""
        self.relay.people = dict.fromkeys(names, "A")
        self.relay.write_ldif()


@pytest.fixture
def stage(relay, sinks):
    return Stage(relay, sinks)


def test_half_a_file(stage):
    """Held, and mail goes on to those it does not name; what was shown is accepted, and they route on through the
    grace period; then they are unknown."""
    r = stage.up("grace = 3s")
    stage.keep(*NAMES[:30], "new")
    until_held(r, 30)
    assert rcpt(r, "new") == 451 and rcpt(r, "nobody") == 550  # somebody may have to agree to her, too
    send(r, "while held", NAMES[59])
    stage.a.wait(1)
    s = state(r)
    assert s["state"] == "held" and s["entries"] == 60 and s["held"]["entries"] == 60
    alarm = r.alarms()["held"]
    assert alarm["command"] == "causewayctl directory pending people" and "30 of 60" in alarm["text"]
    code, text = r.ctl("status")
    assert code == 0 and "ATTENTION" in text and "directory pending people" in text, text
    assert r.log().count("directory-mass-change-held") == 1

    code, text = r.ctl("directory", "pending", "people")
    assert code == 0 and text.count("vanishes") == 20 and "30 of 60 entries vanish, 0 move" in text, text
    shown = r.ctl_json("directory", "pending", "people")
    assert sorted(a["address"] for a in shown["addresses"]) == [address(x) for x in NAMES[30:]]
    assert {(a["what"], a["from"], a["to"]) for a in shown["addresses"]} == {("vanishes", "A", "")}
    assert shown["complete"] and shown["vanish"] == 30

    code, text = r.ctl("directory", "accept", "people")
    assert code == 0 and "applied, with generation" in text, text
    s = state(r)
    assert s["entries"] == 31 and s["vanished"] == 30 and "held" not in s
    assert "held" not in r.alarms() and "30 entries" in r.alarms()["vanished"]["text"]
    assert "directory-vanished entries=30" in r.log()
    send(r, "in its grace period", NAMES[59])
    stage.a.wait(2)
    why = " ".join(r.ask("explain", address=address(NAMES[59]))["reasons"])
    assert "vanished at" in why and "routes until" in why, why
    assert r.ask("directory.lookup", address=address(NAMES[59]))["claims"][0]["routes_until"]
    until("the grace period to end", lambda: rcpt(r, NAMES[59]) == 550)
    assert rcpt(r, NAMES[0]) == 250 and rcpt(r, "new") == 250 and state(r)["vanished"] == 0


def test_held_over_restarts(stage):
    """Neither a clean stop nor a kill, with or without the file, applies or forgets it."""
    r = stage.up("grace = 0")
    stage.keep(*NAMES[:20])
    until_held(r, 40)
    r.kill()
    r.start(directory=False)
    until_held(r, 40)
    assert rcpt(r, NAMES[50]) == 250
    assert r.terminate() == 0
    os.rename(r.ldif, r.ldif + ".away")
    r.start(directory=False)
    until_held(r, 40)
    assert rcpt(r, NAMES[50]) == 250
    assert len(r.ctl_json("directory", "pending", "people")["addresses"]) == 40
    assert r.ctl("directory", "accept", "people")[0] == 0  # though the file is not there
    until("it to be in force", lambda: rcpt(r, NAMES[50]) == 550)
    os.rename(r.ldif + ".away", r.ldif)
    until("the file to be read", lambda: state(r)["state"] == "current")
    assert state(r)["entries"] == 20
    r.kill()
    r.start(directory=False)
    assert rcpt(r, NAMES[50]) == 550 and "held" not in state(r)


def test_mended_file(stage):
    """Somebody sees to the file instead: nothing is left to decide."""
    r = stage.up("grace = 0")
    stage.keep(*NAMES[:20])
    until_held(r, 40)
    stage.keep(*NAMES, "new")
    until("the source to go on", lambda: state(r)["state"] == "current")
    assert rcpt(r, "new") == 250 and rcpt(r, NAMES[59]) == 250 and state(r)["entries"] == 61
    assert "taken it back" in r.log()


def test_empty_file(stage):
    r = stage.up("grace = 0\n mass_change_percent = 100")
    with open(r.ldif + ".new", "w"):
        pass
    os.rename(r.ldif + ".new", r.ldif)
    until_held(r, 60)
    assert rcpt(r, NAMES[0]) == 250


def test_grown_since_it_was_shown(stage):
    r = stage.up("grace = 0")
    stage.keep(*NAMES[:40])
    until_held(r, 20)
    assert r.ctl("directory", "pending", "people")[0] == 0
    stage.keep(*NAMES[:20])
    until_held(r, 40)
    code, text = r.ctl("directory", "accept", "people")
    assert code == 1 and "it has grown since it was shown" in text, text
    stage.keep(*NAMES[:45])  # less than was shown is no surprise
    until_held(r, 15)
    assert r.ctl("directory", "accept", "people")[0] == 0
    assert state(r)["entries"] == 45
    code, text = r.ctl("directory", "accept", "people")
    assert code == 1 and "not held" in text, text
    code, text = r.ctl("directory", "pending", "nobody")
    assert code == 1 and "no directory source" in text, text


def test_a_planned_wave(stage):
    """Moves, too, are held when they come in one step; said in advance, they are not."""
    r = stage.up("grace = 0\n mass_change_count = 15")
    for x in NAMES[:16]:
        r.people[x] = "B"
    r.write_ldif()
    until("it to be held", lambda: state(r).get("held", {}).get("move") == 16)
    shown = r.ctl_json("directory", "pending", "people")
    assert {(a["what"], a["from"], a["to"]) for a in shown["addresses"]} == {("moves", "A", "B")}
    assert r.goes_to(NAMES[0]) == "forest:A"
    code, text = r.ctl("directory", "accept", "people", "--next")
    assert code == 1 and "held already" in text, text
    assert r.ctl("directory", "accept", "people")[0] == 0
    assert r.goes_to(NAMES[0]) == "forest:B"
    assert r.ctl("directory", "accept", "people", "--next")[0] == 0
    until("it to be known", lambda: state(r).get("accepts_next"))
    for x in NAMES[16:40]:
        r.people[x] = "B"
    r.write_ldif()
    until("they to move", lambda: r.goes_to(NAMES[39]) == "forest:B")
    until("that to be used up", lambda: "accepts_next" not in state(r))
    for x in NAMES[:40]:
        r.people[x] = "A"
    r.write_ldif()
    until("the next to be held", lambda: state(r).get("held", {}).get("move") == 40)


def test_raised_limits(stage):
    r = stage.up("grace = 0")
    stage.keep(*NAMES[:20])
    until_held(r, 40)
    stage.up("grace = 0\n mass_change_percent = 70", start=False)
    assert r.ctl("reload")[0] == 0
    until("it to be in force", lambda: rcpt(r, NAMES[59]) == 550)
    until("the status to follow", lambda: state(r)["entries"] == 20)


def test_other_sources_go_on(stage):
    """One is held, the other one's flips come through; and an address that vanished here and appears there is there."""
    r = stage.relay
    other = os.path.join(r.dir, "other.ldif")

    def write_other(*flags):
        with open(other + ".new", "w", encoding="utf-8") as f:
            for local, flag in flags:
                f.write(f"dn: cn={local},dc=other,dc=test\nobjectClass: inetOrgPerson\nmail: {address(local)}\n"
                        f"proxyAddresses: SMTP:{address(local)}\nextensionAttribute1: {flag}\n\n")
        os.rename(other + ".new", other)
    write_other(("carl", "A"))
    r.source = (stage.source("people", r.ldif, "grace = 1h\n mass_change_percent = 50") +
                stage.source("other", other, "grace = 1h"))
    r.write_conf()
    r.start()
    until("carl to be known", lambda: r.knows("carl"))
    stage.keep(*NAMES[:20])
    until_held(r, 40)
    write_other(("carl", "B"), (NAMES[59], "B"))
    until("carl to move", lambda: r.goes_to("carl") == "forest:B")
    until("the conflict to be told", lambda: state(r, "other")["conflicts"] == 1)
    assert "directory-conflict address=m59@" in r.log() and "conflicts" in r.alarms()
    shown = {a["address"]: a["to"] for a in r.ctl_json("directory", "pending", "people")["addresses"]}
    assert shown[address(NAMES[59])] == "B" and shown[address(NAMES[58])] == ""
    assert r.ctl("directory", "accept", "people")[0] == 0
    assert r.goes_to(NAMES[59]) == "forest:B" and r.goes_to(NAMES[58]) == "forest:A"
    until("the alarm to end with the conflict", lambda: "conflicts" not in r.alarms())
    assert r.ask("directory.lookup", address=address(NAMES[59]))["found"] == "found"


# ---- change by change ----

@pytest.fixture
def followed(relay, sinks, tmp_path):
    """A relay that follows a slapd with NAMES in forest A."""
    slapd = Slapd(tmp_path / "slapd", "".join(
        person(x, proxyAddresses=f"SMTP:{address(x)}", extensionAttribute1="A") for x in NAMES)).start()
    password = tmp_path / "password"
    password.write_text("sync\n")
    r = relay(forests={"A": [sinks().port], "B": [sinks().port]}, source=f"""source "ldap" {{
    type = openldap
    uri = {{ "{slapd.uri}" }}
    ca_file = "{slapd.folder / 'ca.pem'}"
    bind_dn = "cn=sync,{BASE}"
    password_file = "{password}"
    base = "{BASE}"
    filter = "(objectClass=mailRecipient)"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
    backoff_min = 100ms
    backoff_max = 500ms
    grace = 0
}}
""")
    r.start()
    until("the first sync", lambda: state(r, "ldap")["state"] == "current")
    yield r, slapd
    slapd.stop(signal.SIGKILL)


def test_deleted_one_by_one(followed):
    """Held on the way; what is shown grows with it; all of it is accepted at once, and later changes come through."""
    r, slapd = followed
    slapd.delete(*NAMES[:40])
    slapd.modify(NAMES[50], extensionAttribute1="B")
    until("it to be held", lambda: "held" in state(r, "ldap"))
    held = state(r, "ldap")["held"]["lately"]
    until("all of it to be shown", lambda: r.ask("directory.pending", source="ldap")["vanish"] == 40 - held)
    until("the move to be shown", lambda: r.ask("directory.pending", source="ldap")["move"] == 1)
    assert r.goes_to(NAMES[50]) == "forest:A"
    assert r.ctl("directory", "accept", "ldap")[0] == 0
    assert r.goes_to(NAMES[50]) == "forest:B"
    assert state(r, "ldap")["entries"] == 20
    slapd.modify(NAMES[51], extensionAttribute1="B")
    until("the next change", lambda: r.goes_to(NAMES[51]) == "forest:B")
    until("it to be current", lambda: state(r, "ldap")["state"] == "current")


def test_restart_loop(followed):
    """A daemon that is killed again and again does not forget what was deleted step by step."""
    r, slapd = followed
    gone = 0
    while "held" not in state(r, "ldap"):
        assert gone < 40, state(r, "ldap")
        slapd.delete(*NAMES[gone:gone + 4])
        gone += 4
        until("it to be seen", lambda: "held" in state(r, "ldap") or state(r, "ldap")["entries"] == 60 - gone)
        r.kill()
        r.start(directory=False)
    assert gone == 16 and state(r, "ldap")["entries"] >= 60 - 15  # a quarter
    slapd.stop()
    r.kill()
    r.start(directory=False)
    assert "held" in state(r, "ldap")
    assert r.ctl("directory", "accept", "ldap")[0] == 0  # the server is away, and what it said is kept
    assert state(r, "ldap")["entries"] == 60 - 16
