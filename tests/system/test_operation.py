"""Running it: reload and stop under load, two daemons on one spool, mail that moves with its mailbox."""
import os
import select
import subprocess
import threading
import time
from collections import Counter

from client import Client, message
from load import Load, all_delivered
from relay import DOMAIN, build_dir
from wait import free_port, until

ANNA, BOB = f"anna@{DOMAIN}", f"bob@{DOMAIN}"
FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]


def test_reload_under_load(relay, sinks):
    """SIGHUP again and again: no session is cut, nothing is lost or sent twice, the change is in force."""
    sink, other = sinks(), sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A", "bob": "A"}, sections={"queue": FAST}).start()
    load = Load(r.port)
    for i in range(20):
        r.sections["smtpd"] = [f"errors_max = {20 + i}"]
        if i == 10:
            r.forests["A"] = [other.port]
        r.write_conf()
        r.reload()
        time.sleep(0.1)
    time.sleep(0.5)
    load.stop()
    assert load.cut == [] and load.refused == [] and load.no_entry == 0
    r.wait_empty()
    both = Counter(k for k, _ in sink.keys() + other.keys())
    assert both == Counter(load.accepted)
    assert other.kept, "the new host was not used"


def test_reload_of_a_bad_file_changes_nothing(relay, sinks):
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}).start()
    good = open(r.conf, encoding="utf-8").read()
    for bad, said in (("spool {\n", "causeway.conf:1: "), (good + "\nhostnam = x\n", "hostnam"),
                      (good.replace("type = shared", "type = sharde"), "sharde")):
        with open(r.conf, "w", encoding="utf-8") as f:
            f.write(bad)
        before = len(r.log())
        r.reload()
        until(f"a complaint about {said}", lambda: said in r.log()[before:])
        with Client(r.port) as c:
            assert c.send("s@sender.test", ANNA, message("after-bad"))[0] == 250
    sink.wait(3)
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(good)


def test_sigterm_under_load(relay, sinks):
    """Stops within its bound; what was accepted arrives after the next start; no session ends without a reply."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"queue": FAST}).start()
    load = Load(r.port, clients=8)
    for _ in range(3):
        time.sleep(0.7)
        assert r.terminate() == 0
        r.start()
    load.stop()
    assert load.accepted and load.cut == [], f"{len(load.cut)} sessions were cut"
    assert all(code == 421 for code, _ in load.refused), Counter(code for code, _ in load.refused)
    got = all_delivered(sink, load, r)
    assert sum(got.values()) == len(got), "a clean stop makes no duplicates"


def feed(c):
    """Sends content until there is an answer."""
    while not select.select([c.s], [], [], 0.002)[0]:
        c.raw((b"x" * 62 + b"\r\n") * 512)


def test_stop_is_bounded(relay, sinks):
    """A next hop and a client that both hang do not keep it from stopping, and a client that keeps sending one
    message gets its 421, not a reset."""
    from sink import HANG
    sink = sinks(script=lambda stage, detail, session: HANG if stage == "dot" else None)
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}).start()
    with Client(r.port) as c, Client(r.port) as idle, Client(r.port) as busy:
        busy.envelope("s@sender.test", ANNA)
        assert busy.cmd("DATA")[0] == 354
        feeder = threading.Thread(target=feed, args=(busy,), daemon=True)
        feeder.start()
        assert c.send("s@sender.test", ANNA, message("one"))[0] == 250
        sink.wait(1)
        assert idle.cmd("MAIL FROM:<>")[0] == 250
        began = time.monotonic()
        assert r.terminate() == 0
        assert time.monotonic() - began < 35
        feeder.join(10)
        for waiting in (idle, busy):
            code, text = waiting.reply()
            assert code == 421 and "4.3.2" in text, (code, text)
            assert waiting.line() == b""
    r.start()
    until("it to be there still, as it is not known to be delivered", lambda: r.queue_length() == 1)
    r.kill()


def test_second_daemon_refuses_to_start(relay, sinks):
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}).start()
    second = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    second.spool = r.spool
    second.write_conf()
    done = subprocess.run([os.path.join(build_dir(), "causewayd"), "-c", second.conf], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode != 0
    assert r.spool in done.stderr and ("another" in done.stderr or "in use" in done.stderr), done.stderr
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("still"))[0] == 250
    sink.wait(1)


def test_flip_moves_queued_mail(relay, sinks):
    """The mailbox moves while its forest is away: what is queued goes to the new one, at once, and only there."""
    port, new = free_port(), sinks()
    r = relay(forests={"A": [port], "B": [new.port]}, people={"anna": "A", "bob": "A"},
              sections={"queue": ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]})
    r.start()
    with Client(r.port) as c:
        for i in range(20):
            assert c.send("s@sender.test", [ANNA, BOB], message(f"m{i}"))[0] == 250
    until("the first attempts to have failed", lambda: "host-failed" in r.log())
    r.flip("anna", "B")
    new.wait(20, 10)
    assert set(new.keys()) == {(f"m{i}", ANNA) for i in range(20)}
    assert len(new.keys()) == 20
    assert r.queue_length() == 20, "bob's wait on"
    old = sinks(port=port)
    r.retry_all()
    old.wait(20)
    assert sorted(old.keys()) == sorted((f"m{i}", BOB) for i in range(20))
    r.wait_empty()


def test_flip_under_load(relay, sinks):
    """Flipped to and fro: every message arrives once, in one of the two forests."""
    a, b = sinks(), sinks()
    r = relay(forests={"A": [a.port], "B": [b.port]}, people={"anna": "A"}, sections={"queue": FAST}).start()
    load = Load(r.port)
    for i in range(10):
        r.flip("anna", "BA"[i % 2])
        time.sleep(0.1)
    load.stop()
    assert load.cut == [] and load.refused == []
    r.wait_empty()
    assert Counter(k for k, _ in a.keys() + b.keys()) == Counter(load.accepted)
    assert a.kept and b.kept


def test_loop_back_to_the_same_forest_is_refused(relay, sinks):
    """Mail of a forest for a mailbox in that forest: it would go round for ever."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A", "s": "A"}).start()
    with Client(r.port, source="127.0.1.1") as c:
        assert c.cmd(f"MAIL FROM:<s@{DOMAIN}>")[0] == 250
        code = c.cmd(f"RCPT TO:<{ANNA}>")
        if code[0] == 250:
            assert c.content(message("loop"))[0] == 250
            until("the mail to end", lambda: r.queue_length() == 0)
            assert [k.key for k in sink.kept if k.key == "loop"] == []
        else:
            assert code[0] == 550 and "5.4.6" in code[1], code
