"""Benchmarks of the mail path: relay, intake, latency, slow-disk, idle."""

import contextlib
import subprocess

from causeway import Causeway
from load import (Sinks, bench_load, ceiling, fdatasync_us, source, through)
from postfix import Postfix
from procs import BenchError, stop
from report import in_turn, say

PRIME = 300  # messages to get processes, maps and files going before anything is measured


@contextlib.contextmanager
def relays(s, sinks, folder, postfix=True, **causeway):
    """A causewayd and, if wanted, a Postfix for the same recipients and sinks."""
    ours = Causeway(s.build, folder, s.ldif, s.users, sinks.ports(), **causeway)
    theirs = Postfix(folder, s.users, sinks.ports()) if postfix else None
    try:
        if theirs:
            theirs.setup()
            theirs.start()
        ours.start()
        yield ours, theirs
    finally:
        ours.stop()
        if theirs:
            theirs.stop()
        sinks.stop()


def enough(s, rate):
    """So many messages that a run at this rate takes about s.seconds."""
    return int(min(max(rate * s.seconds, 500), s.users))


def primed(s, relay, sinks, sessions, length, keep):
    """A first run that does not count; how many messages one that counts shall have."""
    first = through(relay, sinks, PRIME, sessions, length, keep)
    second = through(relay, sinks, 2 * PRIME, sessions, length, keep)
    return enough(s, max(first["rate"], second["rate"]))


def name_of(length, sessions, keep):
    return f"{length // 1024} KB, {sessions} sessions, {'kept' if keep else 'new'} connections"


def relay(s):
    cases = [(length, sessions, keep) for length in (4096, 16384) for sessions in (20, 64)
             for keep in (True, False)]
    if s.quick:
        cases = [(4096, 20, True), (4096, 64, False)]
    folder = s.fresh("relay")
    sinks = Sinks(folder)
    sinks.start()
    with relays(s, sinks, folder) as (ours, theirs):
        for case in cases:
            say(" " + name_of(*case))
            relay_case(s, ours, theirs, sinks, case)


def relay_case(s, ours, theirs, sinks, case):
    count = {r.name: primed(s, r, sinks, *case) for r in (theirs, ours)}
    direct = int(s.seconds * 6000)
    found = in_turn(s.rounds, [
        ("postfix", lambda: through(theirs, sinks, count["postfix"], *case)),
        ("causeway", lambda: through(ours, sinks, count["causeway"], *case)),
        ("ceiling", lambda: ceiling(sinks.each[0], direct, *case)),
    ])
    mine, name = found["causeway"], name_of(*case)
    add = s.report.add
    add("relay", name, "messages/s", mine["rate"], found["postfix"]["rate"], "postfix", (">=", 8))
    add("relay", name, "messages/s", mine["rate"], found["ceiling"]["rate"], "ceiling", (">=", 0.4))
    add("relay", name, "CPU us/message", mine["cpu_us"], found["postfix"]["cpu_us"], "postfix")
    few = 2 * PRIME
    theirs_syncs = theirs.syncs(lambda: through(theirs, sinks, PRIME, *case)) / PRIME
    ours_syncs = ours.syncs(lambda: through(ours, sinks, few, *case)) / few
    add("relay", name, "syncs/message", ours_syncs, theirs_syncs, "postfix")


def accept(relay, messages, sessions):
    """Mail into a relay whose next hops are down."""
    cpu = relay.cpu()
    took = source(relay.port, messages, sessions, 4096, True)
    return {"rate": messages / took, "cpu_us": (relay.cpu() - cpu) * 1e6 / messages}


def intake_round(relay, messages, sessions):
    """The same from an empty queue, which is emptied again so that its retries disturb nobody."""
    relay.wipe()
    accept(relay, PRIME, sessions)
    box = {}
    syncs = 0
    if relay.name == "causeway":
        syncs = relay.syncs(lambda: box.update(accept(relay, messages, sessions)))
        box["syncs"] = syncs / messages
    else:
        box = accept(relay, messages, sessions)
    relay.wipe()
    return box


def intake(s):
    folder = s.fresh("intake")
    sinks = Sinks(folder)  # not started: nothing listens on their ports
    with relays(s, sinks, folder) as (ours, theirs):
        for sessions in (20, 64):
            say(f" {sessions} sessions")
            ours_n = enough(s, intake_round(ours, 2000, sessions)["rate"])
            theirs_n = enough(s, intake_round(theirs, 500, sessions)["rate"])
            found = in_turn(s.rounds, [
                ("postfix", lambda: intake_round(theirs, theirs_n, sessions)),
                ("causeway", lambda: intake_round(ours, ours_n, sessions)),
            ])
            mine, name = found["causeway"], f"4 KB, {sessions} sessions"
            s.report.add("intake", name, "messages/s", mine["rate"], found["postfix"]["rate"],
                         "postfix", (">=", 10))
            s.report.add("intake", name, "CPU us/message", mine["cpu_us"],
                         found["postfix"]["cpu_us"], "postfix")
            s.report.add("intake", name, "syncs/message", mine["syncs"],
                         aim=("<=", 0.2) if sessions == 64 else None, of="value")


def peak(s, relay, sinks):
    sinks.start()
    try:
        count = primed(s, relay, sinks, 64, 4096, True)
        return through(relay, sinks, count, 64, 4096, True)["rate"]
    finally:
        sinks.stop()


def latency(s):
    folder = s.fresh("latency")
    sinks = Sinks(folder)
    with relays(s, sinks, folder) as (ours, theirs):
        rates = {r.name: peak(s, r, sinks) / 2 for r in (theirs, ours)}
        one_session(s, ours, theirs, sinks, folder)
        open_loop(s, ours, theirs, sinks, rates)


