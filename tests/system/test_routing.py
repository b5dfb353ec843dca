"""Where mail goes, seen from both ends: our domains and those of others, who may relay, smart hosts, loops, and the
address that the hosting forest is given. MX: test_mx.py."""
import pytest

from client import Client, message
from relay import DOMAIN
from wait import free_port, until

INTERNET, FOREST_A, FOREST_B, APPLICATION = "127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.2.1"
FAST = ["retry_min = 200ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]


def rcpt(r, address, source=INTERNET, sender="s@sender.test"):
    with Client(r.port, source=source) as c:
        assert c.cmd(f"MAIL FROM:<{sender}>")[0] == 250
        return c.cmd(f"RCPT TO:<{address}>")


def send(r, key, rcpts, source=INTERNET, sender="s@sender.test", data=None):
    with Client(r.port, source=source) as c:
        code = c.send(sender, rcpts, data or message(key))
        assert code[0] == 250, code


@pytest.fixture
def world(relay, sinks):
    """Forest A with a routing domain, forest B; a domain whose unknown recipients A is given; a smart host."""
    a, b, out = sinks(), sinks(), sinks()
    r = relay(forests={"A": [a.port], "B": [b.port]}, people={"anna": "A", "bob": "B"},
              sections={"queue": FAST, "forest A": ['routing_domain = "a.local"']},
              extra=f'''domain "b.local" {{ type = routing  forest = "B" }}
domain "internal.test" {{ type = shared  unknown = forward  forest = "A" }}
route "out" {{ domains = {{ "*" }}  host "127.0.0.1:{out.port}" {{ }} }}
''').start()
    r.a, r.b, r.out = a, b, out
    return r


@pytest.mark.parametrize("address,where", [
    (f"anna@{DOMAIN}", "a"), (f"bob@{DOMAIN}", "b"), (f"BOB@{DOMAIN.upper()}", "b"), (f'"bob"@{DOMAIN}', "b"),
    ("who-ever@a.local", "a"), ("who.ever@B.LOCAL", "b"), ("anybody@internal.test", "a"),
])
def test_our_domains(world, address, where):
    """Open to everybody; the address reaches the forest as it was written."""
    r = world
    send(r, "ours", address)
    sink = getattr(r, where)
    assert sink.wait(1)[0].rcpts == [address]
    r.wait_empty()
    assert len(r.a.kept + r.b.kept + r.out.kept) == 1


@pytest.mark.parametrize("source,code", [(INTERNET, 550), (APPLICATION, 550), (FOREST_A, 550), (FOREST_B, 550)])
def test_unknown_is_refused(world, source, code):
    got, text = rcpt(world, f"nobody@{DOMAIN}", source)
    assert got == code and "5.1.1" in text


def test_unknown_is_forwarded_once(world):
    """internal.test: unknown here means A may know it; what comes from A and is unknown is unknown on both sides."""
    r = world
    for source in (INTERNET, APPLICATION, FOREST_B):
        send(r, "fwd", "new@internal.test", source)
    assert {k.rcpts[0] for k in r.a.wait(3)} == {"new@internal.test"}
    code, text = rcpt(r, "new@internal.test", FOREST_A)
    assert code == 550 and "5.1.1" in text
    r.wait_empty()
    assert len(r.a.kept) == 3


def test_known_in_a_forwarding_domain(world):
    """The directory comes first."""
    r = world
    assert r.ctl("set", "moved@internal.test", "B")[0] == 0
    send(r, "moved", "moved@internal.test", FOREST_A)
    r.b.wait(1)
    assert rcpt(r, "moved@internal.test", FOREST_B)[0] == 550


@pytest.mark.parametrize("source,may", [(INTERNET, False), (APPLICATION, True), (FOREST_A, True), (FOREST_B, True)])
def test_who_may_relay(world, source, may):
    """A route for everything is no permission for everybody. Nor is a sender's address."""
    r = world
    for sender in ("s@sender.test", f"anna@{DOMAIN}", ""):
        for address in ("x@elsewhere.test", f"x@sub.{DOMAIN}", f"x@not{DOMAIN}"):
            code, text = rcpt(r, address, source, sender)
            assert code == (250 if may else 550), (sender, address, code)
            assert may or "5.7.1" in text
    if may:
        send(r, "out", "x@elsewhere.test", source)
        assert r.out.wait(1)[0].rcpts == ["x@elsewhere.test"]


def test_internal_listener(relay, sinks):
    """kind = internal: strangers are turned away at once, and told so."""
    sink = sinks()
    inside = free_port()
    r = relay(forests={"A": [sink.port], "B": [free_port()]}, people={"bob": "A"},
              extra=f'listener "inside" {{ address = {{ "127.0.0.1:{inside}" }} kind = internal }}\n').start()
    with Client(inside, greet=False) as c:
        assert c.reply()[0] in (554, 421)
        assert c.line() == b"", "closed"
    for source in (APPLICATION, FOREST_B):
        with Client(inside, source=source) as c:
            assert c.send("s@sender.test", f"bob@{DOMAIN}", message("in"))[0] == 250
    sink.wait(2)


def test_routes(relay, sinks):
    """The longest match wins, whatever the order in the file."""
    every, below, one, forest = (sinks() for _ in range(4))
    r = relay(forests={"A": [forest.port]}, people={"anna": "A"}, sections={"queue": FAST}, extra=f'''
route "all"   {{ domains = {{ "*" }}            host "127.0.0.1:{every.port}" {{ }} }}
route "one"   {{ domains = {{ "x.org", "deep.y.org" }}  host "127.0.0.1:{one.port}" {{ }} }}
route "below" {{ domains = {{ "*.x.org", "*.y.org" }} host "127.0.0.1:{below.port}" {{ }} }}
''').start()
    send(r, "m", ["u@x.org", "u@sub.x.org", "u@a.b.x.org", "u@deep.y.org", "u@y.org", "u@Deep.Y.Org", "u@other.test"],
         APPLICATION)
    r.wait_empty()
    assert sorted(x for _, x in one.keys()) == ["u@Deep.Y.Org", "u@deep.y.org", "u@x.org"]
    assert sorted(x for _, x in below.keys()) == ["u@a.b.x.org", "u@sub.x.org"]
    assert sorted(x for _, x in every.keys()) == ["u@other.test", "u@y.org"]
    assert len(one.kept) == len(below.kept) == len(every.kept) == 1, "recipients of one route share a copy"


def test_smart_hosts_by_cost(relay, sinks):
    """The cheaper one takes all; when it fails the other takes over at once; when it is back it is used again."""
    cheap, dear = sinks(), sinks()
    r = relay(forests={"A": [free_port()]}, people={"anna": "A"},
              sections={"queue": FAST, "smtp_client": ["host_rest = 1s", "idle_timeout = 0"]}, extra=f'''
route "out" {{ domains = {{ "*" }}
    host "127.0.0.1:{dear.port}"  {{ cost = 20 }}
    host "127.0.0.1:{cheap.port}" {{ cost = 10 }}
}}
''').start()
    for i in range(3):
        send(r, f"c{i}", "x@else.test", APPLICATION)
    cheap.wait(3)
    assert dear.kept == []
    cheap.stop()
    for i in range(3):
        send(r, f"d{i}", "x@else.test", APPLICATION)
    dear.wait(3)
    r.wait_empty()
    cheap.start()

    def again():
        send(r, "again", "x@else.test", APPLICATION)
        r.wait_empty()
        return ("again", "x@else.test") in cheap.keys()
    until("the cheap host to be used again", again)


def test_too_many_hops(world):
    r = world
    head = b"".join(b"Received: from h%d by h%d; Fri, 1 Jan 2100 00:00:00 +0000\r\n" % (i, i + 1) for i in range(51))
    with Client(r.port) as c:
        code, text = c.send("s@sender.test", f"anna@{DOMAIN}", head + message("loop"))
        assert 500 <= code < 600 and "5.4.6" in text, (code, text)
        # As many as are allowed, and as many as one likes in the body.
        assert c.send("s@sender.test", f"anna@{DOMAIN}", head[:head.rindex(b"Received")] + message("ok", head))[0] == 250
    r.a.wait(1)
    assert [k for k, _ in r.a.keys()] == ["ok"]


def test_two_relays_in_a_circle(relay, sinks):
    """Each takes the other for the forest: refused as soon as it comes back, and the sender hears it."""
    one, two = (relay(forests={"A": [free_port()]}, people={"anna": "A"}, sections={"queue": FAST}) for _ in range(2))
    outside = sinks()
    for r, other in ((one, two), (two, one)):
        r.forests["A"] = [other.port]
        # it comes from an address of the forest
        r.sections["smtp_client"] = ['bind_address = "127.0.1.1"']
        r.extra = f'route "out" {{ domains = {{ "*" }} host "127.0.0.1:{outside.port}" {{ }} }}\n'
        r.write_conf()
        r.start()
    send(one, "circle", f"anna@{DOMAIN}")
    notice = outside.wait(1)[0]
    assert notice.sender == "" and b"5.4.6" in notice.data
    one.wait_empty()
    two.wait_empty()
    assert len(outside.kept) == 1


def test_never_back_to_where_it_came_from(world):
    """The reply names what the directory says, so that somebody can find out which side is wrong."""
    code, text = rcpt(world, f"anna@{DOMAIN}", FOREST_A)
    assert code == 550 and "5.4.6" in text and 'source "people" says A' in text, text
    assert rcpt(world, "x@a.local", FOREST_A)[0] == 550
    assert rcpt(world, f"anna@{DOMAIN}", FOREST_B)[0] == 250


def test_moved_to_where_it_came_from(relay, sinks):
    """Accepted from A for a mailbox in B that moves to A before it is delivered: a report, no loop."""
    a = sinks()
    r = relay(forests={"A": [a.port], "B": [free_port()]}, people={"anna": "A", "bob": "B"},
              sections={"queue": FAST}).start()
    send(r, "late", f"bob@{DOMAIN}", FOREST_A, sender=f"anna@{DOMAIN}")
    until("the first attempt", lambda: r.ask("queue.list")["items"][0]["attempts"] > 0)
    r.flip("bob", "A")
    notice = a.wait(1)[0]
    assert (notice.sender, notice.rcpts) == ("", [f"anna@{DOMAIN}"])
    assert b"Status: 5.4.6" in notice.data and b'people' in notice.data
    r.wait_empty()
    assert len(a.kept) == 1


def entry(local, forest, *more):
    return "\n".join([f"dn: cn={local},dc=example,dc=test", "objectClass: inetOrgPerson", f"mail: {local}@{DOMAIN}",
                      f"proxyAddresses: SMTP:{local}@{DOMAIN}", f"extensionAttribute1: {forest}", *more]) + "\n\n"


@pytest.fixture
def rewriting(relay, sinks):
    """make(template, attribute, ldif..., dsn=True) -> (relay, sink of A, sink of B)"""
    def make(*entries, template="", attribute="", dsn=True, domain=""):
        a = sinks()
        b = sinks() if dsn else sinks(extensions=("PIPELINING", "8BITMIME"))
        r = relay(forests={"A": [a.port], "B": [b.port]}, sections={"queue": FAST, "forest B": [
            f'routing_template = "{template}"', f'routing_domain = "{domain}"']})
        r.source = f'''source "people" {{
    type = ldif
    path = "{r.ldif}"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
    routing_attribute = "{attribute}"
}}
'''
        r.write_conf()
        with open(r.ldif, "w", encoding="utf-8") as f:
            f.write("".join(entries))
        r.start()
        until("the directory", lambda: r.knows("last"))
        return r, a, b
    return make


LAST = entry("last", "A")


def lines(sink, verb="RCPT"):
    return [x for s in sink.sessions for x in s.lines if x.startswith(verb)]


def test_template(rewriting):
    """%m, by the forest that hosts; the original goes along in ORCPT; headers and other forests' addresses stay."""
    r, a, b = rewriting(entry("anna", "B", "mailNickname: annak"), entry("carl", "A", "mailNickname: carlk"), LAST,
                        template="%m@b.local")
    send(r, "t", [f"anna@{DOMAIN}", f"carl@{DOMAIN}"], data=message("t").replace(b"r@example.test", b"anna@" +
                                                                                DOMAIN.encode()))
    assert b.wait(1)[0].rcpts == ["annak@b.local"]
    assert a.wait(1)[0].rcpts == [f"carl@{DOMAIN}"]
    assert lines(b) == [f"RCPT TO:<annak@b.local> ORCPT=rfc822;anna@{DOMAIN}"]
    assert b"\r\nTo: <anna@" + DOMAIN.encode() + b">\r\n" in b.kept[0].data
    e = r.ctl_json("explain", f"anna@{DOMAIN}")
    assert e["next_address"] == "annak@b.local" and any("template" in x for x in e["reasons"])


def test_template_without_the_piece(rewriting):
    """Nothing to fill in: the address stays as it is, and explain says why."""
    r, _, b = rewriting(entry("anna", "B"), entry("odd", "B", "mailNickname: odd"), LAST, template="%g@b.local")
    send(r, "t", [f"anna@{DOMAIN}", f"odd@{DOMAIN}"])
    b.wait(1)
    assert sorted(x for _, x in b.keys()) == [f"anna@{DOMAIN}", f"odd@{DOMAIN}"]
    assert any("%g" in x for x in r.ctl_json("explain", f"anna@{DOMAIN}")["reasons"])


def test_template_leaves_out_what_is_no_address(rewriting):
    """As Exchange does; nothing of an alias gets past the address."""
    r, _, b = rewriting(entry("odd", "B", "mailNickname: two words> SIZE=1"), LAST, template="%m@b.local")
    send(r, "t", f"odd@{DOMAIN}")
    assert b.wait(1)[0].rcpts == ["twowordsSIZE=1@b.local"]
    assert len(lines(b)) == 1


def test_routing_attribute_before_template(rewriting):
    r, _, b = rewriting(entry("anna", "B", "mailNickname: annak", "roomNumber: anna.k@direct.local"),
                        entry("bob", "B", "mailNickname: bobk"), LAST, template="%m@b.local", attribute="roomNumber")
    send(r, "t", [f"anna@{DOMAIN}", f"bob@{DOMAIN}"])
    r.wait_empty()
    assert sorted(x for _, x in b.keys()) == ["anna.k@direct.local", "bobk@b.local"]


def test_address_in_the_routing_domain(rewriting):
    """One of the recipient's own addresses is in the forest's routing domain: that one."""
    r, _, b = rewriting(entry("anna", "B", "mailNickname: annak", "proxyAddresses: smtp:a.k@b.local"), LAST,
                        template="%m@b.local", domain="b.local")
    send(r, "t", f"anna@{DOMAIN}")
    assert b.wait(1)[0].rcpts == ["a.k@b.local"]


@pytest.mark.parametrize("given,passed", [
    ("", f"rfc822;o+2Bx@{DOMAIN}"), (" ORCPT=rfc822;old+2Bname@far.test", "rfc822;old+2Bname@far.test")])
def test_orcpt(rewriting, given, passed):
    """Ours where the client gave none; the client's as it is; in xtext."""
    r, _, b = rewriting(entry("o+x", "B", "mailNickname: ox"), LAST, template="%m@b.local")
    with Client(r.port) as c:
        assert c.cmd("MAIL FROM:<s@sender.test>")[0] == 250
        assert c.cmd(f"RCPT TO:<o+x@{DOMAIN}>{given}")[0] == 250
        assert c.content(message("t"))[0] == 250
    b.wait(1)
    assert lines(b) == [f"RCPT TO:<ox@b.local> ORCPT={passed}"]


def test_hop_without_dsn(rewriting):
    """It is not offered what it does not know."""
    r, _, b = rewriting(entry("anna", "B", "mailNickname: annak"), LAST, template="%m@b.local", dsn=False)
    send(r, "t", f"anna@{DOMAIN}")
    b.wait(1)
    assert lines(b) == ["RCPT TO:<annak@b.local>"]


def test_notice_names_the_address_that_the_sender_wrote(rewriting, sinks):
    """The forest refuses the rewritten address; the sender never heard of that one."""
    r, a, b = rewriting(entry("anna", "B", "mailNickname: annak"), entry("sara", "A"), LAST, template="%m@b.local")
    b.script = lambda stage, detail, session: "550 5.2.1 disabled" if stage == "RCPT" else None
    send(r, "t", f"anna@{DOMAIN}", FOREST_A, sender=f"sara@{DOMAIN}")
    notice = a.wait(1)[0].data.decode()
    report = notice[notice.index("message/delivery-status"):]
    assert f"Final-Recipient: rfc822; anna@{DOMAIN}" in report and "Status: 5.2.1" in report
    assert "Original-Recipient" not in report, "there was no ORCPT"
    assert "annak" not in notice
    human = notice[:notice.index("message/delivery-status")]
    assert f"anna@{DOMAIN}" in human
