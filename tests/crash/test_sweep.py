"""The crash sweep: the relay is killed at every write, sync, rename, unlink and send in turn, while it receives,
delivers, bounces, compacts and recovers. Each time the sets are compared: what the client was told is accepted,
what the sinks took, what is left in the queue. Nothing may be lost; a duplicate may only be a delivery in flight.
"""
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import time

import pytest

import faults
from client import Client, message
from relay import DOMAIN, Relay
from sink import Sink
from wait import until

PARALLEL = 4
STEP = int(os.environ.get("CAUSEWAY_SWEEP_STEP", "1"))  # 1: every call; n: every n-th, for slow builds
PEOPLE = {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "refused": "A"}
QUICK = {"queue": ["retry_min = 1s", "retry_max = 2s", "dest_backoff_min = 100ms", "dest_backoff_max = 200ms"],
         "spool": ['segments_ready = 1']}
SENDER = f"b2@{DOMAIN}"  # so that bounces come to sink B


def refuse(stage, detail, session):
    return "550 5.1.1 no such user" if stage == "RCPT" and "refused@" in detail else None


class World:
    """Two sinks and what a client was told."""

    def __init__(self):
        self.sink = {"A": Sink(refuse), "B": Sink(refuse)}
        self.acked = []     # (key, recipient)
        self.sent = set()   # keys whose content was begun
        self.kills = 0

    def stop(self):
        for s in self.sink.values():
            s.stop()

    def relay(self, folder, env=None, sections=None):
        return Relay(folder, forests={n: [s.port] for n, s in self.sink.items()}, people=PEOPLE,
                     sections=sections or QUICK, env=env)

    def send(self, client, key, rcpts, body=b"Hello.\r\n"):
        rcpts = [f"{r}@{DOMAIN}" for r in rcpts]
        self.sent.add(key)
        code, _ = client.send(SENDER, rcpts, message(key, body))
        if code == 250:
            self.acked += [(key, r) for r in rcpts]
        return code

    def delivered(self):
        count, bounced = collections.Counter(), collections.Counter()
        for sink in self.sink.values():
            with sink.lock:
                kept = list(sink.kept)
            for k in kept:
                if k.sender == "":
                    about = re.search(rb"X-Key: (\S+)", k.data)
                    assert about, k.data[:2000]
                    bounced[about.group(1).decode()] += 1
                else:
                    for r in k.rcpts:
                        count[(k.key, r)] += 1
        return count, bounced

    def missing(self):
        count, bounced = self.delivered()
        return [x for x in self.acked
                if not (bounced[x[0]] if x[1].startswith("refused@") else count[x])]

    def judge(self, dup_bound=1):
        """After everything has settled."""
        count, bounced = self.delivered()
        assert not self.missing(), f"lost: {self.missing()}"
        for (key, rcpt), n in count.items():
            assert key in self.sent, f"a message nobody sent: {key}"
            assert n <= 1 + dup_bound, f"{key} to {rcpt} came {n} times"
        for key, n in bounced.items():
            assert key.startswith("bounce"), f"a bounce about {key}"
            assert n <= 1 + dup_bound, f"{n} bounces about {key}"
        for sink in self.sink.values():
            for k in sink.kept:
                check_whole(k)


def check_whole(kept):
    """Content is never truncated, mixed or half modified: its end names its key."""
    if kept.sender == "":
        return
    m = re.search(rb"END (\S+)\r\n\Z", kept.data)
    if b"\r\n\r\nlong " in kept.data:
        assert m and m.group(1).decode() == kept.key, f"{kept.key} is damaged"


