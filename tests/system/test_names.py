"""Names on the way of a recipient: replies to old Exchange mail (IMCEAEX), plus addresses, routing templates, groups for
authenticated senders only, and a forest that does not know whom its directory says it hosts."""
import email
import email.policy

import pytest

from client import Client, message
from dirwatch import source as section
from relay import DOMAIN
from samba_dc import Samba
from wait import until

INTERNET, FOREST_A, FOREST_B, APPLICATION = "127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.2.1"
FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]
ORG = "/o=First Organization/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn="


def imceaex(dn):
    """As Exchange writes it."""
    return "IMCEAEX-" + "".join("_" if c == "/" else c if c.isascii() and c.isalnum() or c in "-=" else
                                "".join("+%02X" % b for b in c.encode()) for c in dn)


def entry(local, *more, domain=DOMAIN):
    return "\n".join([f"dn: cn={local},dc=example,dc=test", "objectClass: user", f"mail: {local}@{domain}",
                      f"proxyAddresses: SMTP:{local}@{domain}", *more]) + "\n\n"


HERE = "homeMDB: cn=db"


class World:
    """Forests A and B, each with a directory of its own (an LDIF file) and a sink; a smart host for reports."""

    def __init__(self, relay, sinks, a="", b="", forest_b="", top="", sources=None):
        self.sinks = {name: sinks() for name in ("A", "B", "out")}
        self.a, self.b, self.out = self.sinks.values()
        self.r = relay(forests={"A": [self.a.port], "B": [self.b.port]},
                       sections={"queue": FAST, "forest B": [forest_b], "": [top]},
                       extra=f'''route "out" {{ domains = {{ "*" }} host "127.0.0.1:{self.out.port}" {{ }} }}
domain "plus.test" {{ type = shared  plus_addresses = yes }}
domain "forward.test" {{ type = shared  unknown = forward  forest = "A" }}
''')
        self.r.source = sources or "".join(f'''source "{name}_ad" {{
    type = ldif  path = "{self.r.dir}/{name}.ldif"  forest = "{name}"  priority = {priority}
    flag_attribute = "extensionAttribute1"  flag_values = {{ "to A = A", "to B = B" }}
}}
''' for name, priority in (("A", 10), ("B", 20)))
        self.write("A", a)
        self.write("B", b)
        self.r.write_conf()
        self.r.start(directory=False)
        until("the directories to be read", self.r.is_complete)

    def write(self, name, text):
        with open(f"{self.r.dir}/{name}.ldif", "w", encoding="utf-8") as f:
            f.write(text + entry(f"last-of-{name}", HERE))

    def rcpt(self, address, source=INTERNET):
        with Client(self.r.port, source=source) as c:
            assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
            return c.cmd(f"RCPT TO:<{address}>")

    def send(self, rcpts, key="m", source=INTERNET):
        with Client(self.r.port, source=source) as c:
            code = c.send("s@sender.test", rcpts, message(key))
            assert code[0] == 250, code

    def explain(self, address, link="internet"):
        return self.r.ctl_json("explain", address, "--link", link)

    def notice(self):
        m = email.message_from_bytes(self.out.wait(1)[0].data, policy=email.policy.default)
        return m, m.get_payload(0).get_content(), m.get_payload(1).get_payload()[1]


@pytest.fixture
def world(relay, sinks):
    return lambda *args, **more: World(relay, sinks, *args, **more)


def said(sink, verb="RCPT"):
    return [x for s in sink.sessions for x in s.lines if x.startswith(verb)]


# ---- old Exchange addresses ----

