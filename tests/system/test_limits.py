"""Limits and deadlines of inbound sessions: what one client may take, what many idle or slow ones cost, and what happens
when descriptors run out. PROMISES "10,000 idle or slow clients, floods", "descriptors or memory run out"."""
import os
import resource
import socket
import time

import pytest

from client import Client, message
from relay import DOMAIN
from wait import free_port, until

ANNA = f"anna@{DOMAIN}"
FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]
SANITIZED = any(x in os.path.basename(os.environ.get("CAUSEWAY_BUILD", "")) for x in ("asan", "tsan", "ubsan"))


@pytest.fixture
def up(relay, sinks):
    """up(option...) -> (relay, sink): with these options of smtpd."""
    def make(*options, **kw):
        sink = sinks()
        r = relay(forests={"A": [sink.port]}, people={"anna": "A"},
                  sections={"smtpd": list(options), "queue": FAST}, **kw)
        return r.start(), sink
    return make


def send(r, key="m", source="127.0.0.1"):
    with Client(r.port, source=source) as c:
        return c.send("s@sender.test", ANNA, message(key)) if c.banner[0] == 220 else c.banner


def can_talk(r, source):
    with Client(r.port, source=source) as c:
        return c.banner[0] == 220


# ---- one client ----

def test_connections_per_client(up):
    """The fourth gets 421 and is closed; other clients and forests are not concerned; it may come back."""
    r, sink = up("connections_per_client = 3")
    three = [Client(r.port) for _ in range(3)]
    with Client(r.port, greet=False) as c:
        code, text = c.reply()
        assert code == 421 and "127.0.0.1" in text
        assert c.line() == b""
    assert send(r, "other", "127.0.0.2")[0] == 250
    forest = [Client(r.port, source="127.0.1.1") for _ in range(6)]
    assert all(c.banner[0] == 220 for c in forest)
    three.pop().close()
    until("room for one more", lambda: send(r, "again")[0] == 250)
    assert three[0].send("s@sender.test", ANNA, message("inside"))[0] == 250
    for c in three + forest:
        c.close()
    until("all to arrive", lambda: {k for k, _ in sink.keys()} == {"other", "again", "inside"})


@pytest.mark.parametrize("trusted", ["127.0.1.1", "127.0.2.7"], ids=["forest", "application host"])
def test_connections_per_trusted_client(up, trusted):
    """They have a limit of their own, which is none by default."""
    r, _ = up("connections_per_client = 1", "connections_per_client_trusted = 2")
    two = [Client(r.port, source=trusted) for _ in range(2)]
    with Client(r.port, source=trusted, greet=False) as c:
        code, text = c.reply()
        assert code == 421 and trusted in text
        assert c.line() == b""
    with Client(r.port):
        assert send(r)[0] == 421  # from the internet, for whom it is 1
    two.pop().close()
    until("room for one more", lambda: can_talk(r, trusted))
    two.pop().close()


def test_connections_in_all(up):
    r, _ = up("connections_max = 5", "connections_per_client = 0")
    five = [Client(r.port, source=f"127.0.0.{i + 1}") for i in range(5)]
    with Client(r.port, source="127.0.0.77", greet=False) as c:
        assert c.reply()[0] == 421
    for c in five:
        c.close()
    until("room", lambda: send(r)[0] == 250)
    assert r.counter("smtpd_connections_refused") >= 1


def test_recipients_max(up):
    """Further ones get 452 4.5.3; the message goes to those who were taken."""
    r, sink = up("recipients_max = 100")
    with Client(r.port) as c:
        assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
        codes = [c.cmd(f"RCPT TO:<{ANNA}>")[0] for _ in range(100)]
        assert set(codes) == {250}
        code, text = c.cmd(f"RCPT TO:<{ANNA}>")
        assert code == 452 and "4.5.3" in text
        assert c.content(message("many"))[0] == 250
        assert c.send("s@sender.test", ANNA, message("next"))[0] == 250
    until("both", lambda: {k for k, _ in sink.keys()} == {"many", "next"})
    r.wait_empty()
    assert sum(len(k.rcpts) for k in sink.kept if k.key == "many") == 100


