"""The queue in an admin's hands: causewayctl queue ..., on a relay whose forest is away."""
import os
import re

import pytest

import faults
from client import Client, message
from relay import DOMAIN
from wait import free_port, until

SLOW = ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]
ANNA, BOB = f"anna@{DOMAIN}", f"bob@{DOMAIN}"


@pytest.fixture
def away(relay, sinks):
    """(relay, sink of forest B, start the sink of forest A): ten messages to anna in A, who cannot be reached."""
    port, here = free_port(), sinks()
    r = relay(forests={"A": [port], "B": [here.port]}, people={"anna": "A", "bob": "B", "sara": "B"},
              sections={"queue": SLOW})
    r.start()
    with Client(r.port) as c:
        for i in range(10):
            sender = f"sara@{DOMAIN}" if i % 2 else "s@sender.test"
            assert c.send(sender, [ANNA], message(f"m{i}", b"body %d\r\n" % i))[0] == 250
    until("nothing to be in hand", lambda: "active" not in states(r) and len(ids(r)) == 10)
    yield r, here, lambda: sinks(port=port)


def rows(r, *args):
    return r.ctl_json("queue", "list", *args)["messages"]


def ids(r, *args):
    return [m["id"] for m in rows(r, *args)]


def states(r):
    return {m["state"] for m in rows(r)}


def test_list_show_dests(away):
    r, _, _ = away
    assert len(ids(r, "--dest", "forest:A")) == 10
    assert ids(r, "--dest", "forest:B") == []
    assert len(ids(r, "--sender", f"sara@{DOMAIN}")) == 5
    assert len(ids(r, "--sender", "@SENDER.test")) == 5
    assert len(ids(r, "--rcpt", ANNA, "--limit", "3")) == 3
    assert ids(r, "--rcpt", BOB) == [] and ids(r, "--older", "1h") == []
    assert r.ctl_json("queue", "list", "--limit", "3")["complete"] is False

    first = rows(r)[0]
    shown = r.ctl_json("queue", "show", first["id"])
    assert shown["rcpt"][0]["address"] == ANNA and shown["rcpt"][0]["dest"] == "forest:A"
    assert shown["origin"] == "internet" and shown["client"] == "127.0.0.1"
    code, text = r.ctl("queue", "show", first["id"])
    assert code == 0 and ANNA in text and first["id"] in text
    code, text = r.ctl("queue")
    assert code == 0 and len(text.splitlines()) == 11 and all(len(i) == 13 and i in text for i in ids(r))

    dest, = [d for d in r.ctl_json("queue", "dests")["dests"] if d["dest"] == "forest:A"]
    assert [d["dest"] for d in r.ctl_json("queue", "dests", "--dest", "forest:a")["dests"]] == ["forest:A"]
    assert dest["parked"] + len(ids(r, "--state", "waiting")) == 10 and dest["delivered"] == 0
    assert dest["last_error"] != ""


def test_hold_release_retry(away):
    r, _, start = away
    held, *others = ids(r)
    assert r.ctl("queue", "hold", held) == (0, "1 message\n")
    assert r.ctl_json("queue", "show", held)["state"] == "held"
    a = start()
    assert r.ctl("queue", "retry", "--all")[0] == 0
    a.wait(9)
    until("the others to be gone", lambda: ids(r) == [held])
    assert r.ctl("queue", "release", held)[0] == 0
    a.wait(10)
    r.wait_empty()
    assert len(others) == 9 and {k for k, _ in a.keys()} == {f"m{i}" for i in range(10)}


def test_held_over_a_restart(away):
    r, b, start = away
    assert r.ctl_json("queue", "hold", "--sender", "@sender.test")["done"] == 5
    with Client(r.port) as c:  # what is accepted now is on disk, and all that was marked before
        assert c.send(f"sara@{DOMAIN}", [BOB], message("later"))[0] == 250
    r.kill()
    a = start()
    r.start()
    a.wait(5)
    until("recovery", lambda: r.ctl_json("status")["recovery"]["done"])
    b.wait(1)
    until("the others to be gone", lambda: len(ids(r)) == 5)
    assert states(r) == {"held"}
    assert r.ctl_json("queue", "release", "--all")["done"] == 5
    a.wait(10)
    r.wait_empty()


