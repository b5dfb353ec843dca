"""Environment for a relay whose system calls fail or kill it at a chosen one: tests/crash/faults.c."""
import os
import struct
import subprocess

from relay import build_dir


def library():
    path = os.path.join(build_dir(), "tests/crash/faults.so")
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "crash/faults.c")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temp = f"{path}.{os.getpid()}"
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                        "-o", temp, source, "-ldl"], check=True)
        os.rename(temp, path)
    return path


def env(calls, at, do, path=None, more=None, count=None, arm=None):
    # A sanitizer's runtime wants to be loaded first; ours only stands in front of it.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    e = {"LD_PRELOAD": library(), "ASAN_OPTIONS": asan.lstrip(":"), "FAULT_CALLS": calls, "FAULT_AT": str(at), "FAULT_DO": do}
    if path:
        e["FAULT_PATH"] = path
    if arm:
        e["FAULT_ARM"] = arm
    if more is not None:
        e["FAULT_MORE"] = str(more)
    if count:
        e["FAULT_COUNT"] = count
    return e


def read_count(path):
    with open(path, "rb") as f:
        return struct.unpack("l", f.read(8))[0]