def test_message_size(up):
    """Said beforehand: 552 at MAIL. Not said: 552 after reading to the true end; the session goes on."""
    r, sink = up("message_size_max = 64K")
    body = b"x" * 62 + b"\r\n"
    with Client(r.port) as c:
        assert "SIZE 65536" in c.ehlo[1]
        code, text = c.cmd("MAIL FROM:<s@sender.test> SIZE=65537")
        assert code == 552 and "5.3.4" in text
        assert c.cmd("MAIL FROM:<s@sender.test> SIZE=99999999999999999999")[0] in (501, 552)
        assert c.cmd("MAIL FROM:<s@sender.test> SIZE=65536")[0] == 250
        assert c.cmd("RSET")[0] == 250
        code, text = c.send("s@sender.test", ANNA, message("big", body * 20000))
        assert code == 552 and "5.3.4" in text
        assert c.send("s@sender.test", ANNA, message("fits", body * 900))[0] == 250
        lie = c.send("s@sender.test", ANNA, message("lie", body * 1100), params=" SIZE=100")
        assert lie[0] == 552
    sink.wait(1)
    r.wait_empty()
    assert [k for k, _ in sink.keys()] == ["fits"]
    until("the spool to be empty", lambda: r.ask("status")["spool"]["messages"] == 0)


def test_errors_max(up):
    r, _ = up("errors_max = 5")
    with Client(r.port) as c:
        codes = [c.cmd("NONSENSE")[0] for _ in range(5)]
        assert codes[:4] == [500] * 4 and codes[4] in (500, 421), codes
        if codes[4] == 500:
            assert c.reply()[0] == 421
        assert c.line() == b""


def test_talks_before_the_greeting(up):
    r, _ = up("banner_delay = 500ms")
    with Client(r.port, greet=False) as c:
        c.raw(b"EHLO early\r\n")
        code, _ = c.reply()
        assert code in (554, 421, 0)
        assert c.line() == b""
    began = time.monotonic()
    with Client(r.port) as c:
        assert c.banner[0] == 220 and time.monotonic() - began >= 0.45


# ---- slow ones ----

def ends_within(c, seconds, feed=b"", pause=0.3):
    """Feeds an octet at a time until the other side closes; the last reply line before that."""
    end = time.monotonic() + seconds
    said = b""
    c.s.settimeout(pause)
    while time.monotonic() < end:
        try:
            if feed:
                c.s.sendall(feed)
            piece = c.s.recv(4096)
            if not piece:
                return said.decode()
            said += piece
        except TimeoutError:
            continue
        except ConnectionError:
            return said.decode()
    raise AssertionError(f"still open after {seconds} s")


@pytest.mark.parametrize("stage", ["silent", "half a line", "trickled line", "after MAIL", "in DATA"])
def test_slow_client_is_cut(up, stage):
    """By its deadline, with 421; an octet now and then does not move it. Nothing of it is kept."""
    r, sink = up("command_timeout = 1s", "data_timeout = 1s")
    with Client(r.port) as c:
        feed = b""
        if stage == "half a line":
            c.raw(b"MAIL FROM:<s@")
        elif stage == "trickled line":
            feed = b"N"
        elif stage == "after MAIL":
            c.cmd("MAIL FROM:<s@sender.test>")
        elif stage == "in DATA":
            c.envelope("s@sender.test", ANNA)
            assert c.cmd("DATA")[0] == 354
            c.raw(message("half"))
        said = ends_within(c, 20, feed)
        assert said.startswith("421 "), said
    assert send(r, "next")[0] == 250
    sink.wait(1)
    assert [k for k, _ in sink.keys()] == ["next"]
    until("no connection to be left", lambda: r.counter("smtpd_connections_open") == 0)


def test_trickled_content_is_cut(up):
    """Always in time for data_timeout, below data_rate_min: cut after the half minute that everybody has."""
    r, sink = up("data_timeout = 2s", "data_rate_min = 100")
    with Client(r.port) as c:
        c.envelope("s@sender.test", ANNA)
        assert c.cmd("DATA")[0] == 354
        c.raw(message("drip"))
        began = time.monotonic()
        said = ends_within(c, 60, b"x", 0.5)
        assert time.monotonic() - began > 25
        assert said.startswith("4"), said
    assert send(r, "next")[0] == 250
    sink.wait(1)
    assert [k for k, _ in sink.keys()] == ["next"]


# ---- many ----