def test_while_the_spool_is_read(away):
    """After a start nobody is told that a command was about all of the queue, or that a message that is yet to come
    is not there."""
    r, _, _ = away
    some = ids(r)[0]
    r.kill()
    arm = os.path.join(r.dir, "arm")
    orphan = os.path.join(r.spool, "large", "0000000000001")  # its removal is the last step of recovery
    for path in arm, orphan:
        open(path, "w", encoding="ascii").close()
    r.env = faults.env("unlink", 1, "wait", path="/large/", arm=arm)
    r.start()
    until("the messages to be found", lambda: r.ctl_json("status")["recovery"]["messages"] == 10)
    code, text = r.ctl("status")
    assert code == 0 and "recovering: 10 messages so far" in text
    code, text = r.ctl("queue", "show", some)
    assert code == 1 and "the spool is still being read" in text and "there is no message" not in text
    for args in ["hold", "--all"], ["hold", some], ["retry", "--all"]:
        code, text = r.ctl("queue", *args)
        assert code == 1 and "the spool is still being read" in text, text
    assert r.ask("queue.release", all=True)["recovering"] is True
    code, text = r.ctl("queue", "list")
    assert code == 0 and "the spool is still being read" in text
    os.unlink(arm)
    until("recovery", lambda: r.ctl_json("status")["recovery"]["done"])
    assert "recovering" not in r.ask("queue.hold", all=True)
    assert len(ids(r)) == 10 and states(r) == {"held"}


def test_remove_and_tell(away):
    r, b, start = away
    quiet, told = ids(r, "--sender", f"sara@{DOMAIN}")[:2]
    assert r.ctl("queue", "remove", quiet)[0] == 0
    assert r.ctl("queue", "remove", told, "--dsn")[0] == 0
    notice = b.wait(1)[0]
    assert b"Action: failed" in notice.data and ANNA.encode() in notice.data
    until("both to be gone", lambda: len(ids(r)) == 8)
    code, text = r.ctl("queue", "remove", quiet)
    assert code == 1 and quiet in text
    assert r.ctl("queue", "remove")[0] == 1, "nothing is removed by forgetting an argument"
    assert len(ids(r)) == 8
    r.kill()
    r.start()  # removed is removed
    until("recovery", lambda: r.ctl_json("status")["recovery"]["done"])
    a = start()
    r.retry_all()
    a.wait(8)
    r.wait_empty()
    assert len(b.kept) == 1


@pytest.mark.parametrize("args", [["--all"], ["--dest", "forest:A"]], ids=["all", "dest"])
def test_retry_where_nothing_waits(relay, sinks, args):
    """A destination that is closed is tried at once after a retry, also on a worker that has no mail for it."""
    port = free_port()
    r = relay(forests={"A": [port]}, people={"anna": "A"}, sections={"queue": SLOW})
    r.start()

    def closed():
        return any(d["closed_for_ms"] for d in r.ctl_json("queue", "dests")["dests"])
    with Client(r.port) as c:
        for i in range(30):
            assert c.send("s@sender.test", [ANNA], message(f"m{i}", b"body\r\n"))[0] == 250
    until("the destination to be closed", closed)
    until("nothing to be in hand", lambda: "active" not in states(r))
    assert r.ctl_json("queue", "remove", "--all")["done"] == 30
    assert closed()
    a = sinks(port=port)
    assert r.ctl_json("queue", "retry", *args)["matched"] == 0
    assert not closed()
    for i in range(6):
        with Client(r.port) as c:
            assert c.send("s@sender.test", [ANNA], message(f"n{i}", b"body\r\n"))[0] == 250
    a.wait(6)
    r.wait_empty()


def entry(name, forest, *proxies):
    return (f"dn: cn={name},dc=more,dc=test\nobjectClass: inetOrgPerson\n"
            + "".join(f"proxyAddresses: {p}\n" for p in proxies) + f"extensionAttribute1: {forest}\n\n")


def test_woken_by_whatever_the_decision_depends_on(relay, sinks, tmp_path):
    """Queued mail follows its recipient also where another entry than that of the address as written decides: the
    postmaster's, that of a plus address's base, whoever has an old Exchange address; and an entry that appears for
    the address itself."""
    b, more = sinks(), tmp_path / "more.ldif"
    base = entry("pia", "A", "SMTP:pia@plus.test") + entry("pit", "A", "SMTP:pit@plus.test")
    more.write_text(base)
    r = relay(forests={"A": [free_port()], "B": [b.port]}, people={"postmaster": "A"}, sections={"queue": SLOW}, extra=f"""
domain "plus.test" {{ type = shared  plus_addresses = yes }}
domain "old.test" {{ type = shared  unknown = forward  forest = A }}
source "more" {{
    type = ldif
    path = "{more}"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
    mass_change_percent = 100
}}
""")
    r.start()
    old = "IMCEAEX-_o=Org_cn=late@old.test"
    with Client(r.port) as c:
        for to in "postmaster", "pia+x@plus.test", "pit+x@plus.test", old:
            assert c.send("s@sender.test", [to], message(to, b"body\r\n"))[0] == 250
    until("nothing to be in hand", lambda: "active" not in states(r) and len(ids(r, "--dest", "forest:A")) == 4)
    r.flip("postmaster", "B")
    b.wait(1)
    changed = more.with_suffix(".new")
    changed.write_text(base.replace("Attribute1: A", "Attribute1: B", 1) + entry("pit.x", "B", "SMTP:pit+x@plus.test")
                       + entry("late", "B", "SMTP:late@plus.test", "X500:/o=Org/cn=late"))
    changed.rename(more)
    b.wait(4)
    r.wait_empty()
    assert {k for k, _ in b.keys()} == {"postmaster", "pia+x@plus.test", "pit+x@plus.test", old}


