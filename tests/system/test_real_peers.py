"""Programs nobody here wrote at both ends: swaks as the client, Postfix as the forest behind."""
import os
import re
import shutil
import subprocess

import pytest

from client import Client, message
from postfix import Postfix
from relay import DOMAIN
from wait import until

ANNA = f"anna@{DOMAIN}"
FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]


@pytest.fixture
def postfix(tmp_path_factory):
    """postfix(users...) -> a Postfix; needs root, as Postfix does."""
    if os.geteuid() != 0 or not shutil.which("postfix"):
        pytest.skip("needs root and Postfix")
    made = []

    def make(*users, **kw):
        folder = tmp_path_factory.mktemp("pf")
        for path in (folder, folder.parent):
            os.chmod(path, 0o755)
        os.chmod(folder.parent.parent, 0o755)
        made.append(Postfix(folder / "x", DOMAIN, users, **kw))
        return made[-1].start()
    yield make
    for p in made:
        p.stop()


def swaks(port, *args):
    """(exit status, transcript)"""
    p = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(port), "--from", "s@sender.test", *args],
                       capture_output=True, text=True, timeout=60, check=False)
    return p.returncode, p.stdout + p.stderr


def test_postfix_behind_us(relay, postfix):
    p = postfix("anna", "bob")
    r = relay(forests={"A": [p.port]}, people={"anna": "A", "bob": "A"}, sections={"queue": FAST}).start()
    with Client(r.port) as c:
        for i in range(100):
            assert c.send("s@sender.test", [ANNA, f"bob@{DOMAIN}"], message(f"m{i}"))[0] == 250
    for user in ("anna", "bob"):
        got = p.wait(user, 100)
        assert sorted(m["X-Key"] for m in got) == sorted(f"m{i}" for i in range(100))
    r.wait_empty()
    assert "improper command pipelining" not in p.log()
    assert not re.search("lost connection after (?!CONNECT)", p.log())


def test_bytes_through_postfix(relay, postfix):
    p = postfix("anna")
    r = relay(forests={"A": [p.port]}, people={"anna": "A"}).start()
    body = b"".join(b"." * (i % 5) + b"line %d\r\n" % i for i in range(50000)) + "Grüße\r\n".encode()
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("bytes", body), " BODY=8BITMIME")[0] == 250
    got = p.wait("anna", 1)[0].get_payload(decode=True)
    assert got.replace(b"\r\n", b"\n") == body.replace(b"\r\n", b"\n")


def test_postfix_refuses_an_unknown_user(relay, postfix, sinks):
    """The directory knows him, the forest does not: the sender hears of it."""
    sink = sinks()
    p = postfix("anna")
    r = relay(forests={"A": [p.port], "B": [sink.port]}, people={"anna": "A", "gone": "A", "sara": "B"}).start()
    with Client(r.port) as c:
        assert c.send(f"sara@{DOMAIN}", [ANNA, f"gone@{DOMAIN}"], message("one"))[0] == 250
    assert p.wait("anna", 1)
    notice = sink.wait(1)[0]
    assert notice.sender == "" and b"5.1.1" in notice.data and f"gone@{DOMAIN}".encode() in notice.data


def test_postfix_restarts_under_load(relay, postfix):
    p = postfix("anna")
    r = relay(forests={"A": [p.port]}, people={"anna": "A"}, sections={"queue": FAST}).start()
    with Client(r.port) as c:
        for i in range(100):
            assert c.send("s@sender.test", ANNA, message(f"m{i}"))[0] == 250
            if i in (20, 60):
                p.stop()
            if i in (40, 80):
                p.start()
    r.wait_empty()
    # Some may come twice (Postfix took them and was stopped before it said so); each comes once at least.
    until("all of them in the mailbox", lambda: {m["X-Key"] for m in p.messages("anna")} == {f"m{i}" for i in range(100)})


def test_swaks_sends(relay, sinks, tmp_path):
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}).start()
    attachment = tmp_path / "a.bin"
    attachment.write_bytes(os.urandom(300000))
    assert swaks(r.port, "--to", ANNA)[0] == 0
    assert swaks(r.port, "--to", ANNA, "--attach", "@" + str(attachment), "--pipeline")[0] == 0
    assert swaks(r.port, "--to", ANNA, "--helo", "[127.0.0.1]", "--protocol", "SMTP", "--body", ".\n..\n.x\n")[0] == 0
    status, text = swaks(r.port, "--to", f"nobody@{DOMAIN}")
    assert status == 24 and "5.1.1" in text, text
    status, text = swaks(r.port, "--to", "x@elsewhere.test")
    assert status == 24 and "5.7.1" in text, text
    assert len(sink.wait(3)) == 3
    assert len(sink.kept[1].data) > 400000
