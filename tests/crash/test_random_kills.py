"""Two hundred kills at random moments under load, one spool all the time."""
import os
import random
import threading
import time

from client import Client, message
from relay import DOMAIN
from test_sweep import World, long_body, settle
from wait import until

KILLS = int(os.environ.get("CAUSEWAY_KILLS", "200"))
WINDOW = 32  # deliveries in hand per destination and worker


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


def test_random_kills(tmp_path):
    seed = int(os.environ.get("CAUSEWAY_SEED", random.randrange(1 << 30)))
    print(f"seed {seed} (CAUSEWAY_SEED)")
    rng = random.Random(seed)
    world = World()
    sections = {"queue": ["retry_min = 1s", "retry_max = 2s", "dest_backoff_min = 100ms", "dest_backoff_max = 200ms",
                          f"window_max = {WINDOW}"]}
    relay = world.relay(str(tmp_path / "relay"), sections=sections)
    stop, lock = threading.Event(), threading.Lock()
    relay.start()
    threads = [threading.Thread(target=load, args=(world, relay, stop, f"t{i}", lock), daemon=True) for i in range(3)]
    for t in threads:
        t.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.02, 0.25))
            relay.kill()
            relay.spawn()
            if rng.random() < 0.8:
                until("the relay", lambda: relay.process.poll() is not None or relay.is_up())
        stop.set()
        for t in threads:
            t.join(30)
        relay.kill()
        settle(world, relay)
        world.judge(dup_bound=KILLS)
        count, _ = world.delivered()
        duplicates = sum(n - 1 for n in count.values())
        print(f"{KILLS} kills, {len(world.acked)} acknowledged, {duplicates} duplicates")
        assert len(world.acked) > KILLS
        assert duplicates <= KILLS * 2 * 2 * WINDOW, f"{duplicates} duplicates are more than were in flight"
    finally:
        stop.set()
        relay.kill() if relay.is_running() else None
        world.stop()
