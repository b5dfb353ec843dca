"""The cutover storm: thousands of mailboxes change their forest while mail for them flows at half of what the relay can
take. Half of them are moved by hand, in waves, half by their flag in the directory; some have mail waiting that their old
forest does not want. Afterwards the books are compared: what was accepted, what the sinks took, what the delivery log says
and by which generation of the directory.

CAUSEWAY_STORM is the number of mailboxes; 10,000 is the full size.
"""
import os
import re
import subprocess
import time
from collections import Counter, defaultdict

import pytest

from ldap_modify import Modifier
from relay import DOMAIN, build_dir
from slapd import BASE, Slapd, person
from wait import PATIENCE, free_port, until

PEOPLE = int(os.environ.get("CAUSEWAY_STORM", "2000"))
DEFERRED = PEOPLE // 10  # the old forest does not take mail for the first of them
WAVE = max(PEOPLE // 20, 1)
SESSIONS = 32


def dn(n):
    return f"uid=u{n},ou=people,{BASE}"


@pytest.fixture
def world(relay, tmp_path):
    """(relay, slapd, ports of the sinks of forest A and B): everybody in A."""
    slapd = Slapd(tmp_path / "slapd", "".join(
        person(f"u{n}", proxyAddresses=f"SMTP:{n}user@{DOMAIN}", extensionAttribute1="A") for n in range(1, PEOPLE + 1)))
    slapd.start()
    source = f"""source "ldap" {{
    type = openldap
    uri = {{ "{slapd.uri}" }}
    tls = none
    bind_dn = "cn=sync,{BASE}"
    password_file = "{slapd.folder / 'password'}"
    base = "{BASE}"
    filter = "(objectClass=mailRecipient)"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
    mass_change_percent = 100
    mass_change_count = 0
}}
"""
    ports = free_port(), free_port()
    r = relay(forests={"A": [ports[0]], "B": [ports[1]]}, source=source,
              sections={"log": ["level = info"], "smtpd": ["connections_per_client = 0"],
                        "queue": ["retry_min = 10m", "retry_max = 10m"]})
    r.start()
    until("the directory", r.is_complete)
    yield r, slapd, ports
    slapd.stop()


class Traffic:
    """bench-load with a sink for each forest."""

    def __init__(self, r, ports, record, rate, seconds, deferred=0):
        self.record = record
        self.process = subprocess.Popen(
            [os.path.join(build_dir(), "tests", "bench", "bench-load"), "--relay", str(r.port), "--sink", str(ports[0]),
             "--sink", str(ports[1]), "--rate", str(rate), "--seconds", str(seconds), "--sessions", str(SESSIONS),
             "--size", "1000", "--users", str(PEOPLE), "--domain", DOMAIN, "--record", str(record),
             "--defer", f"{ports[0]}:{deferred}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self):
        out, wrong = self.process.communicate(timeout=600)
        assert self.process.returncode == 0, wrong
        return eval(out)  # numbers in braces: JSON that is Python, too

    def books(self):
        """({number: user} of what was accepted, [(ns, port, number, user)] of what the sinks took)."""
        sent, taken = {}, []
        for line in self.record.read_text().splitlines():
            kind, *n = line.split()
            n = [int(x) for x in n]
            if kind == "sent":
                sent[n[0]] = n[1]
            else:
                taken.append(tuple(n))
        return sent, taken


def peak(r, ports, tmp_path):
    """Messages a second, from the first to the arrival of the last, when clients do not wait."""
    began = time.monotonic()
    result = Traffic(r, ports, tmp_path / "peak", 0, 2.0).wait()
    took = time.monotonic() - began
    r.wait_empty()
    return result["sunk"]["n"] / took


def flip(r, slapd, tmp_path):
    """Everybody to B: the odd ones by hand, the even ones in the directory. {user: generation} of those by hand."""
    by_hand, wave = {}, tmp_path / "wave.csv"
    with Modifier(slapd.port, f"cn=admin,{BASE}", "secret") as directory:
        for first in range(1, PEOPLE + 1, 2 * WAVE):
            group = range(first, min(first + 2 * WAVE, PEOPLE + 1))
            odd, even = [n for n in group if n % 2], [n for n in group if n % 2 == 0]
            directory.replace([(dn(n), "B") for n in even], "extensionAttribute1")
            wave.write_text("".join(f"{n}user@{DOMAIN},B\n" for n in odd))
            assert r.ctl("move", "--file", str(wave))[0] == 0
    for w in r.ctl_json("moves")["waves"]:
        for a in r.ctl_json("moves", str(w["wave"]), "--limit", "0")["addresses"]:
            by_hand[int(re.match(r"\d+", a["address"]).group())] = w["generation"]
    return by_hand


def deliveries(r):
    """[(user, forest, generation)] and the users whose mail had to wait, as the log has them."""
    done, waited = [], Counter()
    for line in r.log().splitlines():
        m = re.search(r"\b(delivered|deferred)\b.*\bto=(\d+)user@.*\bdest=forest:(\w)\b.*\bgeneration=(\d+)", line)
        if m and m.group(1) == "delivered":
            done.append((int(m.group(2)), m.group(3), int(m.group(4))))
        elif m:
            waited[int(m.group(2))] += 1
    return done, waited


def test_storm(world, tmp_path):
    r, slapd, ports = world
    rate = max(peak(r, ports, tmp_path) / 2, 50)
    before = len(deliveries(r)[0])
    traffic = Traffic(r, ports, tmp_path / "storm", rate, 6 + PEOPLE / 700, DEFERRED)
    time.sleep(1.5)
    waiting = r.queue_length()
    began = time.monotonic()
    by_hand = flip(r, slapd, tmp_path)
    took = time.monotonic() - began
    assert traffic.process.poll() is None, "the mail did not flow all the time"
    until("the last flip", lambda: r.goes_to(f"{PEOPLE - PEOPLE % 2}user") == "forest:B")
    result = traffic.wait()
    until(lambda: f"the queue to follow: {r.queue_length()} messages", lambda: r.queue_length() == 0, max(PATIENCE, 60))
    r.terminate()

    sent, taken = traffic.books()
    log, waited = deliveries(r)
    mine = [x for x in taken if x[2] >= 0]
    port_of = {"A": ports[0], "B": ports[1]}
    # 1. nothing lost, nothing twice
    assert result["failed"] == 0 and len(sent) == result["sent"]
    arrived = Counter(number for _, _, number, _ in mine)
    assert set(arrived) == set(sent), f"{len(set(sent) - set(arrived))} lost"
    assert set(arrived.values()) == {1}, "duplicates"
    assert all(sent[number] == user for _, _, number, user in mine)
    # 2. the log and the sinks agree on who was delivered where
    assert Counter((port_of[f], user) for user, f, _ in log[before:]) == Counter((p, user) for _, p, _, user in taken)
    # 3. by hand: the generation of the move decides, for each delivery, without an exception
    assert sorted(by_hand) == [n for n in range(1, PEOPLE + 1) if n % 2]
    wrong = [(user, f, g) for user, f, g in log if user in by_hand and (f == "B") != (g >= by_hand[user])]
    assert not wrong, wrong[:5]
    # ... and by the directory: no delivery to A by a generation that has delivered to B
    generations = defaultdict(lambda: {"A": [0], "B": []})
    for user, f, g in log:
        generations[user][f].append(g)
    wrong = [user for user, g in generations.items() if g["B"] and max(g["A"]) >= min(g["B"])]
    assert not wrong, wrong[:5]
    # 4. the queue follows: what A did not want has waited and went to B, none of it to A
    assert waiting > 0 and sum(waited.values()) > 0
    assert not [user for _, p, _, user in taken if p == ports[0] and user <= DEFERRED]
    print(f"\n{PEOPLE} flips in {took:.1f} s at {rate:.0f} messages/s: {len(sent)} accepted, {len(mine)} arrived once, "
          f"{sum(f == 'A' for _, f, _ in log)} to A and {sum(f == 'B' for _, f, _ in log)} to B by {len(set(g for _, _, g in log))} "
          f"generations, 0 wrong; {sum(waited.values())} times A said no, {waiting} waited when the flips began, 0 wait")
