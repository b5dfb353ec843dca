"""Mail for everybody else, by MX: a DNS server of ours says what it likes. Only NXDOMAIN, a null MX and a loop to
ourselves are for good. PROMISES "DNS down or slow"."""
import pytest

from client import Client, message
from dns_server import A, MX, NXDOMAIN, SERVFAIL, Dns
from relay import DOMAIN
from wait import until

SARA = f"sara@{DOMAIN}"
FAST = ["retry_min = 300ms", "retry_max = 500ms", "dest_backoff_min = 200ms", "dest_backoff_max = 500ms"]


@pytest.fixture
def world(relay, sinks, request):
    """(relay, dns, sink of the outside, sink of the forest). Applications at 127.0.2.x may send out. The parameter is how
    long an answer of DNS is waited for."""
    outside, inside = sinks(), sinks()
    timeout = getattr(request, "param", "300ms")
    dns = Dns({
        ("good.test", MX): [(10, "mx1.good.test"), (20, "mx2.good.test")],
        ("mx1.good.test", A): ["127.0.0.1"], ("mx2.good.test", A): ["127.0.0.1"],
        ("bare.test", A): ["127.0.0.1"],
        ("null.test", MX): [(0, "")],
        ("gone.test", MX): NXDOMAIN,
        ("sick.test", MX): SERVFAIL,
        ("backup.test", MX): [(10, "mx.backup.test"), (20, f"relay.{DOMAIN}"), (30, "mx1.good.test")],
        ("mx.backup.test", A): ["127.0.0.99"],
        ("loop.test", MX): [(10, f"relay.{DOMAIN}"), (20, "mx1.good.test")],
        ("failover.test", MX): [(10, "mx.backup.test"), (20, "mx2.good.test")],
        ("dangling.test", MX): [(10, "nowhere.good.test")],
    })
    r = relay(forests={"A": [inside.port]}, people={"sara": "A"}, extra='route "out" { domains = { "*" } mx = yes }\n',
              sections={"queue": FAST, "smtp_client": [f"mx_port = {outside.port}", "host_rest = 300ms"],
                        "dns": [f'servers = "127.0.0.1:{dns.port}"', f"timeout = {timeout}", "tries = 2", "ttl_min = 0",
                                "ttl_negative = 0"]})
    r.start()
    yield r, dns, outside, inside
    dns.stop()


def send(r, key, *rcpts):
    with Client(r.port, source="127.0.2.1") as c:
        assert c.send(SARA, list(rcpts), message(key))[0] == 250


@pytest.mark.parametrize("domain", ["good.test", "bare.test", "failover.test", "[127.0.0.1]"])
def test_delivered(world, domain):
    r, _, outside, _ = world
    send(r, "one", f"x@{domain}")
    assert outside.wait(1)[0].rcpts == [f"x@{domain}"]
    r.wait_empty()


@pytest.mark.parametrize("domain,status", [("null.test", "5.1.10"), ("gone.test", "5.1.2"), ("loop.test", "5.4.6")])
def test_for_good(world, domain, status):
    r, _, outside, inside = world
    send(r, "one", f"x@{domain}")
    notice = inside.wait(1)[0]
    assert f"Status: {status}".encode() in notice.data
    r.wait_empty()
    assert outside.kept == []


@pytest.mark.parametrize("domain", ["sick.test", "backup.test", "dangling.test"])
def test_for_now(world, domain):
    """Kept; delivered when DNS or the better host is well again. Never handed to a host worse than ourselves."""
    r, dns, outside, inside = world
    send(r, "one", f"x@{domain}")
    until("an attempt", lambda: any(n == domain for n, _ in dns.asked))
    send(r, "two", "x@good.test")
    outside.wait(1)
    until("the second to be gone", lambda: r.queue_length() == 1)
    assert inside.kept == []
    dns.records[(domain, MX)] = [(10, "mx1.good.test")]
    outside.wait(2)
    r.wait_empty()


def test_dns_down(world):
    """Nothing answers: mail for outside waits, mail for our forests goes on, nothing bounces."""
    r, dns, outside, inside = world
    dns.silent = True
    send(r, "out", "x@good.test", "y@bare.test")
    send(r, "in", SARA)
    assert inside.wait(1)[0].key == "in"
    until("two questions", lambda: len(dns.asked) >= 2)
    until("the one inside to be gone", lambda: r.queue_length() == 1)
    assert outside.kept == []
    dns.silent = False
    outside.wait(2)
    r.wait_empty()
    assert len(inside.kept) == 1


@pytest.mark.parametrize("world", ["1m"], indirect=True)
def test_dead_domains_slow_no_other(world):
    """Nobody answers for thirty domains, for longer than this test waits: the others' mail flows."""
    r, dns, outside, inside = world
    dns.silent = "dead.test"
    for i in range(30):
        send(r, f"dead{i}", f"x@d{i}.dead.test")
    until("all of them to be looked up", lambda: len({n for n, _ in dns.asked if n.endswith(".dead.test")}) == 30)
    for i in range(20):
        send(r, f"well{i}", "x@good.test", "y@bare.test")
    outside.wait(40, 40)
    assert {k.key for k in outside.kept} == {f"well{i}" for i in range(20)}
    until("the others to be gone", lambda: r.queue_length() == 30)
    assert inside.kept == []