def test_reply_to_an_old_message(world):
    """By legacyExchangeDN, by X500: address, in any case; to whichever forest hosts the mailbox, at an address it knows."""
    w = world(a=entry("anna", HERE, f"legacyExchangeDN: {ORG}anna5f2"),
              b=entry("bob", HERE, f"legacyExchangeDN: /o=New/cn=bob", f"proxyAddresses: X500:{ORG}Bob, the 1st_"))
    old = {"anna": imceaex(ORG + "anna5f2"), "bob": imceaex(ORG + "bob, the 1st_").upper()}
    for name, sink in (("anna", w.a), ("bob", w.b)):
        address = f"{old[name]}@{DOMAIN}"
        w.send(address)
        assert sink.wait(1)[0].rcpts == [f"{name}@{DOMAIN}"]
        xtext = address.replace("+", "+2B").replace("=", "+3D")
        assert said(sink) == [f"RCPT TO:<{name}@{DOMAIN}> ORCPT=rfc822;{xtext}"]
    w.r.wait_empty()
    found = w.r.ctl_json("directory", "lookup", f"{old['bob']}@{DOMAIN}")
    assert found["found"] == "found" and found["claims"][0]["primary"] == f"bob@{DOMAIN}"
    e = w.explain(f"{old['anna']}@{DOMAIN}")
    assert e["dest"] == "forest:A" and any(ORG + "anna5f2" in x for x in e["reasons"])


def test_reply_follows_the_mailbox(world):
    """Moved: the old forest keeps a mail user that points to the new one. Queued mail follows at once."""
    w = world(a=entry("anna", HERE, f"legacyExchangeDN: {ORG}anna"), b="", forest_b='routing_domain = "b.local"')
    w.a.script = lambda stage, *_: "450 4.2.1 later" if stage == "RCPT" else None
    w.send(f"{imceaex(ORG + 'anna')}@{DOMAIN}")
    until("the first attempt", lambda: w.r.ask("queue.list")["items"][0]["attempts"] > 0)
    w.write("A", entry("anna", f"legacyExchangeDN: {ORG}anna", "targetAddress: SMTP:anna@b.local"))
    w.write("B", entry("anna", HERE, "proxyAddresses: smtp:anna@b.local"))
    assert w.b.wait(1)[0].rcpts == ["anna@b.local"]
    w.r.wait_empty()
    assert not w.a.kept


def test_miss_names_what_would_mend_it(world):
    w = world(a=entry("anna", HERE))
    dn = ORG + "o'brien.j+x@y"
    code, text = w.rcpt(f"{imceaex(dn)}@{DOMAIN}")
    assert code == 550 and text.startswith("5.1.1 ")
    assert ("X500:" + dn) in text.replace(" / 5.1.1 ", " ").replace("  ", " "), text
    assert f"550 5.1.1 {text[6:40]}" in w.explain(f"{imceaex(dn)}@{DOMAIN}")["reply"]
    assert ("X500:" + dn) in w.explain(f"{imceaex(dn)}@{DOMAIN}")["reply"]
    # ... and it does
    w.write("A", entry("anna", HERE, "proxyAddresses: X500:" + dn))
    until("the address to be known", lambda: w.rcpt(f"{imceaex(dn)}@{DOMAIN}")[0] == 250)


def test_miss_after_acceptance_is_reported_with_the_line(world):
    w = world(a=entry("anna", HERE, f"legacyExchangeDN: {ORG}anna"))
    w.a.script = lambda stage, *_: "450 4.2.1 later" if stage == "RCPT" else None
    address = f"{imceaex(ORG + 'anna')}@{DOMAIN}"
    w.send(address)
    until("the first attempt", lambda: w.r.ask("queue.list")["items"][0]["attempts"] > 0)
    w.write("A", entry("anna", HERE, "legacyExchangeDN: /o=New/cn=anna"))
    _, human, per = w.notice()
    assert f"X500:{ORG}anna" in [x.strip() for x in human.splitlines()], human
    assert f"X500:{ORG}anna" in " ".join(str(per["Diagnostic-Code"]).split())
    assert per["Status"] == "5.1.1" and address in str(per["Final-Recipient"])


def test_miss_while_a_directory_is_incomplete(relay, sinks):
    w = World(relay, sinks, a=entry("anna", HERE))
    w.r.terminate()
    w.r.source += 'source "late" { type = openldap  uri = { "ldap://127.0.0.1:1" }  base = "dc=x"  tls = none  forest = "B" }\n'
    w.r.write_conf()
    w.r.start(directory=False)
    code, text = w.rcpt(f"{imceaex(ORG + 'x')}@{DOMAIN}")
    assert code == 451 and "late" in text


