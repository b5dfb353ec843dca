"""Benchmarks of what waits: depth, restart, drain; and of the directory."""

import json
import subprocess
import time

from cases_relay import PRIME, accept, enough, primed, relays
from causeway import Causeway
from load import Sinks, bench_load, source, through
from procs import BenchError, banner, run, wait_for
from report import in_turn, say

SHORT = 512  # octets of the messages that only fill the queue


def fill(s, relay, messages):
    """So many more messages into the queue; nothing listens where they should go."""
    while messages > 0:
        some = min(messages, s.users)
        source(relay.port, some, 64, SHORT, True)
        messages -= some


def depth(s):
    depths = [10000, 50000] if s.quick else [10000, 100000, 1000000]
    folder = s.fresh("depth")
    sinks = Sinks(folder)  # not started
    with relays(s, sinks, folder, postfix=False, name="deep") as (deep, _):
        empty = Causeway(s.build, folder, s.ldif, s.users, sinks.ports(), name="empty")
        try:
            empty.start()
            depth_cases(s, deep, empty, depths)
        finally:
            empty.kill()


def depth_cases(s, deep, empty, depths):
    def at_empty():
        empty.wipe()
        accept(empty, PRIME, 64)
        return accept(empty, count, 64)

    def at_depth():
        return accept(deep, count, 64)

    accept(deep, PRIME, 64)
    count = enough(s, accept(deep, 2000, 64)["rate"] / 2)
    deep.wipe()
    # The state of a queue that has worked but holds little: buffers and pools are there.
    accept(deep, 2000, 64)
    base, have = deep.memory(), 2000
    for target in depths:
        fill(s, deep, target - have)
        have = max(have, target)  # the rounds add to the queue, too
        each = (wait_calm(deep) - base) / (have - 2000)
        say(f" {have} queued: {each:.0f} bytes each")
        found = in_turn(s.rounds, [("empty", at_empty), ("deep", at_depth)])
        have += count * s.rounds
        name = f"{target} queued"
        s.report.add("depth", name, "bytes/message", each, aim=("<=", 256), of="value")
        s.report.add("depth", name, "accepted/s", found["deep"]["rate"], found["empty"]["rate"],
                     "empty queue", (">=", 0.9))


def wait_calm(relay):
    """Memory once a second has not changed it by more than a hundredth."""
    last = relay.memory()
    for _ in range(10):
        time.sleep(1)
        now = relay.memory()
        if abs(now - last) < last / 100:
            return now
        last = now
    return last


def restart(s):
    for messages in ([5000] if s.quick else [100000, 1000000]):
        folder = s.fresh("restart")
        sinks = Sinks(folder)
        with relays(s, sinks, folder, postfix=False) as (ours, _):
            fill(s, ours, messages)
            ours.kill()
            found = in_turn(s.rounds, [("restart", lambda: restart_round(ours, sinks))])["restart"]
        name = f"{messages} queued, kill -9"
        s.report.add("restart", name, "s to the banner", found["banner"], aim=("<=", 0.2), of="value")
        s.report.add("restart", name, "s to the first delivery", found["delivery"], aim=("<=", 2),
                     of="value")


def restart_round(ours, sinks):
    """Start with the sinks up, then kill -9 again; the next round finds a queue hardly smaller."""
    sinks.start()
    before = sinks.count()
    began = time.monotonic()
    ours.spawn()
    wait_for("the banner", lambda: ours.is_alive() and banner(ours.port), 120, 0.001)
    greeted = time.monotonic() - began
    wait_for("a delivery", lambda: sinks.count() > before, 120, 0.001)
    delivered = time.monotonic() - began
    ours.kill()
    sinks.stop()
    return {"banner": greeted, "delivery": delivered}


def latencies(result):
    return {p: result["sunk"][p] for p in ("p50", "p99")}


def drain(s):
    backlog = 2000 if s.quick else 100000
    case = (64, 4096, True)
    folder = s.fresh("drain")
    sinks = Sinks(folder)
    with relays(s, sinks, folder, postfix=False) as (ours, _):
        sinks.start()
        count = primed(s, ours, sinks, *case)
        through_rate = through(ours, sinks, count, *case)["rate"]
        sinks.stop()
        new = through_rate / 10
        load = ["--relay", ours.port, "--rate", new, "--sessions", 64, "--users", s.users]
        for port in sinks.ports():
            load += ["--sink", port]

        def relay_round():
            sinks.start()
            try:
                return {"rate": through(ours, sinks, count, *case)["rate"]}
            finally:
                sinks.stop()

        def unloaded():
            result = bench_load(s.program("bench-load"), *load, "--seconds", s.seconds)
            return latencies(result)

        def forests_are_back():
            time.sleep(0.4)
            if ours.control("queue.retry", all=True) is None:
                raise BenchError("the relay did not take queue.retry")

        def loaded():
            # Filled with the sinks down; then the forests are back, and the relay is told.
            source(ours.port, backlog, 64, 4096, True)
            result = bench_load(s.program("bench-load"), *load, "--seconds", 300, "--delay", 0.5,
                                "--backlog", backlog, meanwhile=forests_are_back)
            if result["others"] < backlog:
                raise BenchError(f"drained {result['others']} of {backlog}")
            return {"rate": backlog / result["others_seconds"], **latencies(result)}

        found = in_turn(s.rounds, [("relay", relay_round), ("unloaded", unloaded), ("drain", loaded)])
    name = f"{backlog} backlog, {new:.0f}/s new"
    s.report.add("drain", name, "drained/s", found["drain"]["rate"], found["relay"]["rate"], "relay",
                 (">=", 0.7))
    for p in ("p50", "p99"):
        s.report.add("drain", name, f"new mail dot to sink us {p}", found["drain"][p],
                     found["unloaded"][p], "unloaded", ("<=", 2) if p == "p99" else None)


def directory(s):
    for addresses in ([10000] if s.quick else [10000, 1000000, 5000000]):
        found = in_turn(s.rounds, [("directory", lambda: json.loads(run(
            [s.program("bench-directory"), s.fresh("directory"), str(addresses)])))])["directory"]
        name = f"{addresses} addresses"
        add = s.report.add
        add("directory", name, "bytes/address (file)", found["file_bytes"], aim=("<=", 64), of="value")
        add("directory", name, "bytes/address (memory)", found["memory_bytes"], aim=("<=", 64),
            of="value")
        add("directory", name, "ns/lookup, hit", found["hit_ns"], aim=("<=", 300), of="value")
        add("directory", name, "ns/lookup, miss", found["miss_ns"], aim=("<=", 300), of="value")
        add("directory", name, "ms to load", found["load_ms"], aim=("<=", 50), of="value")
        add("directory", name, "ms until verified and in memory", found["settled_ms"])
        add("directory", name, "s for the doctor", found["doctor_s"])
