"""Processes, ports and what /proc says about them."""

import os
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something outside the measured programs is not as it must be; the text is for a person."""


def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(command, **options):
    """Runs to the end; a failure carries the command and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, condition, timeout=30.0, pause=0.005):
    """Returns the condition's first true value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise BenchError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(pause)


def banner(port, timeout=2.0):
    """The greeting on the port, or None."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as s:
            line = s.recv(512)
            s.sendall(b"QUIT\r\n")
            return line if line.startswith(b"220") else None
    except OSError:
        return None


def stop(process, timeout=30.0, how=signal.SIGTERM):
    """Ends a child and waits for it."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stat_fields(pid):
    """Fields of /proc/PID/stat behind the command name: [0] is the state; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def tree(root):
    """The process and all its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(name)
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += parents.get(pid, [])
    return found


def cpu_seconds(root):
    """User and system time of a process and its descendants, the dead ones included."""
    ticks = 0
    for pid in tree(root):
        fields = stat_fields(pid)
        if fields:
            ticks += sum(int(t) for t in fields[11:15])
    return ticks / TICK


def memory(pid):
    """Bytes of private memory in use (RssAnon); files that are mapped do not count."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise BenchError(f"/proc/{pid}/status has no RssAnon")


def fill_cache(folder):
    """Fills the page cache, as on a machine that has been up for a while. A virtual machine may give free
    memory back to its host, and then the first touch of a page costs more than the message that needs it:
    whoever grows would pay for that. The file must stay until the end."""
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) * 1024 for line in f if line.startswith("MemFree:"))
    with open(os.path.join(folder, "cache"), "w+b", buffering=0) as f:
        f.truncate(max(free - (1 << 29), 0))  # a hole: costs no disk
        piece = bytearray(1 << 20)
        while f.readinto(piece):
            pass


def raise_nofile(want):
    """Open files for us and our children, as many as are allowed up to `want`."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < want:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, want))
            return want
        except (ValueError, OSError):
            want = hard
    if soft == resource.RLIM_INFINITY or soft >= want:
        return want
    resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    return want
