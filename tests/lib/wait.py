"""Waiting on conditions, and free ports."""
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


def free_port(host="127.0.0.1"):
    """Below the range from which the kernel takes ports for outgoing connections, so that it stays free."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind((host, port))
                return port
            except OSError:
                pass


def can_connect(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False