def shoot(s, relay, ports, rate, sessions):
    """bench-load with its own sinks on the forests' ports; flat figures in microseconds."""
    options = ["--relay", relay.port, "--rate", rate, "--sessions", sessions,
               "--seconds", s.seconds, "--users", s.users]
    for port in ports:
        options += ["--sink", port]
    result = bench_load(s.program("bench-load"), *options)
    if result["failed"]:
        raise BenchError(f"{getattr(relay, 'name', 'the sink')} refused {result['failed']} of {result['sent']} messages")
    if ports and result["sunk"]["n"] != result["sent"]:
        raise BenchError(f"{relay.name} delivered {result['sunk']['n']} of {result['sent']} messages "
                         "within a minute")
    return {f"{what} {p}": result[what][p] for what in ("accepted", "sunk") for p in ("p50", "p99")
            if result[what]["n"]}


FIGURES = [("accepted", "dot to 250"), ("sunk", "dot to sink")]


def one_session(s, ours, theirs, sinks, folder):
    say(" one session")
    ports = sinks.ports()

    def smallest():
        """What durability costs at least: one fdatasync and the same dialogue with a mere sink."""
        sink = sinks.each[0]
        sink.start()
        try:
            trip = shoot(s, sink, [], 0, 1)["accepted p50"]
        finally:
            sink.stop()
        sync = fdatasync_us(folder)
        return {"fdatasync": sync, "round trip": trip, "sum": sync + trip}

    found = in_turn(s.rounds, [
        ("postfix", lambda: shoot(s, theirs, ports, 0, 1)),
        ("causeway", lambda: shoot(s, ours, ports, 0, 1)),
        ("smallest", smallest),
    ])
    mine = found["causeway"]
    for key, label in FIGURES:
        for p in ("p50", "p99"):
            figure = f"{key} {p}"
            s.report.add("latency", "one session", f"{label} us {p}", mine[figure],
                         found["postfix"][figure], "postfix",
                         ("<=", 0.5) if p == "p50" else None)
    s.report.add("latency", "one session", "dot to 250 us p50", mine["accepted p50"],
                 found["smallest"]["sum"], "fdatasync + round trip", ("<=", 1.5))


def open_loop(s, ours, theirs, sinks, rates):
    say(f" open loop: postfix {rates['postfix']:.0f}/s, causeway {rates['causeway']:.0f}/s")
    ports = sinks.ports()
    found = in_turn(s.rounds, [
        ("postfix", lambda: shoot(s, theirs, ports, rates["postfix"], 64)),
        ("causeway", lambda: shoot(s, ours, ports, rates["causeway"], 64)),
        ("same rate", lambda: shoot(s, ours, ports, rates["postfix"], 64)),
    ])
    for side, rate in (("causeway", rates["causeway"]), ("same rate", rates["postfix"])):
        for key, label in FIGURES:
            for p in ("p50", "p99"):
                figure = f"{key} {p}"
                s.report.add("latency", f"open loop, {rate:.0f}/s", f"{label} us {p}",
                             found[side][figure], found["postfix"][figure],
                             f"postfix at {rates['postfix']:.0f}/s")


def slow_disk(s):
    folder = s.fresh("slow-disk")
    sinks = Sinks(folder)
    case = (64, 4096, True)
    sinks.start()
    with relays(s, sinks, folder, postfix=False) as (fast, _):
        slow = Causeway(s.build, folder, s.ldif, s.users, sinks.ports(),
                        spool="test_sync_delay = 2000", name="slow")
        try:
            slow.start()
            count = {r: primed(s, r, sinks, *case) for r in (fast, slow)}
            found = in_turn(s.rounds, [
                ("fast", lambda: through(fast, sinks, count[fast], *case)),
                ("slow", lambda: through(slow, sinks, count[slow], *case)),
            ])
        finally:
            slow.stop()
    s.report.add("slow-disk", "each sync 2 ms longer, 64 sessions", "messages/s",
                 found["slow"]["rate"], found["fast"]["rate"], "without", (">=", 0.8))


@contextlib.contextmanager
def idlers(s, port, count):
    """`count` idle SMTP sessions; all must still be open at the end."""
    p = subprocess.Popen([s.program("bench-idle"), str(port), str(count)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if p.stdout.readline().strip() != "ready":
            raise BenchError("bench-idle: " + p.stderr.read().strip())
        yield
        still = int(p.communicate()[0])
        if still != count:
            raise BenchError(f"{count - still} of {count} idle connections were closed")
    finally:
        stop(p)


def idle(s):
    folder = s.fresh("idle")
    sinks = Sinks(folder)
    connections = 1000 if s.quick else 10000
    case = (64, 4096, True)
    sinks.start()
    with relays(s, sinks, folder, postfix=False) as (ours, _):
        count = primed(s, ours, sinks, *case)
        through(ours, sinks, count, *case)

        def crowded():
            before = ours.memory()
            with idlers(s, ours.port, connections):
                bytes_each = (ours.memory() - before) / connections
                return {"bytes": bytes_each, **through(ours, sinks, count, *case)}

        found = in_turn(s.rounds, [
            ("alone", lambda: through(ours, sinks, count, *case)),
            ("crowded", crowded),
        ])
    name = f"{connections} idle connections"
    # Memory that one round has freed serves the next, so the first round tells the price.
    s.report.add("idle", name, "bytes/connection", max(found["crowded"]["bytes"]),
                 aim=("<=", 4096), of="value")
    s.report.add("idle", name, "messages/s", found["crowded"]["rate"], found["alone"]["rate"],
                 "without", (">=", 0.95))
