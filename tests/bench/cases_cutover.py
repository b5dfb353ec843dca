"""The benchmark of a cutover: from the directory's change to the first mail that goes the new way, under load."""

import os
import re
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from cases_sync import status
from causeway import FORESTS, Causeway
from load import DOMAIN, Sinks, bench_load
from procs import BenchError, wait_for
from report import say

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from dirwatch import source  # noqa: E402
from ldap_modify import Modifier  # noqa: E402
from samba_dc import ADMIN_PASSWORD, Domain, Samba, ldb  # noqa: E402
from slapd import BASE, Slapd, person  # noqa: E402

HOT = 10  # mailboxes that the mail is for: so much for each that its first new way is seen within milliseconds
SINGLE = 20 * HOT  # flips one by one
SESSIONS = 64
OPTIONS = {"type": "openldap", "tls": "none", "flag_attribute": "extensionAttribute1", "stale_after": "10m",
           "flag_values": ["east = east", "west = west"], "mass_change_percent": "100", "mass_change_count": "0"}


class OpenLdap:
    name, aim_ms = "slapd", 100
    window = 1  # changes under way at a time
    share = 0.5  # of the relay's peak
    rounds = {1: SINGLE, 1000: 10, 10000: 2}

    def __init__(self, folder, n):
        self.server = Slapd(folder / "slapd", "".join(
            person(f"u{i}", proxyAddresses=f"SMTP:{i}user@{DOMAIN}", extensionAttribute1="east")
            for i in range(1, n + 1))).start()
        self.source = source("people", **{**OPTIONS, "uri": [self.server.uri], "bind_dn": f"cn=sync,{BASE}",
                                          "password_file": self.server.folder / "password", "base": BASE,
                                          "filter": "(objectClass=mailRecipient)"})

    def dn(self, i):
        return f"uid=u{i},ou=people,{BASE}"

    def modifier(self):
        return Modifier(self.server.port, f"cn=admin,{BASE}", "secret")


class ActiveDirectory:
    """Samba reads its whole database before it tells anyone of a change: ten changes a second if one waits for the
    other, some more if many come together."""

    name, aim_ms = "Samba AD", 1000
    window = 32
    share = 0.35  # it takes a processor for itself
    rounds = {1: SINGLE, 1000: 2, 10000: 1}

    def __init__(self, folder, n):
        dc = self.server = Samba(folder / "dc", Domain(folder / "domain", DOMAIN))
        for first in range(1, n + 1, 5000):
            ldb("ldbmodify", dc.folder, "".join(
                dc.person(f"u{i}", mail=f"{i}user@{DOMAIN}", extensionAttribute1="east")
                for i in range(first, min(first + 5000, n + 1))), "-o", "batch_mode:1")
            say(f"  {min(first + 4999, n)} mailboxes in Samba")
        dc.start()
        self.source = source("people", **{**OPTIONS, "type": "active-directory", "uri": [dc.uri],
                                          "bind_dn": dc.account(), "password_file": dc.password, "base": dc.base,
                                          "filter": "(objectClass=user)"})

    def dn(self, i):
        return self.server.dn(f"u{i}")

    def modifier(self):
        return Modifier(389, f"CN=Administrator,CN=Users,{self.server.base}", ADMIN_PASSWORD, self.server.address)