def idle(r, n):
    """n connections that have said EHLO and no more, from some addresses of the internet."""
    made = []
    for i in range(n):
        s = socket.create_connection(("127.0.0.1", r.port), 60, source_address=(f"127.0.3.{i % 250 + 1}", 0))
        if s.recv(100).startswith(b"220 "):
            s.sendall(b"EHLO idle.test\r\n")
        made.append(s)
    return made


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections(up, many_descriptors):
    """2,000 of them: normal mail goes on beside them, and each costs little."""
    r, sink = up("connections_per_client = 0")
    for i in range(20):
        assert send(r, f"warm{i}")[0] == 250
    sink.wait(20)
    before = r.rss()
    crowd = idle(r, 2000)
    until("all of them", lambda: r.counter("smtpd_connections_open") >= 2000)
    began = time.monotonic()
    for i in range(50):
        assert send(r, f"m{i}")[0] == 250
    assert time.monotonic() - began < 30
    sink.wait(70)
    each = (r.rss() - before) / 2000
    if not SANITIZED:
        assert each < 8192, f"{each:.0f} octets for each idle connection"
    for s in crowd:
        s.close()
    until("all to be gone", lambda: r.counter("smtpd_connections_open") == 0)


def test_slow_senders(up, many_descriptors):
    """300 clients in the middle of DATA that send an octet now and then: normal mail goes on beside them, and those who
    come to an end at last are taken, too."""
    r, sink = up("connections_per_client = 0", "data_rate_min = 0")
    crowd = [Client(r.port, source=f"127.0.3.{i % 250 + 1}") for i in range(300)]
    for i, c in enumerate(crowd):
        c.envelope("s@sender.test", ANNA)
        assert c.cmd("DATA")[0] == 354
        c.raw(f"X-Key: slow{i}\r\n\r\n".encode())
    for i in range(30):
        for c in crowd:
            c.raw(b"x")
        assert send(r, f"m{i}")[0] == 250
        sink.wait(i + 1)
    assert [k for k, _ in sink.keys()] == [f"m{i}" for i in range(30)]
    for c in crowd:
        c.raw(b"\r\n.\r\n")
    assert [c.reply()[0] for c in crowd] == [250] * len(crowd)
    sink.wait(30 + len(crowd))
    assert {k for k, _ in sink.keys()} == {f"m{i}" for i in range(30)} | {f"slow{i}" for i in range(300)}
    for c in crowd:
        c.close()
    until("all to be gone", lambda: r.counter("smtpd_connections_open") == 0)


# ---- descriptors ----

def test_sessions_leave_descriptors_for_deliveries(up, many_descriptors):
    """More clients than descriptors: those who come too late get 421; deliveries and the control socket go on."""
    r, sink = up("connections_per_client = 0", wrap=["prlimit", "--nofile=160:160"])
    inside = Client(r.port)
    crowd = idle(r, 300)
    try:
        until("some to be refused", lambda: r.counter("smtpd_connections_refused") > 20)
        assert inside.send("s@sender.test", ANNA, message("crowded"))[0] == 250
        sink.wait(1, 10)
        r.wait_empty(10)
        with Client(r.port, greet=False) as c:
            assert c.reply()[0] == 421
    finally:
        for s in crowd:
            s.close()
    until("intake to resume", lambda: send(r, "after")[0] == 250)
    sink.wait(2)
    assert "accept_paused" not in r.log()


def test_out_of_descriptors(up, many_descriptors):
    """Not one is left: it pauses, loses nothing, and goes on by itself when there are some again."""
    r, sink = up("connections_per_client = 0")
    with Client(r.port) as inside:
        assert inside.send("s@sender.test", ANNA, message("before"))[0] == 250
        r.wait_empty()
        limits = resource.prlimit(r.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(r.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        sink.stop()  # so that a new connection is needed
        waiting = socket.create_connection(("127.0.0.1", r.port), 30)
        until("it to notice", lambda: "accept_paused" in r.log())
        acked = [f"during{i}" for i in range(5) if inside.send("s@sender.test", ANNA, message(f"during{i}"))[0] == 250]
        sink.start()
        time.sleep(1)
        assert r.is_running()
        resource.prlimit(r.process.pid, resource.RLIMIT_NOFILE, limits)
        assert waiting.recv(100).startswith(b"220 "), "it waited in the kernel's queue"
        waiting.close()
        until("intake to resume", lambda: send(r, "after")[0] == 250)
        r.wait_empty()
    assert sorted(k for k, _ in sink.keys()) == sorted(["before", "after", *acked])
