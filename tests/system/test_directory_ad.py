"""The Active Directory source against real domain controllers (Samba): what happens to people there, and what can go
wrong with a server, its certificate, its accounts. The directory by itself; with mail: test_directory_forests.py."""
import random
import signal

import pytest

from dirwatch import HEAD, LIBRARIES_LEAK, Dirwatch, source
from samba_dc import PASSWORD, Domain, Samba
from slapd import BASE, Slapd, person
from tcp_proxy import TcpProxy
from wait import until

NAMES = ("anna", "bob", "carl", "dora", "emil")


@pytest.fixture
def stage(tmp_path, domains):
    """stage.dc(...), stage.conf(...), stage.watch(...): all are stopped at the end."""
    class Stage:
        def __init__(self):
            self.made = []

        def keep(self, thing):
            self.made.append(thing)
            return thing

        def dc(self, origin=None, domain=None, names=NAMES):
            """A domain controller with some mailboxes, not started."""
            dc = self.keep(Samba(tmp_path / f"dc{len(self.made)}", domain or domains["source.test"], origin))
            if origin is None:
                dc.change("".join(dc.person(n, mail=f"{n}@x.test", homeMDB=dc.database,
                                            proxyAddresses=[f"SMTP:{n}@x.test", f"smtp:{n}.two@x.test"])
                                  for n in names))
            return dc

        def conf(self, dc, **more):
            (tmp_path / "causeway.conf").write_text(HEAD + source("ad", **{
                "type": "active-directory", "uri": [dc.uri], "tls": "starttls", "ca_file": dc.ca, "base": dc.base,
                "bind_dn": dc.account(), "password_file": dc.password, "forest": "old",
                "flag_attribute": "extensionAttribute1", "flag_values": ["moved = new"], "backoff_min": "100ms",
                "backoff_max": "300ms", "poll_interval": "100ms", "grace": "0", **more}))
            return tmp_path / "causeway.conf"

        def watch(self, conf, env=None):
            return self.keep(Dirwatch(conf, tmp_path / "state", env))

        def current(self, dc, **more):
            w = self.watch(self.conf(dc, **more))
            w.until_state("ad", "current")
            return w
    stage = Stage()
    yield stage
    for thing in reversed(stage.made):
        if isinstance(thing, Samba):
            thing.finish()
        elif not isinstance(thing, Dirwatch) or thing.process.poll() is None:
            thing.stop()


@pytest.fixture(params=["dirsync", "usn"])
def sync(request):
    """How changes are found; what must look the same by either."""
    return request.param


def test_a_life(stage, sync):
    """Create, change, rename, move, delete, restore: each is seen, and what is no change for mail disturbs nobody."""
    dc = stage.dc().start()
    w = stage.current(dc, sync=sync)
    assert w.status("ad")[1:] == ["5", "10", "1"]
    assert w.place("anna.two@x.test") == "found old"
    assert w.place("nobody@x.test") == "not-found"
    dc.add("new", mail="new@x.test", homeMDB=dc.database)
    w.until("new@x.test", "found old")
    dc.modify("new", extensionAttribute1="moved")
    w.until("new@x.test", "found new")
    dc.modify("new", extensionAttribute1=None)
    w.until("new@x.test", "found old")
    dc.modify("new", proxyAddresses=["SMTP:newer@x.test", "smtp:new@x.test"], mail="newer@x.test")
    w.until("newer@x.test", "found old")
    assert w.place("new@x.test") == "found old"
    dc.modify("new", proxyAddresses="SMTP:newer@x.test")
    w.until("new@x.test", "not-found")
    seen = sum(n for _, n, _ in w.changes)
    dc.rename("new", "other name")
    dc.move("other name", "OU=Elsewhere")
    dc.add("mark", mail="mark@x.test")
    w.until("mark@x.test", "found old")  # after the two before it
    assert w.place("newer@x.test") == "found old"
    assert sum(n for _, n, _ in w.changes) - seen <= 5, w.changes  # the one address, and the new ones
    dc.delete("other name", unit="OU=Elsewhere")
    w.until("newer@x.test", "not-found")
    dc.restore("new", mail="new@x.test", proxyAddresses="SMTP:new@x.test", homeMDB=dc.database)
    w.until("new@x.test", "found old")
    w.until_entries("ad", 7)


