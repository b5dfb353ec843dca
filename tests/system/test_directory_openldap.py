"""The OpenLDAP source against a real slapd: changes as they happen, restarts on both sides, refusals."""
import signal
import time

import pytest

from certificate import issue
from dirwatch import LIBRARIES_LEAK, Dirwatch
from slapd import BASE, Slapd, person

PEOPLE = "".join(person(f"u{i:03d}", proxyAddresses=[f"SMTP:u{i:03d}@x.test", f"smtp:user.{i}@x.test"])
                 for i in range(100))


@pytest.fixture
def stage(tmp_path):
    """stage.slapd(...), stage.watch(...): all are stopped at the end."""
    class Stage:
        def __init__(self):
            self.made = []

        def slapd(self, people=PEOPLE, **kw):
            s = Slapd(tmp_path / f"slapd{len(self.made)}", people, **kw)
            self.made.append(s)
            return s

        def conf(self, slapd, uri=None, ca=None, password=None, tls="starttls", more=""):
            path = tmp_path / "causeway.conf"
            path.write_text(f"""
listener "i" {{ address = "127.0.0.1:0" }}
forest "old" {{ host "127.0.0.1" {{}} }}
forest "new" {{ host "127.0.0.1" {{}} }}
domain "x.test" {{}}
source "hr" {{
  type = openldap
  uri = {{"{uri or slapd.uri}"}}
  tls = {tls}
  ca_file = "{ca or slapd.folder / 'ca.pem'}"
  bind_dn = "cn=sync,{BASE}"
  password_file = "{password or slapd.folder / 'password'}"
  base = "{BASE}"
  filter = "(objectClass=mailRecipient)"
  forest = "old"
  flag_attribute = "extensionAttribute1"
  flag_values = {{"source = old", "target = new"}}
  backoff_min = 100ms
  backoff_max = 500ms
  grace = 0
  {more}
}}
""")
            return path

        def watch(self, conf, env=None):
            w = Dirwatch(conf, tmp_path / "state", env)
            self.made.append(w)
            return w
    stage = Stage()
    yield stage
    for thing in reversed(stage.made):
        if isinstance(thing, Dirwatch):
            if thing.process.poll() is None:
                thing.stop()
        else:
            if thing.process is not None:
                thing.send(signal.SIGCONT)
            thing.stop(signal.SIGKILL)


def test_changes_as_they_happen(stage):
    slapd = stage.slapd().start()
    w = stage.watch(stage.conf(slapd))
    w.until_state("hr", "current")
    assert w.status("hr")[1:] == ["100", "200", "1"]
    assert w.place("user.7@x.test") == "found old"
    assert w.place("nobody@x.test") == "not-found"
    slapd.add("new", extensionAttribute1="target")
    w.until("new@x.test", "found new")
    seen = len(w.changes)
    slapd.modify("u007", extensionAttribute1="TARGET")
    w.until("user.7@x.test", "found new")
    assert w.place("u007@x.test") == "found new"
    assert w.changes[seen][1:] == (4, False)  # its two addresses, before and after
    slapd.modify("u007", extensionAttribute1=None)
    w.until("u007@x.test", "found old")
    slapd.modify("u007", proxyAddresses="SMTP:seven@x.test")
    w.until("seven@x.test", "found old")
    assert w.place("u007@x.test") == "not-found"
    assert w.place("user.7@x.test") == "not-found"
    seen = len(w.changes)
    slapd.rename("u008", "eight")  # the DN is kept, and is no address
    slapd.modify("u009", sn="Nine")  # nor the name
    slapd.delete("u010")
    w.until("u010@x.test", "not-found")
    assert w.place("u008@x.test") == "found old"
    assert [c[1] for c in w.changes[seen:]] == [2]
    slapd.modify("u011", objectClass="inetOrgPerson", proxyAddresses=None)  # leaves the filter
    w.until("u011@x.test", "not-found")


