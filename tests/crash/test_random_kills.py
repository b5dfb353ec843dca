"""Two hundred kills at random moments under load, one spool all the time. A duplicate is right only if its first copy was
in flight at a kill: the sink took it, and the relay had not written that down yet. So a sink must have taken every copy
but the last at about the time of a kill, and of those only a few.
"""
import collections
import os
import random
import threading
import time

from client import Client, message
from relay import DOMAIN
from test_sweep import World, long_body, settle
from wait import until

KILLS = int(os.environ.get("CAUSEWAY_KILLS", "200"))
# The relay hears of it and writes its mark, which takes milliseconds: the rest is for threads that had to wait.
SANITIZED = any(x in os.path.basename(os.environ.get("CAUSEWAY_BUILD", "")) for x in ("asan", "tsan"))
IN_FLIGHT = 0.5 if SANITIZED else 0.25


def load(world, relay, stop, name, lock):
    """Sends as fast as it can until told to stop; connects again whenever the relay dies."""
    n = 0
    while not stop.is_set():
        try:
            with Client(relay.port, timeout=5) as c:
                while not stop.is_set():
                    n += 1
                    key, rcpts = f"{name}-{n}", [f"{r}@{DOMAIN}" for r in (["a1"], ["b1"], ["a1", "b1"])[n % 3]]
                    size = 400_000 if n % 50 == 0 else 3000
                    world.sent.add(key)
                    body = long_body(key, size)
                    if c.send(f"b2@{DOMAIN}", rcpts, message(key, body))[0] == 250:
                        with lock:
                            world.acked += [(key, r) for r in rcpts]
        except (OSError, AssertionError, ValueError):
            time.sleep(0.01)


def copies(world):
    """{(key, recipient): when a sink took it, each time}"""
    taken = collections.defaultdict(list)
    for sink in world.sink.values():
        with sink.lock:
            for k in sink.kept:
                for r in k.rcpts:
                    taken[k.key, r].append(k.at)
    return taken


def judge_duplicates(world, kills):
    """Kills: when. Returns how long before (or after) its kill a sink took what it took again later."""
    ages = []
    for what, times in copies(world).items():
        for at, again in zip(sorted(times), sorted(times)[1:]):
            age = min((t - at for t in kills if t < again), key=abs, default=None)
            assert age is not None and abs(age) < IN_FLIGHT, f"{what} came twice; from the copy to the kill: {age}"
            ages.append(age)
    return ages


def test_random_kills(tmp_path):
    seed = int(os.environ.get("CAUSEWAY_SEED", random.randrange(1 << 30)))
    print(f"seed {seed} (CAUSEWAY_SEED)")
    rng = random.Random(seed)
    world = World()
    sections = {"queue": ["retry_min = 1s", "retry_max = 2s", "dest_backoff_min = 100ms", "dest_backoff_max = 200ms"]}
    relay = world.relay(str(tmp_path / "relay"), sections=sections)
    kills, stop, lock = [], threading.Event(), threading.Lock()
    relay.start()
    threads = [threading.Thread(target=load, args=(world, relay, stop, f"t{i}", lock), daemon=True) for i in range(3)]
    for t in threads:
        t.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.02, 0.25))
            relay.kill()
            kills.append(time.monotonic())
            relay.spawn()
            if rng.random() < 0.8:
                until("the relay", lambda: relay.process.poll() is not None or relay.is_up())
        stop.set()
        for t in threads:
            t.join(30)
        relay.kill()
        kills.append(time.monotonic())
        settle(world, relay)
        world.judge(dup_bound=KILLS)
        ages = judge_duplicates(world, kills)
        print(f"{KILLS} kills, {len(world.acked)} acknowledged, {len(ages)} duplicates, "
              f"{1000 * max(map(abs, ages), default=0):.0f} ms at most before their kill")
        assert len(world.acked) > KILLS
        assert len(ages) <= KILLS * 4, f"{len(ages)} duplicates are more than were in flight"
    finally:
        stop.set()
        relay.kill() if relay.is_running() else None
        world.stop()
