"""Moving mailboxes by hand: waves, at a time and for a time, taken back, within blackout windows, over restarts."""
import getpass
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from client import Client, message
from dirwatch import source
from relay import DOMAIN
from samba_dc import ADMIN_PASSWORD, Samba
from slapd import BASE, Slapd, person
from wait import free_port, until

SLOW = ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]
MANY = int(os.environ.get("CAUSEWAY_TEST_MOVES", "2000"))


def address(local):
    return f"{local}@{DOMAIN}"


def send(r, *locals_):
    with Client(r.port) as c:
        for x in locals_:
            assert c.send("s@sender.test", address(x), message(f"for-{x}"))[0] == 250


def local_time(seconds):
    """A moment from now, as --at takes it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + seconds))


def forest_of(r, *locals_):
    return [r.goes_to(x).removeprefix("forest:") for x in locals_]


def until_in(r, forest, *locals_):
    until(lambda: f"{locals_} to be in {forest}: {forest_of(r, *locals_)}",
          lambda: forest_of(r, *locals_) == [forest] * len(locals_))


def waves(r, *args):
    return r.ctl_json("moves", *args).get("waves", [])


def states(r):
    return [w["state"] for w in waves(r)]


@pytest.fixture
def start(relay, sinks):
    """start(people=..., top=...) -> the relay; r.a is the sink of forest A, who is not there yet, r.b that of B."""
    def make(people=("anna", "bob", "carl"), top=(), **kw):
        port = free_port()
        b = sinks()
        r = relay(forests={"A": [port], "B": [b.port]}, people={x: "A" for x in people},
                  sections={"queue": SLOW, "": list(top), **kw})
        r.start()
        r.b = b
        return r
    return make


def test_a_wave_by_file(start, tmp_path):
    """Queued mail follows at once, all of it; the wave is in the journal with who and why."""
    r = start()
    send(r, "anna", "bob", "carl")
    until("the mail to wait for forest A", lambda: r.ask("queue.dests")["items"] and not r.b.keys())
    wave = tmp_path / "wave.csv"
    wave.write_text(f"# the pilot group\naddress,forest\n{address('anna')},B\n\n\"{address('Bob')}\";B\n{address('carl')}\n")
    code, text = r.ctl("move", "--file", str(wave), "--to", "B", "--why", "pilot, ticket 7")
    assert code == 0 and "wave 1: 3 addresses moved" in text and "causewayctl undo 1" in text, text
    r.b.wait(3)
    r.wait_empty()
    assert sorted(r.b.keys()) == [(f"for-{x}", address(x)) for x in ("anna", "bob", "carl")]
    w, = waves(r)
    assert (w["wave"], w["state"], w["forest"], w["addresses"], w["why"]) == (1, "active", "B", 3, "pilot, ticket 7")
    assert w["who"] == getpass.getuser() and w["generation"] == r.ask("directory.status")["generation"]
    listed = r.ctl_json("moves", "1")
    assert [(a["address"], a["forest"], a["previous"], a["state"]) for a in listed["addresses"]] == \
        [(address(x), "B", "", "active") for x in ("anna", "bob", "carl")]
    code, text = r.ctl("moves")
    assert code == 0 and "pilot, ticket 7" in text and "active" in text
    code, text = r.ctl("explain", address("anna"))
    assert code == 0 and "wave 1 by" in text and "pilot, ticket 7" in text
    assert re.search(r"wave-ordered.*wave=1.*addresses=3", r.log())
    journal = open(os.path.join(r.dir, "state", "overrides.journal"), encoding="utf-8").read()
    assert journal.count("\tset\t") == 3 and journal.count("\tcommit\t") == 1 and "pilot, ticket 7" in journal


@pytest.mark.parametrize("text, says", [
    (f"{address('anna')}\nbob\n", "line 2: not an address: \"bob\"; write user@example.org"),
    (f"{address('anna')},B,C\n", "line 1: there are more than two columns"),
    (f"\n\"{address('anna')}\n", "line 2: a quotation mark is not closed"),
    ("# nothing\naddress\n", "it has no address"),
    (f"{address('anna')},\n{address('bob')},Z\n", "no forest \"Z\" in the configuration; it has \"A\", \"B\""),
    (f"{address('anna')},A\n{address('ANNA')},B\n", "anna@example.test is there twice, with different forests"),
    (f"{address('anna')}\n{address('nobody')}\n", "1 of 2 addresses are not known to any directory; nothing was done"),
])
def test_a_wrong_file_changes_nothing(start, tmp_path, text, says):
    r = start()
    wave = tmp_path / "wave.csv"
    wave.write_text(text)
    code, out = r.ctl("move", "--file", str(wave), "--to", "B")
    assert code != 0 and says in out, out
    assert forest_of(r, "anna", "bob") == ["A", "A"] and waves(r) == []


def test_a_file_without_a_forest_needs_one(start, tmp_path):
    r = start()
    code, text = r.ctl("move", address("anna"))
    assert code == 1 and "to which forest? --to" in text
    code, text = r.ctl("move", "--to", "B")
    assert code == 1 and "move needs addresses" in text
    code, text = r.ctl("move", "--file", str(tmp_path / "none.csv"), "--to", "B")
    assert code == 2 and "none.csv" in text
    code, text = r.ctl("move", address("anna"), "--to", "B", "--at", "tomorrow")
    assert code == 2 and "--at tomorrow: must be a time like 18:00" in text
    code, text = r.ctl("move", address("anna"), "--to", "B", "--at", "2020-01-01 00:00")
    assert code == 1 and "is past" in text
    for args, says in ((["--for", "0"], "longer than 0"), (["--for", "4000d"], "at most ten years"),
                       (["--at", "9000-01-01 00:00"], "more than ten years away")):
        code, text = r.ctl("move", address("anna"), "--to", "B", *args)
        assert code == 1 and says in text, text
    with pytest.raises(LookupError, match="must be a moment like"):
        r.ask("move", addresses=[address("anna")], to="B", at="1970-01-01T00:00:00Z")
    assert waves(r) == [] and forest_of(r, "anna") == ["A"]


def test_dry_run(start):
    r = start()
    r.flip("carl", "B")
    generation = r.ask("directory.status")["generation"]
    code, text = r.ctl("move", *[address(x) for x in ("anna", "carl", "nobody")], "--to", "B", "--dry-run")
    assert code == 0, text
    lines = text.splitlines()
    assert re.search(r"anna@example\.test +A +B .*flag: the cutover flag names the forest", text), text
    assert re.search(r"carl@example\.test +B +B +is there already", text), text
    assert re.search(r"nobody@example\.test +- +B +not known", text), text
    assert "1 address would move" in text or "2 addresses would move" in text
    assert lines[-1] == "nothing was changed (--dry-run)"
    assert r.ask("directory.status")["generation"] == generation and waves(r) == []
    assert forest_of(r, "anna") == ["A"]


def test_there_already_and_unknown(start):
    """Who is there is left alone; unknown addresses move only by force."""
    r = start()
    code, text = r.ctl("move", address("anna"), "--to", "A")
    assert code == 0 and "nothing to move" in text and waves(r) == []
    code, text = r.ctl("move", address("nobody"), address("anna"), "--to", "B")
    assert code == 1 and "nobody@example.test" in text and "anna" not in text and waves(r) == []
    assert r.ctl("move", address("nobody"), address("anna"), "--to", "B", "--force")[0] == 0
    assert forest_of(r, "anna", "nobody") == ["B", "B"]


def test_undo(start):
    """A wave taken away leaves what was there before it, whatever came since."""
    r = start()
    assert r.ctl("undo")[0] == 1
    for who in (["anna", "bob"], ["anna"]):
        assert r.ctl("move", *map(address, who), "--to", "B" if len(who) == 2 else "A")[0] == 0
    assert forest_of(r, "anna", "bob") == ["A", "B"]
    code, text = r.ctl("undo", "1")
    assert code == 0 and "1 address taken back; 1 had been moved again since" in text, text
    assert forest_of(r, "anna", "bob") == ["A", "A"]
    code, text = r.ctl("undo", "1")
    assert code == 1 and "wave 1 is undone already" in text
    code, text = r.ctl("undo", "77")
    assert code == 1 and "there is no wave 77" in text
    assert r.ctl("undo")[0] == 0  # the second
    assert states(r) == ["undone", "undone"]
    send(r, "anna", "bob")
    assert r.ctl("move", address("anna"), address("bob"), "--to", "B")[0] == 0
    r.b.wait(2)
    assert r.ctl("undo", address("anna"))[0] == 0
    assert forest_of(r, "anna", "bob") == ["A", "B"]
    code, text = r.ctl("undo", address("anna"))
    assert code == 1 and "not moved by hand" in text
    r.kill()
    r.start()
    assert forest_of(r, "anna", "bob") == ["A", "B"] and states(r) == ["undone", "undone", "active"]
    assert [a["state"] for a in r.ctl_json("moves", "3")["addresses"]] == ["undone", "active"]
    assert [w["wave"] for w in waves(r, address("bob"))] == [1, 3]
    assert [w["wave"] for w in waves(r, "--limit", "2")] == [2, 3]
    assert [w["wave"] for w in waves(r, "--state", "active", "--who", getpass.getuser())] == [3]
    assert waves(r, "--who", "nobody") == []


def test_set_and_unset_are_moves(start):
    r = start()
    assert r.ctl("move", address("anna"), "--to", "B")[0] == 0
    assert r.ctl("set", address("anna"), "A", "--why", "back for a day")[0] == 0
    assert r.ctl("unset", address("anna"))[0] == 0
    assert forest_of(r, "anna") == ["A"] and r.ctl_json("explain", address("anna"))["rule"] == "directory"
    assert [w["forest"] for w in waves(r)] == ["B", "A", ""]
    assert r.ctl("undo")[0] == 0 and r.ctl_json("explain", address("anna"))["rule"] == "override"
    assert r.ctl("undo", "2")[0] == 0 and forest_of(r, "anna") == ["B"]


def test_at_a_time_and_for_a_time(start):
    """It begins and comes back by itself, and queued mail follows both times."""
    r = start()
    send(r, "anna")
    assert r.ctl("move", address("anna"), "--to", "B", "--at", local_time(4), "--for", "3s")[0] == 0
    w, = waves(r)
    assert w["state"] == "pending" and forest_of(r, "anna") == ["A"] and not r.b.keys()
    assert "moves to forest \"B\" at" in r.ctl("explain", address("anna"))[1]
    r.b.wait(1)
    w, = waves(r)
    assert w["state"] == "active" and w["generation"] > 0 and w["begun"] >= w["at"]
    assert "; back at" in r.ctl("explain", address("anna"))[1]
    until_in(r, "A", "anna")
    w, = waves(r)
    assert w["state"] == "expired" and w["ended"] >= w["until"] and w["ended_by"] == ""
    assert re.search("wave-begun.*wave=1", r.log()) and re.search("wave-over.*wave=1", r.log())


def test_what_comes_back_is_what_was_there(start):
    """A temporary move that ends beneath another changes nothing; the other then ends on what is left."""
    r = start()
    assert r.ctl("move", address("anna"), address("bob"), "--to", "B", "--for", "3s")[0] == 0
    assert r.ctl("move", address("anna"), "--to", "A", "--for", "6s")[0] == 0
    assert forest_of(r, "anna", "bob") == ["A", "B"]
    until_in(r, "A", "bob")
    assert forest_of(r, "anna") == ["A"] and states(r) == ["expired", "active"]
    until("the second to end", lambda: states(r) == ["expired", "expired"])
    assert r.ctl_json("explain", address("anna"))["rule"] == "directory"


def test_a_move_for_good_of_who_is_there_for_a_time(start):
    r = start()
    assert r.ctl("move", address("anna"), "--to", "B", "--for", "3s")[0] == 0
    assert r.ctl("move", address("anna"), "--to", "B")[0] == 0
    until("the first to end", lambda: states(r) == ["expired", "active"])
    assert forest_of(r, "anna") == ["B"]


def test_a_move_for_good_by_another_address(start):
    """An alias was moved for a time, and the person with it; the primary address is then moved for good."""
    r = start()
    with open(r.ldif, encoding="utf-8") as f:
        text = f.read()
    with open(r.ldif + ".new", "w", encoding="utf-8") as f:
        f.write(text.replace("mailNickname: anna\n", f"mailNickname: anna\nproxyAddresses: smtp:{address('alias')}\n"))
    os.rename(r.ldif + ".new", r.ldif)
    until("the alias", lambda: r.knows("alias"))
    assert r.ctl("move", address("alias"), "--to", "B", "--for", "3s")[0] == 0
    assert forest_of(r, "anna", "alias") == ["B", "B"]
    assert r.ctl("move", address("anna"), "--to", "B")[0] == 0
    until("the first to end", lambda: states(r) == ["expired", "active"])
    assert forest_of(r, "anna") == ["B"]


def test_a_pending_move_is_dropped(start):
    r = start()
    assert r.ctl("move", address("anna"), "--to", "B", "--at", local_time(4))[0] == 0
    code, text = r.ctl("undo")
    assert code == 0 and "dropped before its time" in text
    time.sleep(4)
    assert forest_of(r, "anna") == ["A"] and states(r) == ["undone"]


def test_restarts(start):
    """What was due while the relay was down is done at its start, and said; what is not yet due stays."""
    r = start()
    soon, end = local_time(5), time.time() + 7
    for args in (["anna", "--at", soon], ["bob", "--for", "5s"], ["carl", "--at", soon, "--for", "1s"]):
        assert r.ctl("move", address(args[0]), "--to", "B", *args[1:])[0] == 0
    assert r.ctl("move", address("anna"), "--to", "A", "--at", local_time(3600))[0] == 0
    assert states(r) == ["pending", "active", "pending", "pending"]
    r.kill()
    time.sleep(end - time.time())
    r.start()
    assert forest_of(r, "anna", "bob", "carl") == ["B", "A", "A"]
    assert states(r) == ["active", "expired", "expired", "pending"]
    assert "wave-missed" in r.log()
    assert r.terminate() == 0
    r.start()
    assert forest_of(r, "anna", "bob", "carl") == ["B", "A", "A"]


BLACKOUT = 'blackout = { "2020-01-01 00:00 - 2037-01-01 00:00" }'


def test_blackout(start):
    """Nothing moves, by hand or by its time, until the window is over; force does."""
    r = start()
    assert r.ctl("move", address("bob"), "--to", "B", "--for", "4s")[0] == 0
    r.sections[""] = [BLACKOUT]
    r.write_conf()
    assert r.ctl("reload")[0] == 0
    for args in (["move", address("anna"), "--to", "B"], ["set", address("anna"), "B"], ["undo"], ["unset", address("bob")]):
        code, text = r.ctl(*args)
        assert code == 1 and "nothing moves until 2037-01-01 00:00" in text and "--force" in text, text
    assert r.ctl("move", address("anna"), "--to", "B", "--dry-run")[0] == 0
    code, text = r.ctl("move", address("carl"), "--to", "B", "--at", local_time(4))
    assert code == 0 and "a blackout holds that up until 2037-01-01 00:00" in text, text
    assert r.ctl("move", address("anna"), "--to", "B", "--force")[0] == 0
    assert forest_of(r, "anna") == ["B"]
    time.sleep(4.5)
    assert forest_of(r, "bob", "carl") == ["B", "A"]
    assert all(w["waits_until"] == "" or w["waits_until"].startswith("203") for w in waves(r))
    assert [bool(w["waits_until"]) for w in waves(r)] == [True, True, False]
    code, text = r.ctl("explain", address("carl"))
    assert "a blackout holds that up until 2037" in " ".join(text.split())
    r.sections[""] = []
    r.write_conf()
    assert r.ctl("reload")[0] == 0
    until_in(r, "B", "carl")
    assert forest_of(r, "bob") == ["A"]


def test_a_large_wave(start, tmp_path):
    """Quick: one write and one sync, one generation; and the mail for all of them follows."""
    people = [f"u{i}" for i in range(MANY)]
    r = start(people=people)
    with Client(r.port) as c:
        for i in range(0, MANY, 50):
            assert c.send("s@sender.test", [address(x) for x in people[i:i + 50]], message(f"m{i}"))[0] == 250
    wave = tmp_path / "wave.csv"
    wave.write_text("".join(address(x) + "\n" for x in people))
    generation = r.ask("directory.status")["generation"]
    began = time.monotonic()
    code, text = r.ctl("move", "--file", str(wave), "--to", "B")
    took = time.monotonic() - began
    assert code == 0 and f"wave 1: {MANY:d} addresses moved" in text, text
    assert r.ask("directory.status")["generation"] == generation + 1
    until("the mail to follow", lambda: len(r.b.keys()) == MANY)
    r.wait_empty()
    assert sorted({k for _, k in r.b.keys()}) == sorted(address(x) for x in people)
    assert took < 5, took
    r.kill()
    r.start()
    assert forest_of(r, people[0], people[-1]) == ["B", "B"]
    assert r.ctl("undo")[0] == 0 and forest_of(r, people[0], people[-1]) == ["A", "A"]
    assert r.ctl_json("moves", "1", "--limit", "0")["count"] == MANY


# ---- --write: into the directory by LDAP ----

@pytest.fixture
def ldap(relay, sinks, tmp_path):
    """ldap(access=...) -> (relay that follows a slapd, slapd): anna, bob and carl in forest A, who is away.
    With several access=..., so many slapds, all of which know them."""
    made = []

    def one(access):
        slapd = Slapd(tmp_path / f"slapd{len(made)}", "".join(
            person(x, proxyAddresses=f"SMTP:{address(x)}", mailNickname=x, extensionAttribute1="A")
            for x in ("anna", "bob", "carl")))
        conf = slapd.folder / "slapd.conf"
        text = conf.read_text().replace("access to * by dn.exact=\"cn=sync", f"access to attrs=extensionAttribute1 by "
                                        f"dn.exact=\"cn=sync,{BASE}\" {access} by * search\n"
                                        "access to * by dn.exact=\"cn=sync")
        conf.write_text(text)
        made.append(slapd.start())
        return slapd, f"""source "{'ldap' if len(made) == 1 else f'ldap{len(made)}'}" {{
    type = openldap
    uri = {{ "{slapd.uri}" }}
    tls = starttls
    ca_file = "{slapd.folder / 'ca.pem'}"
    bind_dn = "cn=sync,{BASE}"
    password_file = "{slapd.folder / 'password'}"
    base = "{BASE}"
    filter = "(objectClass=mailRecipient)"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
    mass_change_percent = 100
    backoff_min = 100ms
    backoff_max = 500ms
}}
"""

    def make(*access):
        slapds, sections = zip(*map(one, access or ["write"]))
        b = sinks()
        r = relay(forests={"A": [free_port()], "B": [b.port]}, source="".join(sections), sections={"queue": SLOW})
        r.start()
        until("the directory", lambda: r.is_complete())
        r.b = b
        return r, *slapds
    yield make
    for slapd in made:
        slapd.stop()


def flag(slapd, uid):
    out = subprocess.run(["ldapsearch", "-x", "-LLL", "-H", slapd.uri, "-D", f"cn=admin,{BASE}", "-w", "secret", "-b",
                          BASE, f"(uid={uid})", "extensionAttribute1"], check=True, capture_output=True, text=True).stdout
    m = re.search(r"^extensionAttribute1: (.*)$", out, re.M)
    return m.group(1) if m else None


def test_write_goes_round_by_the_directory(ldap):
    """The flag is written, comes back by syncrepl, queued mail follows; undo writes what was there."""
    r, slapd = ldap()
    slapd.modify("carl", extensionAttribute1=None)
    send(r, "anna", "bob")
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write", "--dry-run")
    assert code == 0 and "extensionAttribute1 = B in ldap" in text and flag(slapd, "anna") == "A", text
    shown = r.ctl_json("move", address("anna"), "--to", "B", "--write", "--dry-run")["addresses"]
    assert shown[0]["writes"][0]["object"] == f"uid=anna,ou=people,{BASE}"
    code, text = r.ctl("move", *map(address, ("anna", "bob", "carl")), "--to", "B", "--write", "--why", "real")
    assert code == 0 and "wave 1: the flag of 3 objects was written" in text, text
    assert [flag(slapd, x) for x in ("anna", "bob", "carl")] == ["B", "B", "B"]
    until_in(r, "B", "anna", "bob", "carl")
    r.b.wait(2)
    assert r.ctl_json("explain", address("anna"))["rule"] == "directory"
    w, = waves(r)
    assert w["written"] and w["state"] == "active" and w["addresses"] == 3
    assert sorted(a["previous"] for a in r.ctl_json("moves", "1")["addresses"]) == ["ldap:", "ldap:A", "ldap:A"]
    r.kill()
    r.start()
    slapd.modify("bob", extensionAttribute1="A")  # somebody else's word since
    until_in(r, "A", "bob")
    slapd.modify("bob", extensionAttribute1="C")
    slapd.rename("anna", "annabel")
    code, text = r.ctl("undo")
    assert code == 0 and "2 addresses taken back; 1 had been moved again since" in text, text
    assert [flag(slapd, x) for x in ("annabel", "bob", "carl")] == ["A", "C", None]
    until_in(r, "A", "anna")
    assert states(r) == ["undone"]


def test_write_behind_an_override(ldap):
    """A move by hand is made permanent: written behind it, nothing changes when it is undone. One to another forest decides
    first, and is told of."""
    r, slapd = ldap()
    assert r.ctl("move", address("anna"), "--to", "B")[0] == 0
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write")
    assert code == 0 and "the flag of 1 object was written" in text and flag(slapd, "anna") == "B", text
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write")
    assert code == 0 and "1 has the flag already\nnothing to write" in text, text
    until("the directory to say so, too", lambda: "flag" in json.dumps(r.ctl_json("explain", address("anna"))))
    assert r.ctl("undo", "1")[0] == 0
    until_in(r, "B", "anna")
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write")
    assert code == 0 and "nothing to write" in text, text
    assert r.ctl("move", address("bob"), "--to", "A")[0] == 0
    slapd.modify("bob", extensionAttribute1="A")
    assert r.ctl("set", address("bob"), "A")[0] == 0
    code, text = r.ctl("move", address("bob"), "--to", "B", "--write")
    assert code == 0 and "1 has an override to another forest" in text and flag(slapd, "bob") == "B", text
    until_in(r, "A", "bob")
    assert r.ctl("unset", address("bob"))[0] == 0
    until_in(r, "B", "bob")


def test_write_to_active_directory(relay, sinks, domains, tmp_path):
    """The same with a domain controller: who has no flag gets one, loses it by undo, and is found after a rename."""
    dc = Samba(tmp_path / "dc", domains["source.test"])
    dc.change("".join(dc.person(x, mail=address(x), homeMDB=dc.database) for x in ("anna", "bob")))
    dc.start()
    try:
        dc.password.write_text(ADMIN_PASSWORD + "\n")
        old, b = free_port(), sinks()
        r = relay(forests={"A": [old], "B": [b.port]}, sections={"queue": SLOW}, source=source("ad", **{
            "type": "active-directory", "uri": [dc.uri], "tls": "starttls", "ca_file": dc.ca, "base": dc.base,
            "bind_dn": dc.account("Administrator"), "password_file": dc.password, "forest": "A",
            "flag_attribute": "extensionAttribute1", "flag_values": ["moved = B"], "poll_interval": "100ms",
            "mass_change_percent": "100"}))
        r.start()
        until("the directory", r.is_complete)
        send(r, "anna")
        code, text = r.ctl("move", address("anna"), address("bob"), "--to", "B", "--write")
        assert code == 0 and "the flag of 2 objects was written" in text, text
        assert "extensionAttribute1: moved" in dc.search("(sAMAccountName=anna)", "extensionAttribute1")
        until_in(r, "B", "anna", "bob")
        b.wait(1)
        code, text = r.ctl("move", address("bob"), "--to", "A", "--write")
        assert code == 1 and "have no object in a source with a flag_attribute and a value" in text, text
        dc.rename("anna", "anna-maria")
        assert r.ctl("undo")[0] == 0
        assert "extensionAttribute1" not in dc.search("(sAMAccountName=anna)", "extensionAttribute1")
        until_in(r, "A", "anna", "bob")
    finally:
        dc.stop()


def test_write_needs_the_right(ldap):
    r, slapd = ldap("read")
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write")
    assert code == 1 and 'bind_dn of source "ldap" may not write extensionAttribute1' in text, text
    assert flag(slapd, "anna") == "A" and forest_of(r, "anna") == ["A"]
    assert states(r) == ["undone"]
    slapd.stop()
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write")
    assert code == 1 and "nothing could be written: source \"ldap\"" in text, text


def test_write_succeeds_in_one_of_two_sources(ldap):
    """What was written stays in the wave, and undo takes it back."""
    r, slapd, other = ldap("write", "read")
    code, text = r.ctl("move", address("anna"), address("bob"), "--to", "B", "--write")
    assert [flag(x, "anna") for x in (slapd, other)] == ["B", "A"], text
    w, = waves(r)
    assert w["state"] == "active" and w["addresses"] == 4, (text, w)
    code, text = r.ctl("undo")
    assert code == 0 and "4 addresses taken back" in text, text
    assert [flag(x, y) for x in (slapd, other) for y in ("anna", "bob")] == ["A"] * 4
    assert states(r) == ["undone"]


def test_undo_of_what_is_gone(ldap):
    """What cannot be written back is named, and the wave stays until it can be, or until that is forced."""
    r, slapd = ldap()
    assert r.ctl("move", *map(address, ("anna", "bob", "carl")), "--to", "B", "--write")[0] == 0
    until_in(r, "B", "anna", "bob", "carl")
    slapd.delete("anna")
    until("anna to be gone", lambda: r.ask("directory.status")["items"][0]["vanished"] == 1)
    code, text = r.ctl("undo")
    assert code == 1 and "1 of 3" in text and f"{address('anna')} (source ldap)" in text and "--force" in text, text
    assert [flag(slapd, x) for x in ("bob", "carl")] == ["A", "A"]
    assert states(r) == ["active"]
    code, text = r.ctl("undo", "--force")
    assert code == 0, text
    assert states(r) == ["undone"]


def test_undo_of_a_forest_without_a_flag(ldap):
    r, slapd = ldap()
    assert r.ctl("move", address("anna"), "--to", "B", "--write")[0] == 0
    until_in(r, "B", "anna")
    r.source = r.source.replace('"A = A", "B = B"', '"A = A"')
    r.write_conf()
    assert r.ctl("reload")[0] == 0
    code, text = r.ctl("undo")
    assert code == 1 and "flag_values" in text and states(r) == ["active"], text
    r.source = r.source.replace('"A = A"', '"A = A", "B = B"')
    r.write_conf()
    assert r.ctl("reload")[0] == 0
    until_in(r, "B", "anna")
    assert r.ctl("undo")[0] == 0 and flag(slapd, "anna") == "A"


def test_write_without_a_flag(start):
    """A file cannot be written to; nothing happens."""
    r = start()
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write")
    assert code == 1 and "have no object in a source with a flag_attribute" in text
    code, text = r.ctl("move", address("anna"), "--to", "B", "--write", "--for", "1h")
    assert code == 1 and "--at and --for go without it" in text
    assert waves(r) == []


def test_a_stop_while_it_is_written(ldap):
    """SIGTERM in the middle of a write: it ends in time, and what was written can be taken back."""
    r, slapd = ldap()
    slapd.send(signal.SIGSTOP)
    writer = threading.Thread(target=r.ctl, args=("move", address("anna"), "--to", "B", "--write"))
    writer.start()
    until("the job", lambda: "control" in r.log())
    time.sleep(0.5)
    try:
        assert r.terminate() == 0
    finally:
        slapd.send(signal.SIGCONT)
    writer.join(30)
    assert not writer.is_alive()
    r.start()
    assert flag(slapd, "anna") == "A" or states(r) == ["active"]
