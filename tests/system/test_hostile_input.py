"""Hostile input over the wire, seen from both ends: what the relay answers, and what a next hop gets to see."""
import socket

import pytest

from client import Client, message
from relay import DOMAIN
from wait import until

ANNA = f"anna@{DOMAIN}"


@pytest.fixture
def up(relay, sinks):
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    r.start()
    return r, sink


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\x00.\r\n"])
def test_smuggling(up, end):
    """Only CRLF.CRLF ends the data: what hides behind another end is never a second message."""
    r, sink = up
    hidden = b"MAIL FROM:<evil@sender.test>\r\nRCPT TO:<%s>\r\nDATA\r\nX-Key: evil\r\n\r\nevil" % ANNA.encode()
    with Client(r.port) as c:
        c.envelope("s@sender.test", ANNA)
        assert c.cmd("DATA")[0] == 354
        c.raw(message("outer") + b"x" + end + hidden + b"\r\n.\r\n")
        code = c.reply()
        assert code[0] in (250, 550), code
        assert c.cmd("NOOP") == (250, "2.0.0 Ok")
        assert c.send("s@sender.test", ANNA, message("after"))[0] == 250
    until("the next message", lambda: ("after", ANNA) in sink.keys())
    assert [k for k, _ in sink.keys() if k == "evil"] == []
    assert {k.sender for k in sink.kept} == {"s@sender.test"}
    assert len(sink.kept) == (2 if code[0] == 250 else 1)


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n"])
@pytest.mark.parametrize("normalise", ["no", "yes"])
def test_bare_newlines(relay, sinks, normalise, end):
    """Refused, or by bare_newline_normalise mended on the way in: the next hop gets neither bare CR nor bare LF. A dot
    after a bare one is content; after CRLF it is the sender's stuffing."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"},
              sections={"smtpd": [f"bare_newline_normalise = {normalise}"]}).start()
    with Client(r.port) as c:
        c.envelope("s@sender.test", ANNA)
        assert c.cmd("DATA")[0] == 354
        c.raw(message("bare") + b"one" + end + b"two\nthree\rfour\n\nfive\r\r\nsix\r\n.\r\n")
        assert c.reply()[0] == (250 if normalise == "yes" else 550)
        assert c.send("s@sender.test", ANNA, message("after"))[0] == 250
    until("the next message", lambda: ("after", ANNA) in sink.keys())
    r.wait_empty()
    assert sorted(k for k, _ in sink.keys()) == (["after", "bare"] if normalise == "yes" else ["after"])
    if normalise == "yes":
        data = next(k.data for k in sink.kept if k.key == "bare")
        whole = data.replace(b"\r\n", b"")
        assert b"\r" not in whole and b"\n" not in whole, data
        dot = b"" if end.startswith(b"\r\n") else b"."
        assert data.endswith(b"\r\none\r\n" + dot + b"\r\ntwo\r\nthree\r\nfour\r\n\r\nfive\r\n\r\nsix\r\n"), data


def test_dots_round_trip(up):
    """Dot-stuffing is exact, in and out, whatever the edges."""
    r, sink = up
    body = b"".join(b"." * i + b"a" * (i % 3) + b"\r\n" for i in range(300)) * 40
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("dots", body))[0] == 250
    kept = sink.wait(1)[0]
    assert kept.data.endswith(b"\r\n\r\n" + body)


def test_octets_round_trip(up):
    """Every octet but NUL, CR and LF passes; NUL does not truncate."""
    r, sink = up
    body = bytes(b for b in range(256) if b not in (10, 13)) + b"\r\nafter the NUL\r\n"
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("octets", body), params=" BODY=8BITMIME")[0] == 250
    assert sink.wait(1)[0].data.endswith(body)


def test_no_open_relay(up):
    r, _ = up
    outside = ["x@elsewhere.test", '"x@elsewhere.test"', f"x%elsewhere.test@{DOMAIN}", "@" + DOMAIN + ":x@elsewhere.test",
               f"elsewhere.test!x@{DOMAIN}", f'"x@elsewhere.test"@{DOMAIN}', "x@[127.0.0.1]", "x@relay." + DOMAIN]
    with Client(r.port) as c:
        for address in outside:
            assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
            code = c.cmd(f"RCPT TO:<{address}>")
            assert 500 <= code[0] < 600, (address, code)
            c.cmd("RSET")
        assert c.cmd(f"MAIL FROM:<anna@{DOMAIN}>")[0] == 250
        assert c.cmd("RCPT TO:<x@elsewhere.test>")[0] >= 500, "our sender's name is no permission"


def test_helo_cannot_forge_a_header(up):
    r, sink = up
    with Client(r.port, greet=False) as c:
        c.reply()
        assert c.cmd("EHLO x (y) by evil; <a@b>\tX-Evil:1")[0] == 501
        assert c.cmd("EHLO x)by<e>;(")[0] == 250
        assert c.send("s@sender.test", ANNA, message("helo"))[0] == 250
    head = sink.wait(1)[0].data.split(b"X-Key")[0]
    assert head.startswith(b"Received: from x?by?e??? ([127.0.0.1])\r\n\tby "), head
    assert head.count(b"Received:") == 1


def test_endless_line_and_endless_header(up):
    r, sink = up
    with Client(r.port) as c:
        c.envelope("s@sender.test", ANNA)
        assert c.cmd("DATA")[0] == 354
        c.raw(b"X-Key: wide\r\nX-Wide: " + b"w" * 3_000_000 + b"\r\n\r\n.\r\n")
        assert c.reply()[0] == 250
    assert b"w" * 3_000_000 in sink.wait(1)[0].data


def test_reset_in_the_middle(up):
    """Connections that are cut at any point leave nothing behind and hurt nobody."""
    r, sink = up
    talk = b"EHLO x\r\nMAIL FROM:<s@sender.test>\r\nRCPT TO:<%s>\r\nDATA\r\n" % ANNA.encode()
    for cut in range(0, len(talk), 3):
        with socket.create_connection(("127.0.0.1", r.port)) as s:
            s.sendall(talk[:cut])
    with Client(r.port) as c:
        c.envelope("s@sender.test", ANNA)
        c.cmd("DATA")
        c.raw(b"half a mess")
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("whole"))[0] == 250
    sink.wait(1)
    assert sink.keys() == [("whole", ANNA)]
    until("no connection to be left", lambda: r.counter("smtpd_connections_open") == 0)


def test_control_nonsense(up):
    r, _ = up
    for junk in (b"nonsense\n", b"{}\n", b"[" * 100000 + b"\n", b'{"command":"no-such"}\n', b"\xff\xfe\n",
                 b'{"command":["a"]}\n', b"x" * 5_000_000):
        try:
            r.control_request(junk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert r.ask("status")