def test_kinds_of_recipients(stage):
    dc = stage.dc(names=())
    for name, values in {
            "mailbox": {"homeMDB": dc.database, "msExchRecipientTypeDetails": "1"},
            "shared": {"msExchRecipientTypeDetails": "4", "userAccountControl": "514"},
            "mailuser": {"targetAddress": "SMTP:mailuser@there.test", "msExchRecipientTypeDetails": "128"},
            "remote": {"targetAddress": "SMTP:remote@there.test", "msExchRecipientTypeDetails": "2147483648"},
            "contact": {"object_class": "contact", "targetAddress": "SMTP:contact@there.test"},
            "group": {"object_class": "group", "groupType": "8"}}.items():
        dc.add(name, **{"mail": f"{name}@x.test", **values})
    dc.add("nomail", mail=None, proxyAddresses=None)
    dc.start()
    conf = stage.conf(dc)
    conf.write_text(conf.read_text() + 'domain "there.test" { type = routing  forest = "new" }\n')
    w = stage.watch(conf)
    w.until_state("ad", "current")
    for name in ("mailbox", "shared", "group"):
        assert w.place(f"{name}@x.test") == "found old"
    for name in ("mailuser", "remote", "contact"):
        assert w.lookup(f"{name}@x.test")[:4] == ["found", "new", "targetAddress", f"{name}@there.test"]
    w.until_entries("ad", 6)


def test_our_restart_takes_the_changes_between(stage, sync):
    """The cookie outlives us, killed or not: nothing is read twice."""
    dc = stage.dc().start()
    dc.add("leaves", mail="leaves@x.test")
    w = stage.current(dc, sync=sync)
    w.kill()
    dc.delete("leaves")
    dc.modify("bob", extensionAttribute1="moved")
    w = stage.watch(stage.conf(dc, sync=sync))
    w.until("bob@x.test", "found new")
    w.until("leaves@x.test", "not-found")
    assert w.place("anna@x.test") == "found old"
    assert all(not everything and n <= 5 for _, n, everything in w.changes), w.changes


def test_killed_and_restarted(stage, sync):
    dc = stage.dc().start()
    w = stage.current(dc, sync=sync)
    for i in range(3):
        dc.stop(signal.SIGKILL)
        w.until_state("ad", "failing")
        assert w.place("anna@x.test") == "found old"  # routing goes on
        assert w.place("nobody@x.test") == "not-found"
        dc.add(f"while{i}", mail=f"while{i}@x.test")  # it is down for us, not for the directory
        dc.start()
        w.until(f"while{i}@x.test", "found old")
    dc.delete("while0")
    w.until("while0@x.test", "not-found")
    w.until_entries("ad", 7)


def test_down_from_the_first_day(stage):
    dc = stage.dc()
    w = stage.watch(stage.conf(dc))
    w.until_error("ad", "connect")
    assert w.place("anna@x.test") == "not-found-yet"
    dc.start()
    w.until("anna@x.test", "found old")


def test_hangs(stage, sync):
    dc = stage.dc().start()
    w = stage.current(dc, sync=sync, stale_after="2s")
    dc.send(signal.SIGSTOP)
    w.until("nobody@x.test", "not-found-yet")
    assert w.place("anna@x.test") == "found old"
    dc.send(signal.SIGCONT)
    w.until("nobody@x.test", "not-found")
    dc.send(signal.SIGSTOP)
    assert w.stop() < 8


@pytest.mark.parametrize("octets", [5000, 100000, 300000])
def test_cut_in_the_first_sync(stage, sync, octets):
    """The connection dies in the middle of the first answer, again and again; then it does not."""
    dc = stage.dc()
    dc.load(1000)
    dc.start()
    proxy = stage.keep(TcpProxy(dc.address, 389, limit=octets))
    w = stage.watch(stage.conf(dc, sync=sync, uri=[proxy.uri], tls="none"))
    until("two attempts", lambda: proxy.cuts >= 2)
    w.until_state("ad", "failing")
    assert w.place("nobody@x.test") == "not-found-yet"
    assert w.status("ad")[3] == "0"
    proxy.limit = None
    w.until_state("ad", "current")
    w.until_entries("ad", 1005)
    assert w.place("nobody@x.test") == "not-found"