def test_two_destinations(relay, sinks):
    """A message to both forests is found by each of them, and removed only where it was asked for."""
    port = {name: free_port() for name in "AB"}
    r = relay(forests={name: [p] for name, p in port.items()}, people={"anna": "A", "bob": "B"},
              sections={"queue": SLOW})
    r.start()
    with Client(r.port) as c:
        assert c.send("s@sender.test", [ANNA, BOB], message("both", b"body\r\n"))[0] == 250
    until("nothing to be in hand", lambda: states(r) & {"waiting", "parked"})
    for dest in "forest:A", "forest:B":
        m, = rows(r, "--dest", dest)
        assert m["dest"] == dest and m["recipients_left"] == 2
    assert r.ctl_json("queue", "remove", "--dest", "forest:B")["done"] == 1
    until("bob to be gone", lambda: rows(r)[0]["recipients_left"] == 1)
    assert ids(r, "--dest", "forest:B") == [] and len(ids(r, "--dest", "forest:A")) == 1
    r.kill()
    r.start()
    until("recovery", lambda: r.ctl_json("status")["recovery"]["done"])
    a, b = sinks(port=port["A"]), sinks(port=port["B"])
    r.retry_all()
    a.wait(1)
    r.wait_empty()
    assert b.kept == []


def test_show_all_recipients(relay):
    """All who wait are shown as waiting, however many they are."""
    people = {f"p{i}": "A" for i in range(1100)}
    r = relay(forests={"A": [free_port()]}, people=people, sections={"queue": SLOW, "smtpd": ["recipients_max = 2000"]})
    r.start()
    with Client(r.port) as c:
        assert c.send("s@sender.test", [f"{p}@{DOMAIN}" for p in people], message("many", b"body\r\n"))[0] == 250
    until("nothing to be in hand", lambda: "active" not in states(r))
    shown = r.ctl_json("queue", "show", ids(r)[0])
    assert shown["recipients_left"] == len(people)
    assert sum(x["state"] in ("waiting", "parked") for x in shown["rcpt"]) == len(people)


def test_dests_of_many_domains(relay):
    """Each once, whichever workers have mail for it, also when they are more than a client takes at once."""
    r = relay(forests={"A": [free_port()]},
              sections={"queue": SLOW, "smtpd": ["recipients_max = 2000"], "dns": [f'servers = "127.0.0.1:{free_port()}"', "timeout = 100ms", "tries = 1"]})
    r.start()
    domains = [f"d{i}.test" for i in range(1500)]
    for key in range(4):
        with Client(r.port, source="127.0.2.1") as c:
            assert c.send("s@sender.test", [f"x@{d}" for d in domains], message(f"m{key}"))[0] == 250
    until("all to wait", lambda: "active" not in states(r))
    answer = r.ctl_json("queue", "dests")
    got = [d["dest"] for d in answer["dests"]]
    assert sorted(got) == sorted(f"mx:{d}" for d in domains) and answer["count"] == len(domains)
    assert [d["dest"] for d in r.ctl_json("queue", "dests", "--dest", "mx:D7.test")["dests"]] == ["mx:d7.test"]


def test_export(away):
    r, _, _ = away
    some = ids(r, "--sender", "s@sender.test")[0]
    code, text = r.ctl("queue", "export", some)
    assert code == 0 and text.startswith("Return-Path: <s@sender.test>\n") and f"<{ANNA}>" in text
    key = re.search(r"^X-Key: m(\d)", text, re.M).group(1)
    assert text.endswith(f"\n\nbody {key}\n")
    code, text = r.ctl("queue", "export", "0000000000001")
    assert code == 1 and "no message" in text


def test_wrong_command_lines(away):
    r, _, _ = away
    for args, code, words in [
            (["queue", "lst"], 2, 'did you mean "queue list"?'),
            (["queue", "show"], 2, "needs ID"),
            (["queue", "show", "nonsense"], 1, "must be a queue ID"),
            (["queue", "list", "--older", "soon"], 2, "an age like"),
            (["queue", "list", "--dest", "A"], 1, "forest:NAME"),
            (["set", ANNA, "nowhere"], 1, "no forest"),
            (["unset", ANNA], 1, "no override")]:
        got = r.ctl(*args)
        assert got[0] == code and words in got[1], (args, got)
    code, text = r.ctl("--socket", r.control + ".not", "status")
    assert code == 1 and "is causewayd running" in text and r.control + ".not" in text
    assert r.ctl("queue", "--help")[0] == 0
