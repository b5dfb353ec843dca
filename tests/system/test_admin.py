"""causewayctl against a running relay: every command as text and as JSON, and what it says when it cannot."""
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from client import Client, message
from relay import DOMAIN, build_dir
from wait import free_port, until

ANNA, BOB, CARL = (f"{x}@{DOMAIN}" for x in ("anna", "bob", "carl"))
SLOW = ["retry_min = 10m", "retry_max = 10m", "dest_backoff_min = 10m", "dest_backoff_max = 10m"]


def ctl(*args):
    """causewayctl as it is, without --socket: (exit status, standard output, standard error)"""
    p = subprocess.run([os.path.join(build_dir(), "causewayctl"), *args], capture_output=True, text=True, timeout=60,
                       check=False)
    return p.returncode, p.stdout, p.stderr


def on_terminal(r, columns, *args):
    """What a person sees in a window of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    p = subprocess.Popen([os.path.join(build_dir(), "causewayctl"), "--socket", r.control, *args], stdout=slave,
                         stderr=slave, stdin=subprocess.DEVNULL)
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        out += piece
    os.close(master)
    p.wait(30)
    return out.decode().replace("\r\n", "\n")


@pytest.fixture
def stuck(relay, sinks):
    """A is away: k0, k1 (anna), k2 (anna and bob; bob's is delivered), k3 (carl, from another sender), a notice k4."""
    b = sinks()
    r = relay(forests={"A": [free_port()], "B": [b.port]}, people={"anna": "A", "bob": "B", "carl": "A"},
              sections={"queue": SLOW}).start()
    r.b, r.ids = b, {}
    with Client(r.port) as c:
        for key, sender, rcpts in (("k0", "s@sender.test", [ANNA]), ("k1", "s@sender.test", [ANNA]),
                                   ("k2", "S@sender.test", [ANNA, BOB]), ("k3", "other@else.test", [CARL]),
                                   ("k4", "", [ANNA])):
            code = c.send(sender, rcpts, message(key))
            assert code[0] == 250
            r.ids[key] = re.search(r"queued as (\S+)", code[1]).group(1)
    b.wait(1)
    settle(r)
    return r


def settle(r):
    until("nothing to be in hand", lambda: r.ask("status")["queue"]["active"] == 0)


def listed(r, *filters):
    """The keys of the messages that the filters leave."""
    got = {m["id"] for m in r.ctl_json("queue", "list", *filters)["messages"]}
    return sorted(k for k, i in r.ids.items() if i in got)


def test_status(stuck):
    r = stuck
    code, text = r.ctl("status")
    assert code == 0
    for word in (f"relay.{DOMAIN}", "5 messages", "2 workers", "1 source, 1 current"):
        assert word in text, text
    s = r.ctl_json("status")
    assert s["queue"]["messages"] == 5 and s["queue"]["held"] == 0
    assert s["hostname"] == f"relay.{DOMAIN}" and s["pid"] == r.process.pid
    assert s["counters"]["smtpd_messages_accepted"] == 5, s["counters"]
    assert s["directory"]["sources"][0]["entries"] == 3


def test_queue_list_and_filters(stuck):
    r = stuck
    assert listed(r) == ["k0", "k1", "k2", "k3", "k4"]
    assert listed(r, "--sender", "s@sender.test") == ["k0", "k1", "k2"]  # without case
    assert listed(r, "--sender", "@else.test") == ["k3"]
    assert listed(r, "--sender", "") == ["k4"]
    assert listed(r, "--rcpt", CARL.upper()) == ["k3"]
    assert listed(r, "--rcpt", BOB) == []  # his copy is delivered
    assert listed(r, "--rcpt", f"@{DOMAIN}", "--sender", "@sender.test") == ["k0", "k1", "k2"]
    assert listed(r, "--dest", "forest:A") == ["k0", "k1", "k2", "k3", "k4"]
    assert listed(r, "--dest", "forest:B") == []
    assert listed(r, "--older", "1h") == []
    assert listed(r, "--older=1ms") == ["k0", "k1", "k2", "k3", "k4"]
    assert sorted(listed(r, "--state", "waiting") + listed(r, "--state", "parked")) == ["k0", "k1", "k2", "k3", "k4"]
    some = r.ctl_json("queue", "list", "--limit", "2")
    assert len(some["messages"]) == 2 and some["complete"] is False
    code, text = r.ctl("queue")
    assert code == 0 and all(i in text for i in r.ids.values())
    assert "Connection refused" in text and "forest:A" in text and "1/2" in text and "<>" in text
    code, text = r.ctl("queue", "--limit", "2")
    assert code == 0 and sum(i in text for i in r.ids.values()) == 2
    assert "more" in text or "limit" in text, text
    code, text = r.ctl("queue", "--state", "held")
    assert (code, text) == (0, "no such messages in the queue\n")


def test_queue_show(stuck):
    r = stuck
    m = r.ctl_json("queue", "show", r.ids["k2"])
    assert m["sender"] == "S@sender.test" and m["helo"] == "client.test" and m["client"] == "127.0.0.1"
    assert {x["address"]: x["state"] for x in m["rcpt"]} == {ANNA: m["state"], BOB: "done"}
    code, text = r.ctl("queue", "show", r.ids["k2"].lower())
    assert code == 0 and ANNA in text and BOB in text and "Connection refused" in text
    code, text = r.ctl("queue", "show", "0000200000999")
    assert code == 1 and "no message" in text


def test_tables_fit_a_terminal(stuck):
    r = stuck
    for columns in (80, 100):
        for args in (["queue"], ["queue", "dests"], ["directory"], ["queue", "show", r.ids["k2"]],
                     ["directory", "lookup", ANNA], ["status"], ["help"], ["queue", "list", "--help"]):
            text = on_terminal(r, columns, *args)
            wide = [x for x in text.split("\n") if len(x) > columns]
            assert text.strip() and not wide, (args, wide)
    assert r.ids["k0"] in on_terminal(r, 80, "queue")


def test_hold_survives_a_restart(stuck, sinks):
    r = stuck
    code, text = r.ctl("queue", "hold", r.ids["k0"], r.ids["k3"])
    assert (code, text) == (0, "2 messages\n")
    assert listed(r, "--state", "held") == ["k0", "k3"]
    r.kill()
    a = sinks()
    r.forests["A"] = [a.port]
    r.write_conf()
    r.start()
    a.wait(3)
    until("the others to be gone", lambda: r.queue_length() == 2)
    assert sorted(k for k, _ in a.keys()) == ["k1", "k2", "k4"]
    r.ctl("queue", "retry", "--all")
    assert listed(r, "--state", "held") == ["k0", "k3"], "retry is not release"
    assert r.ctl_json("queue", "release", r.ids["k0"])["done"] == 1
    a.wait(4)
    assert r.terminate() == 0
    r.start()
    until("the queue to be read", lambda: r.queue_length() == 1)
    assert listed(r, "--state", "held") == ["k3"]
    assert r.ctl("queue", "release", "--all") == (0, "1 message\n")
    r.wait_empty()
    assert sorted(k for k, _ in a.keys()) == ["k0", "k1", "k2", "k3", "k4"]


def test_retry(stuck, sinks):
    r = stuck
    a = sinks(port=r.forests["A"][0])
    assert r.ctl("queue", "retry", r.ids["k3"])[0] == 0
    a.wait(1)
    until("k3 to be delivered", lambda: ("k3", CARL) in a.keys())
    code, text = r.ctl("queue", "retry", "--sender", "@sender.test")
    assert code == 0, text
    r.ctl("queue", "retry", "--all")
    r.wait_empty()
    assert len(a.keys()) == 5


def test_remove(stuck, sinks):
    """Silently, or with a report to the sender; a notice never makes a notice."""
    r = stuck
    route = sinks()
    r.extra = f'route "out" {{ domains = {{ "*" }} host "127.0.0.1:{route.port}" {{ }} }}\n'
    r.write_conf()
    assert r.ctl("reload")[0] == 0
    assert r.ctl("queue", "remove", r.ids["k0"]) == (0, "1 message\n")
    assert r.ctl("queue", "remove", "--sender", "@else.test", "--dsn") == (0, "1 message\n")
    assert r.ctl_json("queue", "remove", r.ids["k4"], "--dsn")["done"] == 1
    notice = route.wait(1)[0]
    assert notice.sender == "" and notice.rcpts == ["other@else.test"] and b"multipart/report" in notice.data
    assert CARL.encode() in notice.data
    until("two to be left", lambda: r.queue_length() == 2)
    code, text = r.ctl("queue", "remove", r.ids["k0"])
    assert code == 1 and "not in the queue" in text
    r.kill()
    r.start()
    until("the queue to be read", lambda: r.queue_length() == 2)
    assert listed(r) == ["k1", "k2"], "what was removed came back"
    assert len(route.kept) == 1


@pytest.mark.parametrize("size", [100, 400_000])
def test_export(relay, sinks, size):
    """What was sent, to the octet, behind the fields that say how it came."""
    r = relay(forests={"A": [free_port()]}, people={"anna": "A"}, sections={"queue": SLOW}).start()
    body = bytes(b for b in range(256) if b not in (0, 10, 13)) * (size // 253) + b"\r\n.dot\r\n"
    sent = message("e1", body)
    with Client(r.port) as c:
        code = c.send('"odd, one"@sender.test', [ANNA], sent, params=" BODY=8BITMIME")
        assert code[0] == 250, code
    number = re.search(r"queued as (\S+)", code[1]).group(1)
    p = subprocess.run([os.path.join(build_dir(), "causewayctl"), "--socket", r.control, "queue", "export", number],
                       capture_output=True, timeout=60, check=True)
    assert p.stdout.endswith(sent)
    head = p.stdout[:-len(sent)].decode()
    assert head.startswith('Return-Path: <"odd, one"@sender.test>\r\n')
    assert f"X-Causeway-Recipients: <{ANNA}>\r\n" in head
    assert head.count("Received:") == 1 and head.endswith("\r\n") and "\r\n\r\n" not in head
    assert p.stderr == b""


def test_export_names_all_recipients(relay):
    domain = ".".join(["d" * 60] * 3) + ".test"
    r = relay(forests={"A": [free_port()]}, sections={"smtpd": ["recipients_max = 10000"], "queue": SLOW}).start()
    rcpts = [f"{'r' * 58}{i:06}@{domain}" for i in range(4500)]
    with Client(r.port, source="127.0.2.1") as c:
        code = c.send("s@sender.test", rcpts, message("many"))
        assert code[0] == 250, code
    code, text = r.ctl("queue", "export", re.search(r"queued as (\S+)", code[1]).group(1))
    assert code == 0 and all(x in text for x in rcpts)


def test_answer_is_read_while_nobody_reads_ours(relay):
    """`causewayctl ... | less`: the daemon is not kept waiting, and would close the connection after a minute."""
    r = relay(forests={"A": [free_port()]}, people={"anna": "A"}, sections={"queue": SLOW}).start()
    with Client(r.port) as c:
        code = c.send("s@sender.test", [ANNA], message("big", b"0123456789\r\n" * 200_000))
    number = re.search(r"queued as (\S+)", code[1]).group(1)
    with subprocess.Popen([os.path.join(build_dir(), "causewayctl"), "--socket", r.control, "queue", "export", number],
                          stdout=subprocess.PIPE) as p:
        assert p.stdout.read(1) == b"R"  # of Return-Path: it is connected
        until("the answer to be read", lambda: not any(
            os.readlink(f"/proc/{p.pid}/fd/{x}").startswith("socket:") for x in os.listdir(f"/proc/{p.pid}/fd")))
        assert p.poll() is None, "it waits for us"
        assert p.stdout.read().count(b"0123456789\r\n") == 200_000
    assert p.returncode == 0


def test_dests(stuck):
    r = stuck
    got = {d["dest"]: d for d in r.ctl_json("queue", "dests")["dests"]}
    assert set(got) == {"forest:A", "forest:B"}
    assert got["forest:B"]["delivered"] == 1 and got["forest:B"]["closed_for_ms"] == 0
    assert got["forest:A"]["closed_for_ms"] > 0 and "refused" in got["forest:A"]["last_error"]
    assert [d["dest"] for d in r.ctl_json("queue", "dests", "--dest", "forest:B")["dests"]] == ["forest:B"]
    code, text = r.ctl("queue", "dests")
    assert code == 0 and "closed" in text and "forest:B" in text


def test_explain(stuck):
    r = stuck
    e = r.ctl_json("explain", ANNA)
    assert (e["decision"], e["dest"], e["next_address"], e["rule"]) == ("deliver", "forest:A", ANNA, "directory")
    claim = e["entry"]["claims"][0]
    assert claim["best"] and claim["source"] == "people" and "extensionAttribute1" in claim["evidence"]
    code, text = r.ctl("explain", ANNA, "--from", "s@sender.test", "--link", "forest:A")
    assert code == 0 and "550 5.4.6" in text and 'source "people" says A' in text, text
    assert "the sender <s@sender.test> makes no difference" in text, text
    assert r.ctl_json("explain", ANNA, "--link", "forest:B")["dest"] == "forest:A"
    e = r.ctl_json("explain", "x@elsewhere.test")
    assert e["decision"] == "refuse" and e["reply"].startswith("550 5.7.1")
    assert r.ctl_json("explain", "x@elsewhere.test", "--link", "application")["dest"] == "mx:elsewhere.test"
    assert r.ctl_json("explain", "x@elsewhere.test", "--link", "forest:A")["dest"] == "mx:elsewhere.test"
    assert r.ctl_json("explain", f"nobody@{DOMAIN}")["reply"].startswith("550 5.1.1")
    code, text = r.ctl("explain", ANNA, "--link", "forest:C")
    assert code != 0 and "C" in text
    code, text = r.ctl("explain", ANNA, "--link", "moon")
    assert code != 0 and "internet" in text, text


def test_explain_says_what_rcpt_says(stuck):
    """The answer is not a guess: it is the same decision."""
    r = stuck
    for link, source in (("internet", "127.0.0.1"), ("forest:A", "127.0.1.1"), ("forest:B", "127.0.1.2"),
                         ("application", "127.0.2.1")):
        for address in (ANNA, BOB, f"nobody@{DOMAIN}", "x@elsewhere.test", "postmaster"):
            e = r.ask("explain", address=address if "@" in address else f"postmaster@{DOMAIN}", link=link)
            with Client(r.port, source=source) as c:
                c.cmd("MAIL FROM:<s@sender.test>")
                code, text = c.cmd(f"RCPT TO:<{address}>")
            assert code == (250 if e["decision"] == "deliver" else int(e["reply"][:3])), (link, address, e, text)


def test_directory_lookup(stuck):
    r = stuck
    d = r.ctl_json("directory", "lookup", ANNA)
    assert d["found"] == "found" and [c["forest"] for c in d["claims"]] == ["A"]
    code, text = r.ctl("directory", "lookup", ANNA)
    assert code == 0 and "people" in text and "extensionAttribute1" in text
    code, text = r.ctl("directory", "lookup", f"nobody@{DOMAIN}")
    assert code == 1 and "no directory knows" in text
    s = r.ctl_json("directory")["sources"]
    assert len(s) == 1 and s[0]["state"] == "current" and s[0]["entries"] == 3


def test_set_and_unset(stuck, sinks):
    """By hand, before what the directories say; moves what is queued; survives a crash; is written down."""
    r = stuck
    code, text = r.ctl("set", ANNA, "B")
    assert code == 0 and "forest B" in text, text
    r.b.wait(5)
    until("anna's mail to have moved", lambda: listed(r) == ["k3"])
    assert sorted(r.b.keys()) == [("k0", ANNA), ("k1", ANNA), ("k2", ANNA), ("k2", BOB), ("k4", ANNA)]
    assert r.ctl_json("explain", ANNA)["rule"] == "override"
    assert re.search(r"override.*anna@example\.test", r.log()), "not in the log"
    r.kill()
    r.start()
    assert r.goes_to("anna") == "forest:B"
    d = r.ctl_json("directory", "lookup", ANNA)
    assert [(c["source"], c["forest"], c["best"]) for c in d["claims"]] == [("override", "B", True), ("people", "A", False)]
    assert r.ctl("unset", ANNA)[0] == 0
    assert r.goes_to("anna") == "forest:A"
    r.kill()
    r.start()
    assert r.goes_to("anna") == "forest:A"
    code, text = r.ctl("unset", ANNA)
    assert code == 1 and "no override" in text
    code, text = r.ctl("set", ANNA, "C")
    assert code == 1 and '"C"' in text
    state = os.path.join(r.dir, "state")
    journal = b"".join(open(os.path.join(state, x), "rb").read() for x in os.listdir(state) if "override" in x)
    assert ANNA.encode() in journal


def test_set_makes_an_unknown_recipient_known(stuck):
    """Somebody whom no directory has yet, moved by hand."""
    r = stuck
    assert r.ctl("set", f"New.One@{DOMAIN}", "B")[0] == 0
    assert r.ctl_json("explain", f"new.one@{DOMAIN}")["dest"] == "forest:B"
    with Client(r.port) as c:
        assert c.send("s@sender.test", f"new.one@{DOMAIN}", message("new"))[0] == 250
    r.b.wait(2)
    assert r.ctl("unset", f"new.one@{DOMAIN}")[0] == 0
    assert r.ctl_json("explain", f"new.one@{DOMAIN}")["reply"].startswith("550")


def test_reload(stuck, sinks):
    r = stuck
    good = open(r.conf, encoding="utf-8").read()
    code, text = r.ctl("reload")
    assert code == 0 and r.conf in text
    for bad, words in ((good + "\nhostnam = x\n", ["hostnam", str(good.count("\n") + 2)]),
                       (good.replace("type = shared", "type = sharde"), ["sharde", "type"]),
                       (good.replace('control {', 'control {\n    clients_max = 100000'), ["clients_max", "1000"])):
        with open(r.conf, "w", encoding="utf-8") as f:
            f.write(bad)
        code, text = r.ctl("reload")
        assert code == 1 and re.search(rf"{re.escape(r.conf)}:\d+", text), text
        assert all(w in text for w in words), text
        assert r.goes_to("anna") == "forest:A"
    assert r.ctl_json("status")["reloads_failed"] == 3
    assert r.alarms()["reload-failed"]["command"] == "causewayctl reload"
    code, text = r.ctl("status")
    assert code == 0 and "ATTENTION" in text and "the last reload was refused" in text, text
    os.unlink(r.conf)
    code, text = r.ctl("reload")
    assert code == 1 and r.conf in text and "No such file" in text, text
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(good.replace("workers = 2", "workers = 3"))
    code, text = r.ctl("reload")
    assert code == 0 and "restart" in text and "workers" in text, text
    assert r.alarms() == {}
    assert r.ctl_json("reload")["needs_restart"] == "workers"
    assert r.ctl_json("status")["workers"] == 2


def test_reload_of_a_file_that_is_not_utf8(stuck):
    """What is wrong and where is said all the same."""
    r = stuck
    with open(r.conf, "a", encoding="latin-1") as f:
        f.write('source "x" {\n    type = ldif\n    path = "/x"\n    forest = "Z\xfcrich"\n}\n')
    code, text = r.ctl("reload")
    assert code == 1 and "Z\\xFCrich" in text and r.conf in text and "forest" in text, text


def test_status_after_a_failed_reload(stuck):
    r = stuck
    with open(r.conf, "a", encoding="utf-8") as f:
        f.write("hostnam = x\n")
    assert r.ctl("reload")[0] == 1
    line, = [x for x in r.ctl("status")[1].splitlines() if "the configuration is of" in x]
    assert re.search(r"1 reload failed; the configuration is of \d{4}-", line), line


def test_version_and_stop(stuck):
    r = stuck
    assert "protocol 1" in r.ctl("version")[1]
    assert r.ctl_json("version")["protocol"] == 1
    code, text = r.ctl("stop")
    assert code == 0, text
    assert r.process.wait(40) == 0
    code, text = r.ctl("status")
    assert code == 1 and r.control in text, text
    r.start()
    until("the queue to be read", lambda: r.queue_length() == 5)


@pytest.mark.parametrize("args,words", [
    ([], "help"), (["nonsense"], "help"), (["stauts"], "status"), (["queue", "lst"], "queue list"),
    (["status", "--bogus"], "--bogus"), (["explain"], "ADDRESS"), (["set", ANNA], "FOREST"),
    (["queue", "show"], "ID"), (["queue", "list", "extra"], "too many"), (["queue", "list", "--older", "1x"], "2h"),
    (["queue", "list", "--limit", "many"], "number"), (["queue", "list", "--limit"], "needs a value"),
    (["queue", "remove", "--all=yes"], "no value"), (["--socket"], "path"), (["spool"], "spool verify DIR"),
    (["spool", "verify"], "directory"), (["spool", "verify", "a", "b"], "one directory"),
])
def test_wrong_command_line(args, words):
    """Exit 2, one sentence that helps, nothing on standard output; no daemon is asked."""
    code, out, err = ctl("--socket=/nonexistent/c.sock", *args) if args != ["--socket"] else ctl(*args)
    assert code == 2 and out == "", (code, out, err)
    assert err.startswith("causewayctl: ") and words in err and err.count("\n") == 1, err


def test_no_daemon(tmp_path):
    for name, words in (("missing", "is causewayd running"), ("file", "not a socket")):
        path = tmp_path / name
        if name == "file":
            path.write_text("")
        code, out, err = ctl("--socket", str(path), "status")
        assert code == 1 and out == "" and str(path) in err, err
        assert err.startswith("causewayctl: ") and err.count("\n") == 1
    code, out, err = ctl("--json", "--socket", str(tmp_path / "missing"), "queue")
    assert code == 1 and out == "" and str(tmp_path) in err, err


def test_wrong_values_are_refused_by_the_daemon(stuck):
    r = stuck
    for args, words in ((["queue", "hold"], "all"), (["queue", "hold", "zzz"], "13 characters"),
                        (["queue", "list", "--state", "foo"], "parked"), (["queue", "list", "--dest", "A"], "forest:NAME"),
                        (["set", "anna", "A"], "user@example.org"), (["explain", "a b@c"], "address")):
        code, text = r.ctl(*args)
        assert code == 1 and words in text, (args, text)
    assert listed(r, "--state", "held") == []


def test_json_is_json(stuck):
    """Everything that a program reads parses, also when there is nothing to say."""
    r = stuck
    for args in (["queue"], ["queue", "list", "--state", "held"], ["queue", "dests", "--dest", "forest:none"],
                 ["directory"], ["queue", "hold", "0000200000999"], ["version"]):
        p = subprocess.run([os.path.join(build_dir(), "causewayctl"), "--json", "--socket", r.control, *args],
                           capture_output=True, text=True, timeout=60, check=False)
        json.loads(p.stdout)


def test_spool_verify(stuck, tmp_path):
    r = stuck
    r.kill()
    code, text = r.ctl("spool", "verify", r.spool)
    assert code == 0 and "5 messages (5 living)" in text and "0 bad" in text, text
    assert r.ctl_json("spool", "verify", r.spool)["living"] == 5
    segment = next(p for p in (os.path.join(r.spool, "segment", x) for x in sorted(os.listdir(r.spool + "/segment")))
                   if b"X-Key: k0" in open(p, "rb").read())
    data = bytearray(open(segment, "rb").read())
    data[data.index(b"X-Key: k0")] ^= 1
    with open(segment, "wb") as f:
        f.write(data)
    code, text = r.ctl("spool", "verify", r.spool)
    assert code == 1 and "1 bad" in text and segment in text or os.path.basename(segment) in text, text
    assert bytes(data) == open(segment, "rb").read(), "verify must not write"
    code, text = r.ctl("spool", "verify", "/etc")
    assert code == 1 and "/etc" in text and "spool" in text
    code, text = r.ctl("spool", "verify", str(tmp_path / "no"))
    assert code == 1 and str(tmp_path / "no") in text
    (tmp_path / "f" / "segment").mkdir(parents=True)
    (tmp_path / "f" / "segment" / "00000001").write_bytes(b"something else\n" * 1000)
    code, text = r.ctl("spool", "verify", str(tmp_path / "f"))
    assert code == 1, text
    r.start()  # and with one damaged message the rest goes on
    until("the queue to be read", lambda: r.queue_length() == 4)
    code, text = r.ctl("status")
    assert "damaged" in text, text


@pytest.fixture
def in_hand(relay, sinks):
    """A message that A has taken and not yet answered: r.go.set() lets A say r.answer (None: 250)."""
    import threading
    go = threading.Event()

    def script(stage, detail, session):
        if stage == "dot":
            go.wait(60)
            return r.answer
        return None
    sink, out = sinks(script=script), sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}, sections={"queue": SLOW},
              extra=f'route "out" {{ domains = {{ "*" }} host "127.0.0.1:{out.port}" {{ }} }}\n').start()
    r.go, r.answer, r.sink, r.out = go, None, sink, out
    with Client(r.port) as c:
        code = c.send("s@sender.test", [ANNA], message("hand"))
        r.id = re.search(r"queued as (\S+)", code[1]).group(1)
    sink.wait(1)
    yield r
    go.set()