def test_longest(world):
    """315 octets before the @: through the spool and a crash to the mailbox, and back in a report."""
    dn = "/o=" + "x" * 304
    local = imceaex(dn)
    assert len(local) == 315
    w = world(a=entry("anna", HERE, f"legacyExchangeDN: {dn}") + entry("bob", HERE, f"legacyExchangeDN: {dn[:-1]}y"))
    w.a.script = lambda stage, *_: "450 4.2.1 later" if stage == "RCPT" else None
    w.send([f"{local}@{DOMAIN}", f"{local[:-1]}y@{DOMAIN}"])
    until("the first attempt", lambda: w.r.ask("queue.list")["items"][0]["attempts"] > 0)
    item = w.r.ask("queue.list", **{"rcpt": f"{local}@{DOMAIN}"})["items"][0]
    assert w.r.ctl("queue", "show", item["id"])[0] == 0
    w.r.kill()
    w.r.start(directory=False)
    w.a.script = lambda stage, detail, *_: "550 5.2.1 closed" if stage == "RCPT" and "bob" in detail else None
    assert w.a.wait(1)[0].rcpts == [f"anna@{DOMAIN}"]
    _, human, per = w.notice()
    assert f"<{local[:-1]}y@{DOMAIN}>" in human and f"{local[:-1]}y@{DOMAIN}" in str(per["Final-Recipient"])


def test_ambiguous(world):
    """Nobody is the right one; a person is told."""
    w = world(a=entry("anna", HERE, f"legacyExchangeDN: {ORG}x"), b=entry("bob", HERE, f"legacyExchangeDN: {ORG}X"),
              top='join = { "smtp" }')
    code, text = w.rcpt(f"{imceaex(ORG + 'x')}@{DOMAIN}")
    assert code == 550 and "5.1.4" in text and "several" in text
    assert any(" rcpt-refused " in x and "ambiguous" in x and ("warn" in x.lower()) for x in w.r.log().splitlines())
    e = w.explain(f"{imceaex(ORG + 'x')}@{DOMAIN}")
    assert {c["dn"] for c in e["entry"]["claims"]} == {"cn=anna,dc=example,dc=test", "cn=bob,dc=example,dc=test"}


HOSTILE = [
    ("IMCEASMTP-x+40elsewhere+2Etest", 550, "5.7.1"), ("imceax500-_o=x", 550, "5.7.1"),
    ('"IMCEASMTP-x+40elsewhere+2Etest"', 550, "5.7.1"), ("IMCEAEX-_o=x+0D+0ARCPT+20TO", 550, "5.7.1"),
    ("IMCEAEX-_o=a+00", 550, "5.7.1"), ("IMCEAEX-", 550, "5.7.1"),
    ("IMCEAEX-" + "+41" * 102, 550, "5.1.1"), ("IMCEAEX-" + "+5C" * 102, 550, "5.1.1"),
    ("IMCEAEX-" + "+FF" * 102, 550, "5.1.1"), ("IMCEAEX-" + "a" * 307, 550, "5.1.1"),
    ("IMCEAEX-" + "a" * 308, 501, "5.1.3"), ("IMCEAX400-" + "a" * 100, 553, "5.1.3"),
    ("a" * 65, 553, "5.1.3"), ("a" * 64, 550, "5.1.1")]


def test_hostile(world):
    """Refused, and the same for those who may relay; a domain whose unknown recipients A is given passes on what
    could be an old address, and nothing else."""
    w = world(a=entry("anna", HERE))
    for local, code, status in HOSTILE:
        for domain in (DOMAIN, "forward.test"):
            for source in (INTERNET, APPLICATION):
                with Client(w.r.port, source=source) as c:
                    assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
                    got, text = c.cmd(f"RCPT TO:<{local}@{domain}>")
                    if domain == "forward.test" and status == "5.1.1":
                        assert got == 250
                        continue
                    assert got == code and text.startswith(status), (local, got, text)
                    assert len(text) < 700 and c.cmd("NOOP")[0] == 250


@pytest.mark.parametrize("domain,source,code", [("elsewhere.test", INTERNET, 550), ("elsewhere.test", APPLICATION, 250)])
def test_only_for_our_domains(world, domain, source, code):
    """Elsewhere it is an address like any other: nothing is decoded, and strangers may not relay."""
    w = world(a=entry("anna", HERE, f"legacyExchangeDN: {ORG}anna"))
    address = f"{imceaex(ORG + 'anna')}@{domain}"
    assert w.rcpt(address, source)[0] == code
    if code == 250:
        w.send(address, source=source)
        assert w.out.wait(1)[0].rcpts == [address]


