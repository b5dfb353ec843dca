"""What a new admin gets wrong at the start: each ends with one sentence that says what, where, and what would be right."""
import os
import re
import socket
import subprocess

import pytest

from client import Client, message
from relay import DOMAIN, build_dir
from wait import free_port, until


def causewayd(*args):
    """(exit status, standard output, standard error)"""
    p = subprocess.run([os.path.join(build_dir(), "causewayd"), *args], capture_output=True, text=True, timeout=60,
                       check=False)
    return p.returncode, p.stdout, p.stderr


def refused(r):
    """Starts it; the sentence in which it says why not."""
    code, _, err = causewayd("-c", r.conf)
    assert code == 1, err
    said = [x for x in err.split("\n") if x.startswith("causewayd: ")]
    assert len(said) == 1, err
    assert "Sanitizer" not in err, err
    return said[0]


def test_port_in_use_by_another_causewayd(relay, sinks):
    """Both may share the port as far as the kernel is concerned; half of the mail would go to the wrong one."""
    sink = sinks()
    one = relay(forests={"A": [sink.port]}, people={"anna": "A"}).start()
    two = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    two.port = one.port
    two.write_conf()
    said = refused(two)
    assert f"127.0.0.1:{one.port}" in said and "in use" in said, said
    for i in range(10):
        with Client(one.port) as c:
            assert c.send("s@sender.test", f"anna@{DOMAIN}", message(f"m{i}"))[0] == 250
    sink.wait(10)


def test_port_in_use_by_something_else(relay):
    r = relay(forests={"A": [free_port()]})
    with socket.socket() as s:
        s.bind(("127.0.0.1", r.port))
        s.listen()
        said = refused(r)
    assert f"127.0.0.1:{r.port}" in said and "in use" in said and 'listener "in"' in said, said


def test_port_is_free_again_at_once(relay, sinks):
    """Connections of the last run that the kernel still remembers are in nobody's way."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"}).start()
    for _ in range(3):
        with Client(r.port) as c:
            assert c.cmd("NOOP")[0] == 250
            assert r.terminate() == 0
        r.start()


def test_state_directory_in_use(relay):
    """Another spool, another port, the same snapshots: they have one writer."""
    one = relay(forests={"A": [free_port()]}, people={"anna": "A"}).start()
    two = relay(forests={"A": [free_port()]}, people={"anna": "A"})
    with open(two.conf, encoding="utf-8") as f:
        text = f.read()
    with open(two.conf, "w", encoding="utf-8") as f:
        f.write(text.replace(f"{two.dir}/state", f"{one.dir}/state"))
    said = refused(two)
    assert "another daemon" in said and f"{one.dir}/state" in said, said
    one.kill()
    two.start()  # what was killed holds nothing


def test_control_socket_in_use(relay):
    one = relay(forests={"A": [free_port()]}, people={"anna": "A"}).start()
    two = relay(forests={"A": [free_port()]}, people={"anna": "A"})
    two.control = one.control
    two.write_conf()
    said = refused(two)
    assert one.control in said, said
    assert one.ask("status")


def test_no_such_user(relay):
    r = relay(forests={"A": [free_port()]}, sections={})
    with open(r.conf, encoding="utf-8") as f:
        text = f.read()
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(text.replace('user = ""', 'user = "nobodyhere"'))
    if os.geteuid() != 0:
        pytest.skip("only root changes its user")
    said = refused(r)
    assert '"nobodyhere"' in said and "useradd" in said, said


def test_spool_that_cannot_be_made(relay):
    r = relay(forests={"A": [free_port()]})
    r.spool = "/proc/nothing/spool"
    r.write_conf()
    assert "cannot make directory /proc/nothing" in refused(r)


def test_no_configuration(tmp_path):
    missing = str(tmp_path / "missing.conf")
    for args in (["-c", missing], ["--check", missing]):
        code, _, err = causewayd(*args)
        assert code == 1 and missing in err and "--sample" in err and ":0" not in err, err


def test_check_names_the_line(tmp_path):
    path = tmp_path / "c.conf"
    code, sample, _ = causewayd("--sample")
    assert code == 0
    path.write_text(sample)
    code, out, err = causewayd("--check", str(path))
    assert code == 0 and err == ""
    # The sample has no directory yet: good, and yet no mail would be taken.
    assert "example.com" in out and "451" in out, out
    path.write_text(sample + '\nqueue { retry_mim = 1m }\n')
    code, out, err = causewayd("--check", str(path))
    line = sample.count("\n") + 2
    assert code == 1 and out == "" and f"{path}:{line}: " in err and "retry_min" in err, err


@pytest.mark.parametrize("args", [["--bogus"], ["extra"], ["-c"], ["--check"]])
def test_wrong_arguments(args):
    code, out, err = causewayd(*args)
    assert code == 2 and out == "" and "causewayd --help" in err, err


def test_unreadable_ldif(relay, sinks):
    """The line is named; what was read before stays in force; a good file is taken at once."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A", "bob": "A"}).start()
    with open(r.ldif, encoding="utf-8") as f:
        good = f.read()
    bad = good.replace("mailNickname: bob\n", "mailNickname: bob\nthis is no attribute\n")
    line = bad[:bad.index("this is")].count("\n") + 1
    with open(r.ldif + ".new", "w", encoding="utf-8") as f:
        f.write(bad)
    os.rename(r.ldif + ".new", r.ldif)
    until("the complaint", lambda: f"line {line}" in r.ask("directory.status")["items"][0]["last_error"])
    code, text = r.ctl("directory")
    assert code == 0 and r.ldif in text and f"line {line}" in text, text
    assert r.goes_to("bob") == "forest:A"
    r.people["carl"] = "A"
    r.write_ldif()
    until("carl to be known", lambda: r.knows("carl"))
    until("no complaint", lambda: r.ask("directory.status")["items"][0]["last_error"] == "")


def test_readme_configuration_is_good(tmp_path):
    readme = os.path.join(os.path.dirname(__file__), "..", "..", "README.md")
    with open(readme, encoding="utf-8") as f:
        text = f.read()
    example = re.search(r"## A configuration\n\n((?:    .*\n|\n)+)", text).group(1)
    path = tmp_path / "readme.conf"
    path.write_text("".join(x[4:] + "\n" for x in example.split("\n")))
    code, out, err = causewayd("--check", str(path))
    assert code == 0 and "451" not in out, out + err