@pytest.mark.parametrize("answer", [None, "451 4.3.0 later", "550 5.7.1 never"])
def test_remove_what_is_in_hand(in_hand, answer):
    """The delivery ends first, and only if A refuses for good the sender hears of it; nothing is left, then and later."""
    r = in_hand
    r.answer = answer
    code, text = r.ctl("queue", "remove", r.id)
    assert (code, text) == (0, "1 message\n")
    r.go.set()
    r.wait_empty()
    assert r.terminate() == 0
    r.start()
    until("the spool to be read", lambda: r.ask("status")["recovery"]["done"])
    assert r.queue_length() == 0
    r.wait_empty()
    assert len(r.out.kept) == (1 if answer and answer.startswith("5") else 0)
    assert len(r.sink.kept) == 1


@pytest.mark.parametrize("answer,left", [(None, 0), ("451 4.3.0 later", 1)])
def test_hold_what_is_in_hand(in_hand, answer, left):
    """What A takes is gone; what it puts off is held."""
    r = in_hand
    r.answer = answer
    assert r.ctl("queue", "hold", r.id)[0] == 0
    r.go.set()
    until("the delivery to end", lambda: r.ask("status")["queue"]["active"] == 0 and r.queue_length() == left)
    if left:
        assert r.ctl_json("queue", "show", r.id)["state"] == "held"
        r.answer = None
        assert r.ctl("queue", "release", r.id)[0] == 0
        r.wait_empty()
    assert len(r.sink.kept) == 1 + left
