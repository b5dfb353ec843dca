"""Disk full and disk broken: intake stops with 4xx and nothing is lost; it resumes by itself. PROMISES "Faults"."""
import os
import shutil
import subprocess
import threading
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
    """A tmpfs of 64 MB and 100 inodes; needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=100", "none", str(path)],
                      check=False).returncode != 0:
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
    # Of the reserve (16 MB) three segments may have been made ready, for marks and bounces; no mail ate it.
    assert free.f_bavail * free.f_frsize > 3 << 20, "the reserve was eaten"
    # A connection opened now is told at MAIL, and whoever looks is told by `status`.
    with Client(r.port) as c:
        assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 452
    assert "452" in r.alarms()["spool-full"]["text"]
    code, text = r.ctl("status")
    assert code == 0 and "ATTENTION" in text and "the spool is full" in text, text
    sink.start()
    r.wait_empty()
    assert sorted(k for k, _ in sink.keys()) == sorted(acked)
    until("intake to resume", lambda: mail_is_taken(r.port))
    r.until_no_alarm()
    assert "ATTENTION" not in r.ctl("status")[1]


def send(r, key):
    with Client(r.port) as c:
        code = c.cmd("MAIL FROM:<s@sender.test>")
        if code[0] == 250:
            assert c.cmd(f"RCPT TO:<{ANNA}>")[0] == 250
            code = c.content(message(key))
        return code


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
    with open(small_disk / "ballast", "wb", buffering=0) as f:  # somebody else takes the rest
        try:
            while f.write(b"\0" * 65536):
                pass
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


def test_inodes_run_out(relay, sinks, small_disk):
    """Room for bytes and none for files: 452 in DATA at the true end, with nothing left behind, and 452 at MAIL; what
    was taken is delivered, and intake resumes when there are some again."""
    sink = sinks()
    sink.stop()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"queue": FAST})
    r.spool = str(small_disk / "spool")
    r.write_conf()
    r.start()
    large = b"x" * 70 + b"\r\n"
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("small"))[0] == 250
        assert c.send("s@sender.test", ANNA, message("large", large * 5000))[0] == 250
        c.envelope("s@sender.test", ANNA)
        assert c.cmd("DATA")[0] == 354
        ballast, n = small_disk / "ballast", 0
        ballast.mkdir()
        while os.statvfs(small_disk).f_favail:
            (ballast / str(n)).touch()
            n += 1
        c.raw(message("refused", large * 5000) + b".\r\n")
        assert c.reply()[0] == 452
        assert c.cmd("NOOP")[0] == 250
    with Client(r.port) as c:
        until("MAIL to be refused", lambda: c.cmd("RSET")[0] == 250 and c.cmd("MAIL FROM:<s@sender.test>")[0] == 452)
    assert "spool-full" in r.alarms()
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 20 << 20, "it was to be the inodes"
    sink.start()
    r.wait_empty()
    shutil.rmtree(ballast)
    until("intake to resume", lambda: mail_is_taken(r.port))
    r.until_no_alarm()
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("after", large * 5000))[0] == 250
    r.wait_empty()
    assert sorted(k for k, _ in sink.keys()) == ["after", "large", "small"]
    until("no large file to be left", lambda: not os.listdir(small_disk / "spool/large"))


def log_with(r, key):
    """The first records of the segment that this message is among."""
    folder = os.path.join(r.spool, "segment")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as f:
            head = f.read(65536)
        if f"X-Key: {key}".encode() in head:
            return head
    raise AssertionError(f"{key} is in no segment")


@pytest.mark.parametrize("error,code", [("EIO", 451), ("ENOSPC", 452)])
@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_error_of_one_call(relay, sinks, error, code, call, size):
    """The batch gets 4xx, nothing of it is delivered, what was acknowledged before is, and the next mail is taken."""
    sink = sinks()
    sink.stop()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"queue": FAST})
    arm = os.path.join(r.dir, "arm")
    r.env = faults.env(call, 1, "errno:" + error, path="/spool/segment/" if size == "small" else "/spool/large/", arm=arm)
    body = b"x\r\n" * (200_000 if size == "large" else 1)
    r.start()
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("before"))[0] == 250
        unmarked = log_with(r, "before")
        sink.start()
        sink.wait(1)
        until("its mark to be written", lambda: log_with(r, "before") != unmarked)
        open(arm, "w", encoding="ascii").close()
        got = c.send("s@sender.test", ANNA, message("hit", body))
        assert got[0] == code if call == "write" else got[0] in (451, 452), got
        until("intake to go on", lambda: c.cmd("MAIL FROM:<s@sender.test>")[0] == 250)
        c.cmd("RSET")
        assert c.send("s@sender.test", ANNA, message("after", body))[0] == 250
    sink.wait(2)
    r.wait_empty()
    assert [k for k, _ in sink.keys()] == ["before", "after"]
    assert " error " in r.log() or error == "ENOSPC"
    assert send(r, "flush")[0] == 250  # with it the marks are on disk
    r.kill()
    r.env = {}
    r.start()
    r.wait_empty()
    assert [k for k, _ in sink.keys() if k != "flush"] == ["before", "after"], "a refused or finished message came back"


def test_sync_fails_for_good(relay, sinks):
    """Every sync fails: nothing is acknowledged any more, and the daemon lives and says so."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    arm = os.path.join(r.dir, "arm")
    r.env = faults.env("sync", 1, "errno:EIO", path="/spool/", more=-1, arm=arm)
    r.start()
    open(arm, "w", encoding="ascii").close()
    for i in range(5):
        code = send(r, f"never{i}")
        assert 400 <= code[0] < 500, code
    assert sink.keys() == []
    assert r.is_running()
    assert " error " in r.log()
    assert "Input/output error" in r.alarms()["spool-error"]["text"]
    code, text = r.ctl("status")
    assert code == 0 and "ATTENTION" in text and "Input/output error" in text, text
    os.unlink(arm)  # the disk is mended
    until("intake to resume", lambda: send(r, "after")[0] == 250)
    sink.wait(1)
    r.wait_empty()
    assert {k for k, _ in sink.keys()} == {"after"}
    assert "spool-error" in r.alarms(), "nobody can have seen it yet"


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


def test_slow_disk_does_not_fill_the_memory(relay, sinks):
    """Many senders who could go on faster than the disk: each waits for its reply, and what was taken is let go of."""
    sink = sinks()
    sink.stop()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"spool": ["test_sync_delay = 300000"]})
    r.start()
    senders, each, body = 40, 6, (b"x" * 70 + b"\r\n") * 2800
    with Client(r.port) as c:
        assert c.send("s@sender.test", ANNA, message("warm", body))[0] == 250
    before = r.rss()

    def push(number):
        with Client(r.port, timeout=60) as c:
            for i in range(each):
                codes.append(c.send("s@sender.test", ANNA, message(f"s{number}m{i}", body))[0])

    codes, most = [], 0
    threads = [threading.Thread(target=push, args=(i,), daemon=True) for i in range(senders)]
    began = time.monotonic()
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        most = max(most, r.rss())
        threads[0].join(0.02)
    assert codes == [250] * each * senders
    assert time.monotonic() - began > 0.3 * each, "each waits for its sync"
    assert r.queue_length() == senders * each + 1
    if "asan" not in os.environ["CAUSEWAY_BUILD"] and "tsan" not in os.environ["CAUSEWAY_BUILD"]:
        assert most - before < 32 << 20 < senders * each * len(body), (before, most)