def test_killed_in_the_first_sync(stage, sync):
    dc = stage.dc()
    dc.load(3000)
    dc.start()
    w = stage.watch(stage.conf(dc, sync=sync))
    w.until_state("ad", "syncing")
    dc.stop(signal.SIGKILL)
    w.until_state("ad", "failing")
    assert w.place("nobody@x.test") == ("not-found" if w.status("ad")[3] == "1" else "not-found-yet")
    dc.start()
    w.until_state("ad", "current")
    w.until_entries("ad", 3005)


def test_cut_while_it_is_followed(stage, sync):
    """The connection dies in the middle of the changes, again and again: nobody is lost over it."""
    dc = stage.dc()
    dc.load(300)
    dc.start()
    proxy = stage.keep(TcpProxy(dc.address, 389))
    w = stage.current(dc, sync=sync, uri=[proxy.uri], tls="none", mass_change_percent="100")
    proxy.limit = 0
    proxy.cut()
    dc.change("".join(f"dn: {dc.dn(f'u{i:06d}', 'OU=Bulk')}\nchangetype: modify\nreplace: extensionAttribute1\n"
                      "extensionAttribute1: moved\n-\n\n" for i in range(300)))
    proxy.limit, cuts = 30000, proxy.cuts
    until("some attempts", lambda: proxy.cuts >= cuts + 3)
    for i in range(0, 300, 20):
        assert w.place(f"u{i:06d}@source.test").startswith("found ")
    proxy.limit = None
    for i in (0, 150, 299):
        w.until(f"u{i:06d}@source.test", "found new")
    w.until_state("ad", "current")
    w.until_entries("ad", 305)


def test_cookie_of_another_domain(stage):
    """The cookie means nothing to this server any more: all is read anew, the people are the same."""
    dc = stage.dc().start()
    w = stage.current(dc)
    w.stop()
    dc.stop()
    other = stage.dc(domain=Domain(dc.folder.parent / "anew", "source.test")).start()
    w = stage.watch(stage.conf(other))
    w.until_state("ad", "current")
    assert w.status("ad")[1:] == ["5", "10", "1"]
    other.delete("bob")
    w.until("bob@x.test", "not-found")


def test_second_domain_controller(stage, sync):
    """Failover: nothing is lost, nothing is thought deleted, and what changes there is seen."""
    dc = stage.dc()
    dc2 = stage.dc(origin=dc).start()
    dc.start()
    ca = dc.folder.parent / "ca-both.pem"
    ca.write_text(dc.ca.read_text() + dc2.ca.read_text())
    w = stage.current(dc, sync=sync, uri=[dc.uri, dc2.uri], ca_file=ca)
    dc.stop(signal.SIGKILL)
    dc2.modify("carl", extensionAttribute1="moved")
    w.until("carl@x.test", "found new")
    dc2.delete("dora")
    w.until("dora@x.test", "not-found")
    assert w.place("anna@x.test") == "found old"
    w.until_entries("ad", 4)


def test_change_notification_wakes(stage):
    """Long before the next poll. Samba may miss a change right after we registered, so there is more than one."""
    dc = stage.dc().start()
    w = stage.current(dc, poll_interval="1h")

    def flagged():
        dc.modify("bob", displayName=f"{len(w.changes)}{random.random()}", extensionAttribute1="moved")
        return w.place("bob@x.test") == "found new"
    until("the change to be seen", flagged)


@pytest.mark.parametrize("tls", ["none", "starttls", "ldaps"])
def test_kerberos(stage, tls):
    """No password anywhere: the ticket comes from a key table, and is used anew after a restart of the server."""
    dc = stage.dc()
    env = dc.kerberos()
    dc.start()
    w = stage.watch(stage.conf(dc, bind="gssapi", bind_dn="", password_file="", tls=tls,
                               uri=[dc.tls_uri if tls == "ldaps" else dc.uri]), {**env, **LIBRARIES_LEAK})
    w.until_state("ad", "current")
    assert w.place("anna@x.test") == "found old"
    dc.stop()
    dc.modify("bob", extensionAttribute1="moved")
    dc.start()
    w.until("bob@x.test", "found new")


