"""What a new admin gets wrong at the start: each ends with one sentence that says what, where, and what would be right."""
import contextlib
import glob
import grp
import os
import pwd
import random
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile

import pytest

from certificate import certificate
from client import Client, message
from dirwatch import LIBRARIES_LEAK
from relay import DOMAIN, Relay, build_dir
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


def test_one_port_for_all_addresses_and_for_one(relay, sinks):
    """A listener for everybody and one for an inner address: whoever comes to that one gets its rules."""
    sink = sinks()
    r = relay(forests={"A": [sink.port]}, people={"anna": "A"})
    with open(r.conf, encoding="utf-8") as f:
        text = f.read()
    inner = 'listener "in" { '
    assert inner in text
    for everybody in ("*", "0.0.0.0", "[::]"):
        with open(r.conf, "w", encoding="utf-8") as f:
            f.write(f'listener "all" {{ address = "{everybody}:{r.port}" }}\n' + text.replace(inner, inner + "kind = internal  "))
        r.start()
        with Client(r.port, greet=False) as c:
            assert c.reply()[0] == 554
        with Client(r.port, host="127.0.0.2") as c:
            assert c.banner[0] == 220
        assert r.terminate() == 0


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
    r = relay(forests={"A": [free_port()]}, sections={"": ['user = "nobodyhere"']})
    if os.geteuid() != 0:
        pytest.skip("only root changes its user")
    said = refused(r)
    assert '"nobodyhere"' in said and "useradd" in said, said


@pytest.fixture
def nobodys():
    """A relay(...) that root starts and `nobody` runs, in a folder that others may enter (pytest's are closed)."""
    if os.geteuid() != 0:
        pytest.skip("only root changes its user")
    folder, made = tempfile.mkdtemp(prefix="causeway-nobody-"), []
    os.chmod(folder, 0o755)

    def make(control=(), **kw):
        made.append(Relay(folder + "/r", people={"anna": "A"}, **kw, sections={
            "": ['user = "nobody"'], "control": list(control), "queue": ["retry_min = 200ms", "dest_backoff_min = 200ms"]}))
        return made[-1]
    yield make
    for r in made:
        r.finish()
    shutil.rmtree(folder)


def privileged_port():
    """A free one that only root may bind."""
    while True:
        port = random.randrange(600, 1024)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def gave_up_root(r):
    """In every thread, for good, and nothing that it made is root's."""
    user = pwd.getpwnam("nobody")
    threads = glob.glob(f"/proc/{r.process.pid}/task/*/status")
    assert len(threads) > 2
    for path in threads:
        with open(path, encoding="ascii") as f:
            has = dict(x.rstrip("\n").split(":\t") for x in f if ":\t" in x)
        assert has["Uid"].split() == [str(user.pw_uid)] * 4, has
        assert has["Gid"].split() == [str(user.pw_gid)] * 4, has
        assert {int(x) for x in has["Groups"].split()} == set(os.getgrouplist("nobody", user.pw_gid)), has
        for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(has[name], 16) == 0, (name, has)
        assert has["NoNewPrivs"] == "1", has
    made = [r.control]
    for top in (r.spool, r.dir + "/state"):
        made += [top] + [os.path.join(at, x) for at, folders, files in os.walk(top) for x in folders + files]
    assert len(made) > 6
    for path in made:
        s = os.lstat(path)
        assert (s.st_uid, s.st_gid) == (user.pw_uid, user.pw_gid), path
        assert stat.S_IMODE(s.st_mode) & 0o077 == 0, f"{path} is open to others: {s.st_mode:o}"


def test_root_is_given_up(nobodys, sinks):
    """Once the sockets are bound; mail flows, and a reload and a restart work for the user as well."""
    sink = sinks()
    r = nobodys(forests={"A": [sink.port]})
    r.port = privileged_port()
    r.write_conf()
    r.start()
    for n, again in enumerate((lambda: r.ctl("reload"), r.kill, r.terminate, lambda: None), 1):
        gave_up_root(r)
        with Client(r.port) as c:
            assert c.send("s@sender.test", f"anna@{DOMAIN}", message(f"m{n}", b"x\r\n" * 200_000))[0] == 250
        sink.wait(n)
        r.wait_empty()
        again()
        if not r.is_running():
            r.start()
    assert r.ask("status")["reloads_failed"] == 0 and "reloaded " in r.log()
    assert "running-as-root" not in r.log()