def long_body(key, size):
    line = b"x" * 70 + b"\r\n"
    return b"long \r\n" + line * (size // len(line)) + f"END {key}\r\n".encode()


def settle(world, relay):
    relay.env = {}
    if relay.is_running():
        relay.terminate()
    relay.start()
    until(lambda: f"all mail to arrive; missing {world.missing()}; queue {relay.ask('queue.list')['items']}\n{relay.log()[-2000:]}",
          lambda: not world.missing() and relay.queue_length() == 0)
    assert relay.terminate() == 0
    verify(relay)
    assert not relay.report(), relay.report()


def verify(relay):
    code, text = relay.ctl("spool", "verify", relay.spool)
    assert code == 0, text


def talk(world, relay, parts):
    """Sends until all was sent or the relay died."""
    try:
        with Client(relay.port) as c:
            for key, rcpts, body in parts:
                if world.send(c, key, rcpts, body) == 0:
                    break
    except (OSError, AssertionError):
        pass  # killed under us: what matters is what was acknowledged


MAIL = [("plain1", ["a1"], b"Hello.\r\n"), ("pair", ["a1", "b1"], b"Hello.\r\n"),
        ("bounce1", ["refused"], b"Hello.\r\n"), ("long1", ["b1"], None), ("plain2", ["b1"], b"Hello.\r\n")]


def mail_parts():
    return [(k, r, long_body(k, 400_000) if b is None else b) for k, r, b in MAIL]


def up_or_dead(relay):
    try:
        until("the relay to start or die", lambda: not relay.is_running() or relay.is_up())
        until("the directory", lambda: not relay.is_running() or relay.knows("b2"))
    except AssertionError:
        if relay.is_running():
            raise


SLOW_DISK = {**QUICK, "spool": QUICK["spool"] + ["test_sync_delay = 4000"]}  # two commits at a time


def run_mail_slow(folder, at, do, calls):
    return run_mail(folder, at, do, calls, SLOW_DISK)


def run_mail(folder, at, do, calls, sections=QUICK):
    """Receive, deliver, bounce, with death at call `at`; then a clean restart. Returns the calls counted."""
    world = World()
    count = os.path.join(folder, "count")
    os.makedirs(folder, exist_ok=True)
    relay = world.relay(os.path.join(folder, "relay"), env=faults.env(calls, at, do, count=count), sections=sections)
    try:
        relay.spawn()
        up_or_dead(relay)
        if relay.is_running():
            talk(world, relay, mail_parts())
        if at:
            # It dies when the call comes; if all is done before, the call comes while stopping, or not at all.
            until("death or an empty queue", lambda: not relay.is_running() or (
                not world.missing() and queue_is_empty(relay)))
            if relay.is_running():
                relay.terminate()
        else:
            until("an empty queue", lambda: not world.missing() and queue_is_empty(relay))
            relay.terminate()
        n, died = faults.read_count(count), relay.process.returncode == -signal.SIGKILL
        settle(world, relay)
        world.judge()
        return n, died
    finally:
        relay.kill() if relay.is_running() else None
        world.stop()
        shutil.rmtree(folder, ignore_errors=True)


def queue_is_empty(relay):
    try:
        return relay.queue_length() == 0
    except (OSError, ValueError):
        return False


def counted(relay, name):
    try:
        return relay.counter(name)
    except (OSError, ValueError):
        return 0


def sweep(tmp_path, run, jobs, parallel=PARALLEL):
    """jobs: [(at, do, calls)]; all must pass."""
    bad = []
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        running = {pool.submit(run, str(tmp_path / f"{i}"), *job): job for i, job in enumerate(jobs)}
        for f in concurrent.futures.as_completed(running):
            if f.exception():
                bad.append((running[f], f.exception()))
    assert not bad, f"{len(bad)} of {len(jobs)} failed, first: {bad[0][0]}: {bad[0][1]}"
    deaths = sum(f.result()[1] for f in running)
    print(f"{deaths} deaths survived, {len(jobs) - deaths} runs ended before their call came")
    assert deaths >= 0.7 * len(jobs)


@pytest.mark.parametrize("calls,how", [("write,sync,rename,unlink", "kill"), ("write,sync,rename,unlink", "kill-half"),
                                       ("write,sync,rename,unlink", "kill-after"), ("send", "kill"),
                                       ("send", "kill-half")])
def test_receiving_delivering_bouncing(tmp_path, calls, how):
    n, _ = run_mail(str(tmp_path / "count"), 0, "kill", calls)
    assert n > 10
    sweep(tmp_path, run_mail, [(at, how, calls) for at in range(1, n + 1, STEP)])


def test_on_a_slow_disk(tmp_path):
    calls = "write,sync"
    n, _ = run_mail_slow(str(tmp_path / "count"), 0, "kill", calls)
    assert n > 10
    sweep(tmp_path, run_mail_slow, [(at, "kill", calls) for at in range(1, n + 1, STEP)])


# ---- recovery ----

def prepare_queue(folder, world):
    """A spool with mail in it: the sinks were away, then the relay was killed."""
    for s in world.sink.values():
        s.stop()
    relay = world.relay(folder)
    relay.start()
    with Client(relay.port) as c:
        for i in range(6):
            assert world.send(c, f"queued{i}", ["a1", "b1"] if i % 2 else ["b2"]) == 250
        assert world.send(c, "longqueued", ["b1"], long_body("longqueued", 400_000)) == 250
        assert world.send(c, "bounceq", ["refused"]) == 250
    relay.kill()
    for s in world.sink.values():
        s.start()
    return relay


def run_recovery(folder, at, do, calls):
    world = World()
    count = os.path.join(folder, "count")
    os.makedirs(folder, exist_ok=True)
    relay = prepare_queue(os.path.join(folder, "relay"), world)
    try:
        relay.env = faults.env(calls, at, do, count=count)
        relay.spawn()
        until("death or an empty queue", lambda: not relay.is_running() or (
            not world.missing() and queue_is_empty(relay)))
        if relay.is_running():
            relay.terminate()
        n, died = faults.read_count(count), relay.process.returncode == -signal.SIGKILL
        settle(world, relay)
        world.judge()
        return n, died
    finally:
        relay.kill() if relay.is_running() else None
        world.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("how", ["kill", "kill-half"])
def test_recovering(tmp_path, how):
    calls = "write,sync,rename,unlink,send"
    n, _ = run_recovery(str(tmp_path / "count"), 0, "kill", calls)
    assert n > 5
    sweep(tmp_path, run_recovery, [(at, how, calls) for at in range(1, n + 1, STEP)])


# ---- compaction ----

COMPACT = {**QUICK, "spool": ['segment_size = "1M"', "compact_below = 0.9", "segments_ready = 1"],
           "smtp_client": ["idle_timeout = 1s"]}


def compacted(relay):
    return not relay.is_running() or counted(relay, "spool_compacted")


def wait_for_compaction(world, relay):
    until("compaction", lambda: compacted(relay))


def mail_until_compaction(world, relay):
    """A message now and then: replies and deliveries before, during and after it."""
    def parts():
        i = 0
        while not compacted(relay):
            yield f"during{i}", ["a1"], b"Hello.\r\n"
            time.sleep(0.4)
            i += 1
        yield "last", ["a1"], b"Hello.\r\n"
    talk(world, relay, parts())


def run_compaction(folder, at, do, calls, messages=40, size=120_000, stays=8, meanwhile=wait_for_compaction):
    """One message in eight stays (its forest is away), the rest goes: segments empty out and are compacted."""
    world = World()
    count = os.path.join(folder, "count")
    os.makedirs(folder, exist_ok=True)
    world.sink["B"].stop()
    relay = world.relay(os.path.join(folder, "relay"), env=faults.env(calls, at, do, count=count),
                        sections=COMPACT)
    try:
        relay.spawn()
        up_or_dead(relay)
        talk(world, relay, [(f"k{i}", ["b1" if i % stays == 0 else "a1"], long_body(f"k{i}", size))
                            for i in range(messages)])
        until("death or only B's mail left", lambda: not relay.is_running() or all(
            r.startswith("b1@") for _, r in world.missing()))
        if relay.is_running():
            meanwhile(world, relay)
            relay.terminate()
        n, died = faults.read_count(count), relay.process.returncode == -signal.SIGKILL
        world.sink["B"].start()
        settle(world, relay)
        world.judge()
        return n, died
    finally:
        relay.kill() if relay.is_running() else None
        world.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run_compaction_beside_mail(folder, at, do, calls):
    """Few and large messages, so that there are not so many calls."""
    return run_compaction(folder, at, do, calls, 8, 240_000, 4, mail_until_compaction)


@pytest.mark.parametrize("run,calls", [(run_compaction, "write,sync,rename,unlink"), (run_compaction_beside_mail, "send")],
                         ids=["write,sync,rename,unlink", "send"])
@pytest.mark.parametrize("how", ["kill", "kill-half"])
def test_compacting(tmp_path, run, calls, how):
    n, _ = run(str(tmp_path / "count"), 0, "kill", calls)
    assert n > 30
    # A run waits five seconds until a segment has been quiet.
    sweep(tmp_path, run, [(at, how, calls) for at in range(1, n + 1, STEP)], 4 * PARALLEL)