def test_global_catalog(stage):
    """Read by USNs; a deletion is found there, too."""
    dc = stage.dc().start()
    w = stage.current(dc, uri=[f"{dc.uri}:3268"], base="")
    assert w.place("anna@x.test") == "found old"
    dc.modify("bob", extensionAttribute1="moved")
    w.until("bob@x.test", "found new")
    dc.delete("carl")
    w.until("carl@x.test", "not-found")


@pytest.mark.parametrize("base", ["OU=Staff,", "ou=staff, "])
def test_below_a_unit(stage, sync, base):
    """Who is moved below the base appears, who is moved out of it goes, one by one and with their whole unit."""
    dc = stage.dc()
    dc.change(f"dn: OU=Team,OU=Elsewhere,{dc.base}\nchangetype: add\nobjectClass: organizationalUnit\n")
    dc.add("outside", unit="OU=Elsewhere", mail="outside@x.test")
    dc.add("member", unit="OU=Team,OU=Elsewhere", mail="member@x.test")
    dc.start()
    w = stage.current(dc, sync=sync, base=base + dc.base)
    w.until_entries("ad", 5)
    dc.move("outside", "OU=Staff", origin="OU=Elsewhere")
    w.until("outside@x.test", "found old")
    dc.move("outside", "OU=Elsewhere")
    w.until("outside@x.test", "not-found")

    def move_team(origin, unit):
        dc.change(f"dn: OU=Team,{origin},{dc.base}\nchangetype: modrdn\nnewrdn: OU=Team\ndeleteoldrdn: 1\n"
                  f"newsuperior: {unit},{dc.base}\n")
    move_team("OU=Elsewhere", "OU=Staff")
    w.until("member@x.test", "found old")
    move_team("OU=Staff", "OU=Elsewhere")
    w.until("member@x.test", "not-found")
    w.until_entries("ad", 5)


# ---- what is set up wrongly ----


def test_wrong_password_until_it_is_right(stage):
    dc = stage.dc().start()
    dc.password.write_text("wrong\n")
    w = stage.watch(stage.conf(dc))
    w.until_error("ad", "refused bind_dn")
    assert w.place("anna@x.test") == "not-found-yet"
    dc.password.write_text(PASSWORD + "\n")
    w.until("anna@x.test", "found old")
    w.until_state("ad", "current")


def test_password_changes_while_we_follow(stage):
    """What is known serves on; with the new password in the file it goes on."""
    dc = stage.dc().start()
    w = stage.current(dc)
    dc.password.write_text("wrong\n")
    dc.stop()
    dc.start()
    w.until_error("ad", "refused bind_dn")
    assert w.place("anna@x.test") == "found old"
    dc.modify("bob", extensionAttribute1="moved")
    dc.password.write_text(PASSWORD + "\n")
    w.until("bob@x.test", "found new")


@pytest.mark.parametrize("tls", ["starttls", "ldaps"])
@pytest.mark.parametrize("what", ["ca", "name"])
def test_wrong_certificate(stage, tls, what):
    """Nothing is believed, and no password is sent, until the certificate is right."""
    dc = stage.dc()
    right = dc.uri if tls == "starttls" else dc.tls_uri
    uri, ca = right, dc.ca
    if what == "ca":
        ca = stage.dc(origin=dc).ca  # a good one, of someone else
    else:
        proxy = stage.keep(TcpProxy(dc.address, 389 if tls == "starttls" else 636, listen="127.0.0.1"))
        uri = proxy.uri.replace("ldap", "ldap" if tls == "starttls" else "ldaps")
    dc.start()
    conf = stage.conf(dc, tls=tls, uri=[uri], ca_file=ca)
    w = stage.watch(conf)
    w.until_error("ad", "StartTLS" if tls == "starttls" else "TLS")
    assert w.place("anna@x.test") == "not-found-yet"
    assert w.ask(f"reload {stage.conf(dc, tls=tls, uri=[right])}") == ["reloaded"]
    w.until("anna@x.test", "found old")