def test_password_is_the_first_line(stage, tmp_path):
    slapd = stage.slapd().start()
    two = tmp_path / "two"
    two.write_text("sync\r\nof cn=sync, changed in November\n")
    stage.watch(stage.conf(slapd, password=two)).until_state("hr", "current")


def test_server_restarts(stage):
    """After a restart slapd's session log is empty: it names what is still there (present phase)."""
    slapd = stage.slapd().start()
    w = stage.watch(stage.conf(slapd))
    w.until_state("hr", "current")
    slapd.stop(signal.SIGKILL)
    w.until_state("hr", "failing")
    assert w.place("u001@x.test") == "found old"  # routing goes on
    slapd.start()
    w.until_state("hr", "current")
    w.stop()
    slapd.delete("u001", "u002")  # while nobody listens
    slapd.modify("u003", extensionAttribute1="target")
    slapd.add("late")
    slapd.stop()
    w = stage.watch(stage.conf(slapd))  # slapd is down: the files are enough
    w.until_state("hr", "failing")
    assert w.place("u001@x.test") == "found old"
    assert w.place("late@x.test") == "not-found"  # complete, and fresh enough
    slapd.start()
    w.until("late@x.test", "found old")
    assert w.place("u001@x.test") == "not-found"
    assert w.place("u003@x.test") == "found new"
    w.until_state("hr", "current")
    assert w.status("hr")[1] == "99"


def test_our_restart_takes_the_changes_between(stage):
    slapd = stage.slapd(session_log=1000).start()
    conf = stage.conf(slapd)
    w = stage.watch(conf)
    w.until_state("hr", "current")
    w.kill()  # nothing is written down at the end
    slapd.delete("u050")
    slapd.modify("u051", extensionAttribute1="target")
    w = stage.watch(conf)
    w.until("u051@x.test", "found new")
    assert w.place("u050@x.test") == "not-found"
    assert w.place("u052@x.test") == "found old"
    assert all(not c[2] and c[1] <= 6 for c in w.changes), w.changes  # no reload: only what changed


def test_down_from_the_first_day(stage):
    slapd = stage.slapd()
    w = stage.watch(stage.conf(slapd))
    w.until_error("hr", "connect")
    assert w.place("u001@x.test") == "not-found-yet"
    slapd.start()
    w.until("u001@x.test", "found old")


@pytest.mark.parametrize("what,words", [
    ("password", "refused bind_dn"), ("missing password", "No such file"), ("ca", "StartTLS"),
    ("ca ldaps", "TLS"), ("name", "StartTLS"), ("base", "does not exist"), ("limit", "size=unlimited"),
    ("not ldap", "connect")])
def test_refusals(stage, tmp_path, what, words):
    slapd = stage.slapd(limits="size=10" if what == "limit" else "size=unlimited").start()
    kw = {}
    (tmp_path / "wrong").write_text("wrong\n")
    if what == "password":
        kw["password"] = tmp_path / "wrong"
    elif what == "missing password":
        kw["password"] = tmp_path / "missing"
    elif what == "ca":
        kw["ca"] = stage.slapd().folder / "ca.pem"  # a good CA, of someone else
    elif what == "ca ldaps":
        kw.update(ca=stage.slapd().folder / "ca.pem", tls="ldaps", uri=f"ldaps://127.0.0.1:{slapd.tls_port}")
    elif what == "name":
        kw["uri"] = f"ldap://127.0.0.2:{slapd.port}"
    conf = stage.conf(slapd, **kw)
    if what == "base":
        conf.write_text(conf.read_text().replace(f'base = "{BASE}"', f'base = "ou=nowhere,{BASE}"'))
    if what == "name":
        slapd.stop()
        slapd.start("127.0.0.2")  # an address that the certificate does not name
    if what == "not ldap":
        slapd.stop()
    w = stage.watch(conf)
    w.until_error("hr", words)
    assert w.place("u001@x.test") in ("not-found-yet", "found old")
    assert w.place("nobody@x.test") == "not-found-yet"
    assert w.stop() < 8