class Flips:
    """Changes the flag of many mailboxes, the hot ones spread evenly among them; when each was asked for."""

    def __init__(self, directory, count):
        self.directory, self.count = directory, count
        others = iter(range(HOT + 1, count + 1))
        step = max(count // HOT, 1)
        self.order = [1 + k // step if k % step == 0 and k // step < HOT else next(others) for k in range(count)]
        self.done = []  # (user, (asked for, done), forest)

    def run(self, rounds):
        time.sleep(1.0)  # the load settles
        with self.directory.modifier() as m:
            for k in range(rounds):
                users = [1 + k % HOT] if self.count == 1 else self.order
                if self.count != 1 or k % HOT == 0:
                    self.directory.forest = FORESTS[1 - FORESTS.index(self.directory.forest)]
                forest = self.directory.forest
                times = m.replace([(self.directory.dn(u), forest) for u in users], "extensionAttribute1",
                                  window=self.directory.window)
                self.done += [(u, t, forest) for u, t in zip(users, times) if u <= HOT]
                time.sleep(0.03 if self.count == 1 else 1.0)
        time.sleep(2 * self.directory.aim_ms / 1000)


def arrivals(record):
    """{user: [(ns, port)]} of all mail that the sinks took."""
    found = defaultdict(list)
    with open(record) as lines:
        for line in lines:
            word = line.split()
            if word[0] == "rcpt":
                found[int(word[4])].append((int(word[1]), int(word[2])))
    return {user: sorted(list_) for user, list_ in found.items()}


def latencies(flips, found, port_of):
    """From each flip's commit (the directory's answer; the relay may be faster than that, which counts as 0) to the first
    RCPT that goes the new way, and from that to every later one that still went the old way, of which there are to be
    none: the new way waits until what is on the wire or in the old forest's socket was answered. In ms."""
    took, late = [], []
    times = defaultdict(list)
    for user, when, forest in flips:
        times[user].append((when, forest))
    for user, mine in times.items():
        for ((asked, done), forest), ((end, _), _) in zip(mine, mine[1:] + [((1 << 62, None), None)]):
            after = [(t, port) for t, port in found.get(user, []) if asked < t < end]
            first = next((t for t, port in after if port == port_of[forest]), None)
            if first is None:
                raise BenchError(f"no mail for {user}user went to {forest} after its flip")
            took.append(max(first - done, 0) / 1e6)
            late += [(t - first) / 1e6 for t, port in after if port != port_of[forest] and t > first]
    return sorted(took), late


def contradictions(log):
    """Deliveries that went another way than others for the same mailbox by the same generation of the directory."""
    ways = defaultdict(Counter)
    with open(log, errors="replace") as lines:
        for line in lines:
            m = re.search(r"\bdelivered\b.*\bto=(\S+).*\bdest=forest:(\w+).*\bgeneration=(\d+)", line)
            if m:
                ways[m.group(1), m.group(3)][m.group(2)] += 1
    return sum(min(c.values()) for c in ways.values() if len(c) > 1)


def peak(s, relay, ports):
    """Messages a second, from the first to the arrival of the last, when clients do not wait."""
    began = time.monotonic()
    result = bench_load(s.program("bench-load"), "--relay", relay.port, "--sink", ports[0], "--sink", ports[1], "--rate", 0,
                        "--sessions", SESSIONS, "--seconds", 3, "--users", HOT)
    return result["sunk"]["n"] / (time.monotonic() - began)


def measure(s, relay, sinks, directory, count, rate):
    flips = Flips(directory, count)
    record = os.path.join(relay.folder, f"record-{count}")
    ports = sinks.ports()
    options = ["--relay", relay.port, "--sink", ports[0], "--sink", ports[1], "--rate", rate, "--sessions", SESSIONS,
               "--seconds", 600, "--users", HOT, "--record", record]
    result = bench_load(s.program("bench-load"), *options, meanwhile=lambda: flips.run(directory.rounds[count]), then_end=True,
                        timeout=900)
    if result["failed"] or result["sunk"]["n"] != result["sent"]:
        raise BenchError(f"{result['sent']} sent, {result['failed']} refused, {result['sunk']['n']} arrived")
    took, late = latencies(flips.done, arrivals(record), dict(zip(FORESTS, ports)))
    name = f"{directory.name}, {count} flipped, {rate:.0f} messages/s"
    add = s.report.add
    add("cutover", name, "commit to first RCPT ms p50", took[len(took) // 2])
    add("cutover", name, "commit to first RCPT ms p99", took[len(took) - 1 - len(took) // 100],
        aim=("<=", directory.aim_ms), of="value")
    add("cutover", name, "RCPTs the old way after it", len(late), aim=("<=", 0), of="value")
    add("cutover", name, "the latest of them, ms after it", max(late, default=0.0))


def cutover(s):
    counts = (1, 1000) if s.quick else (1, 1000, 10000)
    for make in (OpenLdap, ActiveDirectory):
        folder = Path(s.fresh("cutover"))
        directory = make(folder, counts[-1] + HOT)
        sinks = Sinks(folder)
        relay = Causeway(s.build, folder, None, counts[-1] + HOT, sinks.ports(), source=directory.source)
        try:
            directory.forest = "east"
            relay.start()
            wait_for("the first sync", lambda: (status(relay) or {}).get("state") == "current", 300)
            rate = peak(s, relay, sinks.ports()) * directory.share
            for count in counts:
                say(f" {directory.name}: {count}")
                measure(s, relay, sinks, directory, count, rate)
            s.report.add("cutover", directory.name, "deliveries against their generation",
                         contradictions(os.path.join(relay.folder, "log")), aim=("<=", 0), of="value")
        finally:
            relay.stop()
            directory.server.stop()