def test_reply_follows_a_move_between_two_active_directories(tmp_path, relay, sinks, domains):
    """Two domain controllers. The mailbox moves from A to B, where the old address is an X500: address now; A keeps a
    mail user. The template's pieces and the group's restriction come from there, too."""
    dcs = {name: Samba(tmp_path / name, domains[domain]) for name, domain in (("A", "source.test"), ("B", "target.test"))}
    try:
        a, b = dcs.values()
        a.change(a.person("anna", mail=f"anna@{DOMAIN}", homeMDB=a.database, legacyExchangeDN=ORG + "anna") +
                 a.person("all", object_class="group", mail=f"all@{DOMAIN}", msExchRequireAuthToSendTo="TRUE"))
        b.change(b.person("carl", mail=f"carl@{DOMAIN}", homeMDB=b.database, givenName="Carl", sn="van Kern"))
        for dc in dcs.values():
            dc.start()
        w = World(relay, sinks, forest_b='routing_domain = "b.local"\nrouting_template = "%g.%s@b.local"',
                  sources="".join(section(f"{name}_ad", **{
                      "type": "active-directory", "uri": [dc.uri], "tls": "starttls", "ca_file": dc.ca, "base": dc.base,
                      "bind_dn": dc.account(), "password_file": dc.password, "forest": name, "poll_interval": "100ms"})
                      for name, dc in dcs.items()))
        old = f"{imceaex(ORG + 'ANNA')}@{DOMAIN}"
        assert w.rcpt(f"all@{DOMAIN}")[0] == 550 and w.rcpt(f"all@{DOMAIN}", APPLICATION)[0] == 250
        w.send(old, "before")
        assert w.a.wait(1)[0].rcpts == [f"anna@{DOMAIN}"]
        b.add("anna", mail=f"anna@{DOMAIN}", homeMDB=b.database, legacyExchangeDN="/o=Target/cn=anna",
              proxyAddresses=[f"SMTP:anna@{DOMAIN}", f"X500:{ORG}anna"])
        a.modify("anna", homeMDB=None, targetAddress="SMTP:anna@b.local", legacyExchangeDN="/o=Source/cn=anna2")
        until("the move to be seen", lambda: w.explain(old)["dest"] == "forest:B")
        w.send([old, f"carl@{DOMAIN}"], "after")
        assert sorted(w.b.wait(1)[0].rcpts) == ["Carl.vanKern@b.local", "anna@b.local"]
        best = next(c for c in w.explain(old)["entry"]["claims"] if c["best"])
        assert best["source"] == "B_ad" and best["dn"] == b.dn("anna")
    finally:
        for dc in dcs.values():
            dc.stop()


# ---- plus addresses ----

def test_plus_addresses(world):
    """The base hosts it; the detail goes along; an entry of its own comes first; other domains know nothing of it."""
    people = "".join(entry(x, HERE, f"mailNickname: {x}k", domain="plus.test") for x in ("anna", "anna+own"))
    w = world(a=entry("bob", HERE, domain="plus.test"), b=people + entry("carl", HERE),
              forest_b='routing_template = "%m@b.local"')
    w.send(["bob+News@plus.test", "anna+lists+x@plus.test", "anna+own@plus.test"])
    w.r.wait_empty()
    assert w.a.kept[0].rcpts == ["bob+News@plus.test"]
    assert sorted(x for k in w.b.kept for x in k.rcpts) == ["anna+ownk@b.local", "annak+lists+x@b.local"]
    assert "RCPT TO:<annak+lists+x@b.local> ORCPT=rfc822;anna+2Blists+2Bx@plus.test" in said(w.b)
    assert w.rcpt("nobody+bob@plus.test")[0] == 550
    assert w.rcpt(f"carl+x@{DOMAIN}")[0] == 550
    assert any("without its detail" in x for x in w.explain("bob+news@plus.test")["reasons"])
    assert w.r.ctl_json("directory", "lookup", "bob+news@plus.test")["claims"][0]["primary"] == "bob@plus.test"
    assert w.r.ctl("directory", "lookup", "nobody+bob@plus.test")[0] != 0