def test_ldaps(stage):
    slapd = stage.slapd().start()
    w = stage.watch(stage.conf(slapd, tls="ldaps", uri=f"ldaps://127.0.0.1:{slapd.tls_port}"))
    w.until_state("hr", "current")


@pytest.mark.parametrize("tls", ["starttls", "ldaps"])
def test_bind_with_a_certificate(stage, tls):
    """SASL EXTERNAL: the server takes the name in our certificate for the account; another may read nothing."""
    slapd = stage.slapd().start()
    issue(slapd.folder, "sync", prefix="client-")
    issue(slapd.folder, "stranger", prefix="stranger-")
    uri = slapd.uri if tls == "starttls" else f"ldaps://127.0.0.1:{slapd.tls_port}"
    conf = stage.conf(slapd, tls=tls, uri=uri, more=f"""bind = external
  tls_cert_file = "{slapd.folder}/stranger-cert.pem"
  tls_key_file = "{slapd.folder}/stranger-key.pem"
""")
    text = conf.read_text().replace(f'bind_dn = "cn=sync,{BASE}"\n', "").replace("password_file", "# password_file")
    conf.write_text(text)
    w = stage.watch(conf, LIBRARIES_LEAK)
    w.until_state("hr", "failing")
    assert w.place("u001@x.test") == "not-found-yet"
    conf.write_text(text.replace("stranger-", "client-"))
    assert w.ask(f"reload {conf}") == ["reloaded"]
    w.until_state("hr", "current")
    assert w.status("hr")[1] == "100"


def test_dies_half_way(stage):
    """A first sync that breaks off is usable and not complete; a later one that breaks off deletes nothing."""
    many = "".join(person(f"m{i:05d}") for i in range(20000))
    slapd = stage.slapd(many).start()
    conf = stage.conf(slapd)
    w = stage.watch(conf)
    w.until("m00010@x.test", "found old")
    slapd.stop(signal.SIGKILL)
    w.until_state("hr", "failing")
    complete = w.status("hr")[3] == "1"
    assert w.place("nobody@x.test") == ("not-found" if complete else "not-found-yet")
    slapd.start()
    w.until_state("hr", "current")
    assert w.status("hr")[1] == "20000"
    for _ in range(5):
        slapd.stop(signal.SIGKILL)
        slapd.start()
    w.until_state("hr", "current")
    assert w.status("hr")[1] == "20000"


def test_hangs(stage):
    """A server that hangs keeps its connections; it is noticed all the same."""
    slapd = stage.slapd().start()
    w = stage.watch(stage.conf(slapd, more="stale_after = 1s"))
    w.until_state("hr", "current")
    time.sleep(1.5)
    assert w.place("nobody@x.test") == "not-found"  # silence alone makes nothing stale
    slapd.send(signal.SIGSTOP)
    w.until("nobody@x.test", "not-found-yet")
    assert w.place("u001@x.test") == "found old"
    w.until_state("hr", "stale")
    slapd.send(signal.SIGCONT)
    w.until("nobody@x.test", "not-found")
    slapd.send(signal.SIGSTOP)
    assert w.stop() < 8


def test_mass_change_waits(stage):
    slapd = stage.slapd().start()
    conf = stage.conf(slapd, more="mass_change_percent = 20")
    w = stage.watch(conf)
    w.until_state("hr", "current")
    w.stop()
    slapd.delete(*[f"u{i:03d}" for i in range(30)])
    w = stage.watch(conf)
    w.until_error("hr", "mass_change_percent")
    assert w.place("u001@x.test") == "found old"
    conf = stage.conf(slapd, more="mass_change_percent = 100")
    assert w.ask(f"reload {conf}") == ["reloaded"]
    w.until("u001@x.test", "not-found")
    assert w.place("u031@x.test") == "found old"