@pytest.mark.parametrize("tls", ["starttls", "ldaps"])
def test_right_certificate(stage, tls):
    dc = stage.dc().start()
    w = stage.current(dc, tls=tls, uri=[dc.uri if tls == "starttls" else dc.tls_uri])
    assert w.place("anna@x.test") == "found old"


def test_no_active_directory(stage, tmp_path):
    """An OpenLDAP server has neither DirSync nor USNs."""
    slapd = stage.keep(Slapd(tmp_path / "slapd", person("anna"))).start()
    dc = stage.dc()
    w = stage.watch(stage.conf(dc, uri=[slapd.uri], ca_file=slapd.folder / "ca.pem", base=BASE,
                               bind_dn=f"cn=sync,{BASE}", password_file=slapd.folder / "password"))
    w.until_error("ad", "is it Active Directory?")
    assert w.place("nobody@x.test") == "not-found-yet"


def test_base_that_is_not_there(stage):
    dc = stage.dc().start()
    w = stage.watch(stage.conf(dc, base="DC=elsewhere,DC=test"))
    w.until_state("ad", "failing")
    assert w.place("nobody@x.test") == "not-found-yet"


def test_no_right_to_see_deletions(stage):
    """Samba and AD leave deletions out without a word for such an account. We say it."""
    dc = stage.dc().start()
    w = stage.watch(stage.conf(dc, bind_dn=dc.account("blind")))
    w.until_error("ad", "Deleted Objects")
    assert w.place("anna@x.test") == "found old"
    assert w.status("ad")[0] == "current"  # it works, at a price


MANY = [f"m{i:02d}" for i in range(40)]


def pending(w):
    """[vanish, move] of what is held."""
    return w.ask("pending ad")[1:3]


def test_mass_change_waits(stage, sync):
    """What is deleted while nobody looks is held, over a restart of either side; what is agreed to is what was shown,
    and the changes after it come through."""
    dc = stage.dc(names=MANY).start()
    w = stage.current(dc, sync=sync)
    w.stop()
    dc.delete(*MANY[:20])
    dc.modify("m30", extensionAttribute1="moved")
    w = stage.watch(stage.conf(dc, sync=sync))
    w.until_state("ad", "held")
    assert pending(w) == ["20", "1"]
    assert w.place("m01@x.test") == "found old" and w.place("m30@x.test") == "found old"
    w.kill()
    dc.stop()
    w = stage.watch(stage.conf(dc, sync=sync))
    w.until_state("ad", "held")
    assert pending(w) == ["20", "1"] and w.place("m01@x.test") == "found old"
    dc.start()
    dc.add("late", mail="late@x.test", homeMDB=dc.database)
    dc.modify("m31", extensionAttribute1="moved")
    until("the later change to be shown, too", lambda: pending(w) == ["20", "2"])
    assert w.place("late@x.test") == "not-found-yet"
    assert w.ask("accept ad")[1] == "1"
    w.until("m01@x.test", "not-found")
    w.until("m31@x.test", "found new")
    w.until("late@x.test", "found old")
    w.until_state("ad", "current")
    assert w.status("ad")[1] == "21"
    dc.modify("m32", extensionAttribute1="moved")
    w.until("m32@x.test", "found new")


def test_deleted_one_by_one_and_restored(stage, sync):
    """Held on the way; it is over when the directory has them back."""
    dc = stage.dc(names=MANY).start()
    w = stage.current(dc, sync=sync)
    dc.delete(*MANY[:15])
    w.until_state("ad", "held")
    gone = [n for n in MANY[:15] if w.place(f"{n}@x.test") == "not-found"]
    assert len(gone) <= 10
    until("all to be shown", lambda: pending(w) == [str(15 - len(gone)), "0"])
    for n in MANY[:15]:
        dc.restore(n, mail=f"{n}@x.test", homeMDB=dc.database,
                   proxyAddresses=[f"SMTP:{n}@x.test", f"smtp:{n}.two@x.test"])
    w.until_state("ad", "current")
    for n in MANY:
        w.until(f"{n}@x.test", "found old")