def can_ask(r, *groups):
    """Whether a process of the user "daemon", in these groups only, may use the control socket."""
    user = pwd.getpwnam("daemon")
    done = subprocess.run([sys.executable, "-c", "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])",
                           r.control], user=user.pw_uid, group=user.pw_gid, extra_groups=groups, cwd="/",
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("group", [None, "mail"])
def test_who_may_use_the_control_socket(nobodys, group):
    """Root and the daemon's user; with control.socket_group also the members of that group, and nobody else."""
    r = nobodys(forests={"A": [free_port()]}, control=[f'socket_group = "{group}"'] if group else [])
    r.start()
    s = os.stat(r.control)
    assert s.st_uid == pwd.getpwnam("nobody").pw_uid
    assert stat.S_IMODE(s.st_mode) == (0o660 if group else 0o600)
    members = grp.getgrnam("mail").gr_gid
    assert not group or s.st_gid == members
    assert can_ask(r, members) == bool(group)
    assert not can_ask(r, grp.getgrnam("news").gr_gid)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
@pytest.mark.parametrize("member", [False, True])
def test_socket_group_of_a_daemon_that_root_did_not_start(nobodys, member):
    """As a unit starts it. What is not its own group it cannot give the socket to: said, and mail flows."""
    path = os.path.realpath(os.path.join(build_dir(), "causewayd"))
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            pytest.skip(f"{path} is closed to nobody")
        path = os.path.dirname(path)
    group = grp.getgrnam("mail").gr_gid
    r = nobodys(forests={"A": [free_port()]}, control=['socket_group = "mail"'])
    r.wrap = ["setpriv", "--reuid=nobody", "--regid=nogroup", f"--groups={group}" if member else "--clear-groups"]
    shutil.chown(r.dir, "nobody")
    code, out, err = causewayd("--check", r.conf)
    assert code == 0 and 'not in group "mail"' in out and "SupplementaryGroups=mail" in out, out + err
    r.start()
    assert ("control-socket-group" in r.log()) != member
    assert can_ask(r, group) == member


def test_no_such_socket_group(nobodys):
    r = nobodys(forests={"A": [free_port()]}, control=['socket_group = "nobodyhere"'])
    said = refused(r)
    assert "control.socket_group" in said and '"nobodyhere"' in said, said
    code, out, err = causewayd("--check", r.conf)
    assert code == 1 and "control.socket_group" in err and "groupadd" in err, out + err


def test_reload_before_it_has_started(relay):
    """A service manager may ask as soon as the process is there: it is done when the relay has started."""
    r = relay(forests={"A": [free_port()]}, people={"anna": "A"})
    with open(r.conf, encoding="utf-8") as f:
        text = f.read()
    os.unlink(r.conf)
    os.mkfifo(r.conf)
    r.spawn()
    with open(r.conf, "w", encoding="utf-8") as f:  # returns when the relay begins to read
        r.reload()
        f.write(text)
    until("the start", lambda: " started " in r.log())
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(text)
    until("the reload", lambda: " reloaded " in r.log())
    assert r.terminate() == 0


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


LDAP = """source "ldap" {{
    type = openldap
    forest = "A"
    uri = {{ "ldaps://127.0.0.1:1" }}
    tls = ldaps
    base = "dc=x"
    bind_dn = "cn=x"
    password_file = "{0}/password"
    ca_file = "{0}/ca.pem"
    tls_cert_file = "{0}/cert.pem"
    tls_key_file = "{0}/key.pem"
}}
"""
NEEDED = ["password", "ca.pem", "cert.pem", "key.pem"]


def with_files(relay, tmp_path, but=""):
    """A relay that was not started, whose source names four files; all are there but one, which is `away`."""
    certificate(tmp_path)
    (tmp_path / "password").write_text("something\n")
    if but:
        (tmp_path / but).rename(tmp_path / "away")
    r = relay(forests={"A": [free_port()]}, source=LDAP.format(tmp_path), env=LIBRARIES_LEAK)
    with open(r.conf, encoding="utf-8") as f:
        lines = f.read().split("\n")
    return r, next((f"{r.conf}:{i}: " for i, x in enumerate(lines, 1) if but and x.endswith(f'/{but}"')), None)


def ldap_alarm(r):
    return next((a["text"] for a in r.ask("status")["alarms"] if a["about"] == "ldap"), "")


@pytest.mark.parametrize("name", NEEDED)
def test_file_that_a_source_needs_is_missing(relay, tmp_path, name):
    """By --check an error: file, line, option, what would be right. The daemon starts, and that source fails."""
    r, place = with_files(relay, tmp_path, but=name)
    code, out, err = causewayd("--check", r.conf)
    assert code == 1 and out == "", out + err
    r.start(directory=False)
    for said in (err, r.log()):
        said = next(x for x in said.split("\n") if place in x)
        assert f"{tmp_path}/{name}" in said and "No such file" in said and "correct the path" in said, said
    until("the alarm", lambda: "source ldap fails" in ldap_alarm(r))
    (tmp_path / "away").rename(tmp_path / name)
    code, out, err = causewayd("--check", r.conf)
    assert code == 0 and "warning" not in out and err == "", out + err


@pytest.mark.parametrize("name", NEEDED)
def test_file_that_a_source_needs_goes(relay, tmp_path, name):
    """A reload that leaves the source as it is goes through; one that changes it does not."""
    r, _ = with_files(relay, tmp_path)
    r.start(directory=False)
    (tmp_path / name).unlink()
    with open(r.conf, encoding="utf-8") as f:
        text = f.read()
    port = free_port()
    other = re.sub(r'(forest "A" \{\n(?:.*\n)*?.*127\.0\.0\.1:)\d+', rf"\g<1>{port}", text, count=1)
    assert other != text
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(other)
    code, said = r.ctl("reload")
    assert code == 0, said
    assert f"{tmp_path}/{name} cannot be read" in r.log() and "source ldap fails" in ldap_alarm(r)
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(other.replace('base = "dc=x"', 'base = "dc=y"'))
    code, said = r.ctl("reload")
    assert code == 1 and f"{tmp_path}/{name} cannot be read" in said and "nothing was changed" in said, said


def test_file_that_a_source_needs_is_something_else(relay, tmp_path):
    r, _ = with_files(relay, tmp_path)
    (tmp_path / "password").write_text("")
    assert "is empty" in causewayd("--check", r.conf)[2]
    (tmp_path / "password").unlink()
    (tmp_path / "password").mkdir()
    assert "is a folder" in causewayd("--check", r.conf)[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_file_that_only_root_may_read(relay, tmp_path):
    """The daemon is not root when it reads it; neither is --check."""
    r, _ = with_files(relay, tmp_path)
    shutil.chown(tmp_path / "password", 0, 0)
    for name in NEEDED:
        os.chmod(tmp_path / name, 0o644)
    with open(r.conf, encoding="utf-8") as f:
        text = f.read()
    with open(r.conf, "w", encoding="utf-8") as f:
        f.write(text.replace('user = ""', 'user = "nobody"'))
    with opened(tmp_path):
        assert causewayd("--check", r.conf)[0] == 0
        os.chmod(r.conf, 0o600)
        code, _, err = causewayd("--check", r.conf)
        assert code == 1 and f'{r.conf}: may not be read by user "nobody"' in err, err
        os.chmod(r.conf, 0o644)
        os.chmod(tmp_path / "password", 0o600)
        code, _, err = causewayd("--check", r.conf)
        assert code == 1 and "password" in err and 'may not be read by user "nobody"' in err, err
        r.start(directory=False)
        assert 'may not be read by user \\"nobody\\"' in r.log()
        r.terminate()


@contextlib.contextmanager
def opened(path):
    """Everybody may go through the folders above; pytest makes them for one user only."""
    modes = [(p, os.stat(p).st_mode) for p in path.parents]
    for p, mode in modes:
        os.chmod(p, mode | 0o011)
    os.chmod(path, 0o755)
    yield
    for p, mode in modes:
        os.chmod(p, mode)


@pytest.mark.parametrize("kind", ["ldif", "csv"])
def test_file_of_a_source_that_may_come_later(relay, tmp_path, kind):
    """It is watched: a warning, and not an error."""
    later = tmp_path / "later"
    source = f'source "people" {{\n    type = {kind}\n    path = "{later}"\n    forest = "A"\n}}\n'
    r = relay(forests={"A": [free_port()]}, source=source)
    code, out, err = causewayd("--check", r.conf)
    assert code == 0 and err == "", err
    warning = next(x for x in out.split("\n") if x.startswith("warning: "))
    assert re.search(rf'{r.conf}:\d+: source "people"\.path: {later} cannot be read', warning), warning
    r.start(directory=False)
    code, text = r.ctl("reload")
    assert code == 0, text
    later.mkdir()
    code, _, err = causewayd("--check", r.conf)
    assert code == 1 and "is a folder" in err, err


def test_folder_that_is_a_file(relay, tmp_path):
    (tmp_path / "file").write_text("")
    r = relay(forests={"A": [free_port()]})
    r.spool = str(tmp_path / "file" / "spool")
    r.write_conf()
    code, _, err = causewayd("--check", r.conf)
    assert code == 1 and f"spool.directory: {tmp_path}/file is not a folder" in err, err


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
    """The example, and the sources that are shown one by one after it."""
    readme = os.path.join(os.path.dirname(__file__), "..", "..", "README.md")
    with open(readme, encoding="utf-8") as f:
        text = f.read()
    example = re.search(r"## A configuration\n\n((?:    .*\n|\n)+)", text)
    sources = re.findall(r'^    source "\w+" \{(?:.*\}\n|\n(?:        .*\n)+    \}\n)', text[example.end():], re.M)
    assert len(sources) == 3, sources
    conf = re.sub(r"^    ", "", example.group(1) + "".join(sources), flags=re.M)
    for name in re.findall(r'(?:password|ca)_file = "/etc/causeway/(.+)"', conf):
        (tmp_path / name).write_text("something\n")
    path = tmp_path / "readme.conf"
    path.write_text('user = ""\n' + conf.replace("/etc/causeway/", f"{tmp_path}/"))
    code, out, err = causewayd("--check", str(path))
    assert code == 0 and "451" not in out, out + err
    assert out.count("warning") == 1 and 'source "tenant".path' in out, out  # not exported yet