def test_plus_address_follows_its_base(world):
    w = world(a=entry("bob", HERE, domain="plus.test"))
    w.a.script = lambda stage, *_: "450 4.2.1 later" if stage == "RCPT" else None
    w.send("bob+x@plus.test")
    until("the first attempt", lambda: w.r.ask("queue.list")["items"][0]["attempts"] > 0)
    w.write("A", entry("bob", HERE, "extensionAttribute1: to B", domain="plus.test"))
    assert w.b.wait(1)[0].rcpts == ["bob+x@plus.test"]


# ---- templates ----

@pytest.mark.parametrize("template,address", [
    ("%g.%s@b.local", "Anna.OBrien-deVries@b.local"), ("%1g%3s@b.local", "AOBr@b.local"), ("%d@b.local", "KernAnnaExt@b.local"),
    ("%s.%i@b.local", "OBrien-deVries.J.R@b.local"), ("x-%m@b.local", "x-annakern@b.local")])
def test_template_pieces(world, template, address):
    w = world(b=entry("anna", HERE, "givenName: Anna", "sn: O(Brien)-de Vries", "initials: J. R.",
                      "displayName: Kern, Anna (Ext)", "mailNickname: anna kern"),
              forest_b=f'routing_template = "{template}"')
    w.send(f"anna@{DOMAIN}")
    assert w.b.wait(1)[0].rcpts == [address]


def test_template_whose_piece_is_missing(world):
    w = world(b=entry("anna", HERE, "givenName: Anna"), forest_b='routing_template = "%g.%s@b.local"')
    w.send(f"anna@{DOMAIN}")
    assert w.b.wait(1)[0].rcpts == [f"anna@{DOMAIN}"]
    assert any("%s" in x for x in w.explain(f"anna@{DOMAIN}")["reasons"])


# ---- authenticated senders only ----

@pytest.mark.parametrize("source,code", [(INTERNET, 550), (APPLICATION, 250), (FOREST_B, 250)])
def test_group_for_authenticated_senders(world, source, code):
    w = world(a=entry("all", "objectClass: group", "msExchRequireAuthToSendTo: TRUE",
                      f"legacyExchangeDN: {ORG}all") + entry("some", "objectClass: group"))
    for address in (f"all@{DOMAIN}", f"{imceaex(ORG + 'all')}@{DOMAIN}"):
        got, text = w.rcpt(address, source)
        assert got == code
        assert code == 250 or (text.startswith("5.7.1") and "authenticated senders only" in text)
    assert w.rcpt(f"some@{DOMAIN}", source)[0] == 250


# ---- refused as unknown where it is hosted ----

def unknown(text="550 5.1.1 User unknown"):
    return lambda stage, *_: text if stage == "RCPT" else None


BOTH = dict(a=entry("anna", HERE, "mailNickname: annak"), b=entry("anna", HERE))


@pytest.mark.parametrize("reply", ["550 5.1.1 User unknown", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found",
                                   "550 5.4.1 Recipient address rejected: Access denied. [x.test 2026-11-20]"])
def test_other_claimant(world, reply):
    """A hosts it by priority and does not know it; B's directory shows it, too."""
    w = world(**BOTH)
    w.a.script = unknown(reply)
    w.send([f"anna@{DOMAIN}", f"last-of-A@{DOMAIN}"], "m1")
    assert w.b.wait(1)[0].rcpts == [f"anna@{DOMAIN}"]
    w.out.wait(1)  # last-of-A is nobody else's
    w.r.wait_empty()
    assert len(said(w.a)) == 2 and len(said(w.b)) == 1 and len(w.out.kept) == 1
    assert b"last-of-A" in w.out.kept[0].data and b"anna@" not in w.out.kept[0].data.split(b"message/rfc822")[0]
    assert w.r.counter("queue_other_claimant") == 1
    line = next(x for x in w.r.log().splitlines() if "unknown-where-hosted" in x)
    assert "forest:A" in line and "forest:B" in line and "warn" in line.lower()
    assert any("is tried once" in x for x in w.explain(f"anna@{DOMAIN}")["reasons"])


def test_other_claimant_by_flag(world):
    """The flag says B already, and the mailbox is still in A: the move is half done."""
    w = world(a=entry("anna", HERE, "extensionAttribute1: to B"))
    w.b.script = unknown()
    w.send(f"anna@{DOMAIN}")
    assert w.a.wait(1)[0].rcpts == [f"anna@{DOMAIN}"]


