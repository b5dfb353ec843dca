"""Load and sinks by Postfix's smtp-source and smtp-sink, and by bench-load for what they lack."""

import json
import os
import re
import signal
import subprocess
import time

from procs import BenchError, banner, free_port, stop, wait_for

DOMAIN = "bench.test"


def unprivileged():
    """smtp-sink and smtp-source insist on a user name when run by root."""
    return ["-u", "postfix"] if os.geteuid() == 0 else []


class Sink:
    """smtp-sink on a port. It rewrites its counters in a file at each message."""

    def __init__(self, folder, port=None):
        self.port = port or free_port()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else folder
        self.path = os.path.join(memory, f"bench-sink-{os.getpid()}-{self.port}")
        self.process = None

    def start(self):
        # Appending and truncating keeps the file small between runs.
        with open(self.path, "ab") as out:
            out.truncate(0)
            self.process = subprocess.Popen(
                ["smtp-sink", "-4", "-c", "-m", "4000", *unprivileged(),
                 f"127.0.0.1:{self.port}", "4000"],
                stdout=out, stderr=subprocess.DEVNULL)
        wait_for("smtp-sink", lambda: banner(self.port))

    def reset(self):
        os.truncate(self.path, 0)

    def count(self):
        """Messages since the start of the sink."""
        with open(self.path, "rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - 200))
            seen = re.findall(rb"mesg=(\d+)\r", f.read())
        return int(seen[-1]) if seen else 0

    def last_change(self):
        return os.stat(self.path).st_mtime

    def stop(self):
        stop(self.process)
        self.process = None
        if os.path.exists(self.path):
            os.unlink(self.path)


class Sinks:
    """The two forests' sinks, counted together."""

    def __init__(self, folder):
        self.each = [Sink(folder), Sink(folder)]

    def ports(self):
        return [s.port for s in self.each]

    def start(self):
        for s in self.each:
            s.start()

    def stop(self):
        for s in self.each:
            s.stop()

    def count(self):
        return sum(s.count() for s in self.each)

    def wait(self, before, messages, timeout):
        """Waits until `messages` more than `before` have arrived; the time of the last one."""
        best, since = -1, time.monotonic()
        while True:
            have = self.count() - before
            if have >= messages:
                return max(s.last_change() for s in self.each)
            now = time.monotonic()
            if have != best:
                best, since = have, now
            if now - since > timeout:
                raise BenchError(f"the sinks have {have} of {messages} messages and nothing moves")
            time.sleep(0.005)


def source_command(port, messages, sessions, length, keep, numbered=True):
    command = ["smtp-source", "-s", str(sessions), "-m", str(messages), "-l", str(length),
               "-f", f"sender@elsewhere.test", "-t", f"user@{DOMAIN}", "-M", "client.elsewhere.test"]
    if keep:
        command.append("-d")
    if numbered:
        command.append("-N")  # 1user@, 2user@, ...
    return command + [f"127.0.0.1:{port}"]


def source(port, messages, sessions, length, keep):
    """Sends all messages with smtp-source; seconds until the last one was accepted."""
    began = time.time()
    done = subprocess.run(source_command(port, messages, sessions, length, keep),
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("smtp-source: " + done.stderr.strip()[-500:])
    return time.time() - began


def through(relay, sinks, messages, sessions, length, keep):
    """Messages through a relay to both sinks: rate until the last sink has all, CPU per message."""
    before, cpu = sinks.count(), relay.cpu()
    began = time.time()
    source(relay.port, messages, sessions, length, keep)
    ended = sinks.wait(before, messages, 30)
    return {"rate": messages / (ended - began), "cpu_us": (relay.cpu() - cpu) * 1e6 / messages}


def ceiling(sink, messages, sessions, length, keep):
    """smtp-source straight into smtp-sink."""
    return {"rate": messages / source(sink.port, messages, sessions, length, keep)}


def bench_load(program, *options, meanwhile=None, then_end=False, timeout=600):
    """Runs tests/bench/bench-load; what it reports. Its sinks listen at once, its sessions wait for
    the relay, so `meanwhile` may start that. then_end: the load ends when that returns."""
    p = subprocess.Popen([program, *map(str, options)], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    try:
        if meanwhile:
            meanwhile()
        if then_end:
            p.send_signal(signal.SIGINT)
        out, wrong = p.communicate(timeout=timeout)
    finally:
        stop(p)
    if p.returncode != 0:
        raise BenchError(f"{program}: {wrong.strip()[-500:]}")
    return json.loads(out)


def fdatasync_us(folder, times=300):
    """Median time of one fdatasync after a 4 KB write into a file that is already written."""
    path = os.path.join(folder, "fdatasync")
    block, took = os.urandom(4096), []
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for i in range(times):
            os.pwrite(fd, block, i * 4096)
        os.fsync(fd)
        for i in range(times):
            os.pwrite(fd, block[::-1], i * 4096)
            began = time.perf_counter()
            os.fdatasync(fd)
            took.append(time.perf_counter() - began)
    finally:
        os.close(fd)
        os.unlink(path)
    return sorted(took)[len(took) // 2] * 1e6
