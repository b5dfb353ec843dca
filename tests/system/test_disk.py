"""Disk full and disk broken: intake stops with 4xx and nothing is lost; it resumes by itself. PROMISES "Faults"."""
import os
import subprocess
import time

import pytest

import faults
from client import Client, message
from relay import DOMAIN
from wait import until

ANNA = f"anna@{DOMAIN}"
FAST = ["retry_min = 1s", "retry_max = 2s", "dest_backoff_min = 100ms", "dest_backoff_max = 200ms"]


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 64 MB; needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(path)], check=False).returncode != 0:
        pytest.skip("this machine does not allow mounting a tmpfs")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def send_until_refused(port, prefix, limit=2000, body=b"x" * 70 + b"\r\n"):
    """(acknowledged keys, reply that refused)"""
    acked = []
    with Client(port) as c:
        for i in range(limit):
            code = c.cmd("MAIL FROM:<s@sender.test>")
            if code[0] != 250:
                return acked, code
            assert c.cmd(f"RCPT TO:<{ANNA}>")[0] == 250
            key = f"{prefix}{i}"
            code = c.content(message(key, body * 1400))
            if code[0] != 250:
                return acked, code
            acked.append(key)
    return acked, None


def test_full_disk(relay, sinks, small_disk):
    """452 before it is full, deliveries and bounces go on, intake resumes when there is room again."""
    sink = sinks()
    sink.stop()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"},
              sections={"queue": FAST})
    r.spool = str(small_disk / "spool")
    r.write_conf()
    r.start()
    acked, refusal = send_until_refused(r.port, "full")
    assert refusal and refusal[0] == 452, refusal
    assert acked
    free = os.statvfs(small_disk)
    assert free.f_bavail * free.f_frsize > 4 << 20, "the reserve was eaten"
    # A connection opened now is told at MAIL.
    with Client(r.port) as c:
        assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 452
    sink.start()
    r.wait_empty()
    assert sorted(k for k, _ in sink.keys()) == sorted(acked)
    until("intake to resume", lambda: mail_is_taken(r.port))


def mail_is_taken(port):
    with Client(port) as c:
        return c.cmd("MAIL FROM:<s@sender.test>")[0] == 250


def test_full_disk_survives_a_restart(relay, sinks, small_disk):
    sink = sinks()
    sink.stop()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"queue": FAST})
    r.spool = str(small_disk / "spool")
    r.write_conf()
    r.start()
    acked, _ = send_until_refused(r.port, "r")
    with open(small_disk / "ballast", "wb") as f:  # somebody else takes the rest
        try:
            while True:
                f.write(b"\0" * 65536)
                f.flush()
        except OSError:
            pass
    r.kill()
    sink.start()
    r.spawn()
    sink.wait(len(acked))
    os.unlink(small_disk / "ballast")
    r.wait_empty()
    assert {k for k, _ in sink.keys()} == set(acked)
    until("intake to resume", lambda: mail_is_taken(r.port))


@pytest.mark.parametrize("error,code", [("EIO", 451), ("ENOSPC", 452)])
@pytest.mark.parametrize("call", ["write", "sync"])
def test_error_of_one_call(relay, sinks, error, code, call):
    """The batch gets 4xx, nothing of it is delivered, what was acknowledged before is, and the next mail is taken."""
    if (call, error) == ("sync", "ENOSPC"):
        code = (451, 452)
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    count = os.path.join(r.dir, "count")
    # First learn at which call of this kind the second message is written.
    r.env = faults.env(call, 0, "kill", path="/spool/", count=count)
    r.start()
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("probe1"))[0] == 250
        sink.wait(1)
        r.wait_empty()
        time.sleep(0.3)  # marks are written without an answer to wait for
        before = faults.read_count(count)
    r.terminate()
    seen = []
    for extra in range(1, 4):  # where exactly it falls depends on when marks are written: try the neighbours
        keys = []
        r.env = faults.env(call, before + extra, "errno:" + error, path="/spool/", count=count)
        os.unlink(count)
        r.start()
        with Client(r.port) as c:
            for i in range(6):
                key = f"{call}-{error}-{extra}-{i}"
                got = c.send("s@sender.test", ANNA, message(key))
                seen.append(got[0])
                if got[0] == 250:
                    keys.append(key)
        until("what was acknowledged", lambda: set(keys) <= {k for k, _ in sink.keys()})
        r.wait_empty()
        assert keys, seen
        assert r.is_running()
        refused = {f"{call}-{error}-{extra}-{i}" for i in range(6)} - set(keys)
        assert not refused & {k for k, _ in sink.keys()}, "refused mail was delivered"
        r.terminate()
    codes = code if isinstance(code, tuple) else (code,)
    assert any(c in codes for c in seen), seen
    assert all(c == 250 or 400 <= c < 500 for c in seen), seen


def test_sync_fails_for_good(relay, sinks):
    """Every sync fails: nothing is ever acknowledged, and the daemon lives and says so."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    r.start()
    r.terminate()
    r.env = faults.env("sync", 1, "errno:EIO", path="/spool/seg", more=-1)
    r.spawn()
    until("the relay to be up or to have refused to start", lambda: not r.is_running() or r.is_up())
    if not r.is_running():
        assert "spool" in r.log()
        return
    with Client(r.port) as c:
        for i in range(3):
            code = c.send("s@sender.test", ANNA, message(f"never{i}"))
            assert 400 <= code[0] < 500, code
    assert sink.keys() == []


def test_slow_disk_answers_noop(relay, sinks):
    """A sync that takes long slows intake; other sessions are answered within 100 ms."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"spool": ["test_sync_delay = 300000"]})
    r.start()
    with Client(r.port) as busy, Client(r.port) as other:
        busy.envelope("s@sender.test", ANNA)
        assert busy.cmd("DATA")[0] == 354
        busy.raw(message("slow") + b".\r\n")
        worst = 0
        for _ in range(20):
            began = time.monotonic()
            assert other.cmd("NOOP")[0] == 250
            worst = max(worst, time.monotonic() - began)
        began = time.monotonic()
        assert busy.reply()[0] == 250
        assert worst < 0.1 * (5 if "asan" in os.environ["CAUSEWAY_BUILD"] or "tsan" in os.environ["CAUSEWAY_BUILD"]
                              else 1), worst
