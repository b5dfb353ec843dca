"""Waiting on conditions, and free ports."""
import collections
import os
import random
import socket
import time

# Sanitizers make everything slower; a limit is how long a failing test takes, never how long a good one does.
PATIENCE = float(os.environ.get("CAUSEWAY_TEST_PATIENCE", "30"))


def until(what, test, seconds=None):
    """Calls test() until it returns something true, and returns that."""
    end = time.monotonic() + (seconds or PATIENCE)
    pause = 0.001
    while True:
        result = test()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds or PATIENCE} s for {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


# One for each port that was given out lately, so that no other test of this machine gets it before it is used, or while a
# relay is killed and started anew. The names go with the process.
claims = collections.deque(maxlen=200)


def free_port(host="127.0.0.1"):
    """Below the range from which the kernel takes ports for outgoing connections, so that it stays free."""
    while True:
        port = random.randrange(10000, 32000)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0causeway-test-port-{port}")
            with socket.socket() as s:
                s.bind((host, port))
        except OSError:
            claim.close()
            continue
        claims.append(claim)
        return port


def can_connect(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False