@pytest.mark.parametrize("reply", ["550 5.2.1 disabled", "550 5.7.1 no", "450 4.1.1 later", "552 5.2.2 full"])
def test_other_replies_are_as_ever(world, reply):
    w = world(**BOTH)
    w.a.script = unknown(reply)
    w.send(f"anna@{DOMAIN}")
    if reply.startswith("5"):
        w.out.wait(1)
        w.r.wait_empty()
    else:
        until("it to be put off", lambda: any(" deferred " in x and "code=450" in x for x in w.r.log().splitlines()))
    assert said(w.a) and not said(w.b) and not w.b.kept and "unknown-where-hosted" not in w.r.log()


def test_other_claimant_off(world):
    w = world(**BOTH, top="retry_other_claimant = no")
    w.a.script = unknown()
    w.send(f"anna@{DOMAIN}")
    assert b"5.1.1" in w.out.wait(1)[0].data
    assert not said(w.b)


def test_unknown_at_both(world):
    """One report, one attempt at each."""
    w = world(**BOTH)
    w.a.script = unknown()
    w.b.script = unknown("550 5.1.1 who is that")
    w.send(f"anna@{DOMAIN}")
    _, _, per = w.notice()
    assert "who is that" in str(per["Diagnostic-Code"])
    w.r.wait_empty()
    assert len(said(w.a)) == len(said(w.b)) == len(w.out.kept) == 1


def test_never_to_where_it_came_from(world):
    w = world(**BOTH)
    w.a.script = unknown()
    w.send(f"anna@{DOMAIN}", source=FOREST_B)
    w.notice()
    w.r.wait_empty()
    assert not said(w.b)


def test_waits_for_the_other_claimant(world):
    """It is away; queue show says why the mail waits for it. After a restart both are asked again, and it arrives."""
    w = world(**BOTH)
    w.a.script = unknown()
    w.b.script = lambda stage, *_: "450 4.2.1 later" if stage == "RCPT" else None
    w.send(f"anna@{DOMAIN}", "held")
    until("B to be asked", lambda: said(w.b))
    until("B to be asked again", lambda: len(said(w.b)) > 2)
    item = w.r.ask("queue.list")["items"][0]
    assert item["dest"] == "forest:B"
    assert w.r.ask("queue.show", id=item["id"])["rcpt"][0]["refused_by"] == "forest:A"
    assert "refused as unknown by forest:A" in w.r.ctl("queue", "show", item["id"])[1]
    assert len(said(w.a)) == 1
    w.r.kill()
    w.r.start(directory=False)
    w.b.script = lambda *_: None
    w.b.wait(1)
    w.r.wait_empty()
    assert [k for k, _ in w.b.keys()] == ["held"] and not w.out.kept


# ---- what explain says ----

def test_explain_shows_the_joined_entry(world):
    w = world(a=entry("anna", HERE, "msExchRecipientTypeDetails: 1", "mailNickname: annak", f"legacyExchangeDN: {ORG}a"),
              b=entry("anna", "msExchRecipientTypeDetails: 128", "targetAddress: SMTP:anna@far.test"))
    e = w.explain(f"anna@{DOMAIN}")["entry"]
    assert e["found"] in ("found", "conflict")
    a, b = e["claims"]
    assert a["best"] and not b["best"]
    assert (a["source"], a["kind"], a["type"], a["forest"], a["evidence"]) == ("A_ad", "mailbox", "UserMailbox", "A", "homeMDB")
    assert a["dn"] == "cn=anna,dc=example,dc=test" and a["generation"] > 0 and len(a["uuid"]) == 36
    assert (b["source"], b["kind"], b["type"]) == ("B_ad", "mail user", "MailUser")
    for words in (("explain",), ("directory", "lookup")):
        code, text = w.r.ctl(*words, f"anna@{DOMAIN}")
        assert code == 0 and max(map(len, text.splitlines())) <= 100, text
        assert "mailbox (UserMailbox) in forest A, by homeMDB; generation" in text
        assert "cn=anna,dc=example,dc=test" in text and "mail user (MailUser)" in text
