#!/usr/bin/python3
"""check.py [--quick]: runs the stages of contrib/check and adds up what passed and failed.

Stages: warnings (gcc and clang, -Werror), manual pages and unit file, unit tests under ASan+UBSan and under TSan, fuzz
targets, system tests against real daemons under ASan and TSan, make distcheck (with the unit tests on a plain build), the
quickstart, the crash sweep on a plain build, a sample of it under ASan and TSan.
System tests wait most of the time, so what only computes runs beside them, with the lowest priority.
A stage that fails does not keep the others from running; everything is in build/NAME/*.log.
"""
import contextlib
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
QUICK = "--quick" in sys.argv[1:]
FUZZ_SECONDS = int(os.environ.get("CAUSEWAY_FUZZ_SECONDS", "5" if QUICK else "12"))
CPUS = os.cpu_count() or 1
# System tests wait for timers and servers most of the time. A file's tests stay together: they share servers.
SIDE_BY_SIDE = ["-n", str(2 * CPUS), "--dist", "loadfile"]
# The crash tests keep four relays busy each.
TWO = ["-n", str(CPUS)]
SAN = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}

total = {"passed": 0, "failed": 0}
printing = threading.Lock()
mine = threading.local()  # of the stage that this thread runs: passed, failed, said (None: said at once)


def count(ok, bad=0):
    mine.passed += ok
    mine.failed += bad


def say(text):
    if getattr(mine, "said", None) is None:
        print(text, flush=True)
    else:
        mine.said.append(text)


def stage(title):
    def wrap(fn):
        def run(*args, aside=False):
            mine.passed, mine.failed, mine.said, began = 0, 0, [] if aside else None, time.monotonic()
            say(f"== {title(*args) if callable(title) else title}")
            try:
                fn(*args)
            except Exception as e:  # of this script; whatever it is, the stage has not passed
                say(f"   {type(e).__name__}: {e}")
                count(0, 1)
            say(f"   {mine.passed} passed, {mine.failed} failed ({time.monotonic() - began:.0f} s)")
            with printing:
                total["passed"] += mine.passed
                total["failed"] += mine.failed
                if aside:
                    print("\n".join(mine.said), flush=True)
        return run
    return wrap


@contextlib.contextmanager
def beside(*stages):
    """Runs these, one after the other, while the body runs; what they say comes when each has ended."""
    def run():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # this thread, and what it starts
        for fn, *args in stages:
            fn(*args, aside=True)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def tail(path, n=40):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f.read().splitlines()[-n:]:
                say("   | " + line)
    except OSError as e:
        say(f"   | {path}: {e}")


def command(argv, log, timeout, **env):
    """Runs it, output to the log; True if it exited with 0."""
    with open(log, "wb") as f:
        try:
            return subprocess.run(argv, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env={**os.environ, **SAN, **env}, timeout=timeout).returncode == 0
        except subprocess.TimeoutExpired:
            f.write(f"\ntimed out after {timeout} s\n".encode())
            return False


def folder(name):
    path = os.path.join(TOP, "build", name)
    os.makedirs(path, exist_ok=True)
    return path


@stage(lambda name, *options: f"build {name}: {' '.join(options)}")
def build(name, *options):
    ok = command([os.path.join(TOP, "contrib/build"), folder(name), *options],
                 folder(name) + "/stage.log", 900)
    count(ok, not ok)
    if not ok:
        tail(folder(name) + "/stage.log")


def make(name, log, *args):
    """make in a build folder; True if it succeeded, and what it said."""
    log = f"{folder(name)}/{log}.log"
    ok = command(["make", "-C", folder(name), f"-j{CPUS}", *args], log, 900)
    with open(log, encoding="utf-8", errors="replace") as f:
        return ok, f.read(), log


def count_unit_tests(ok, text):
    good = sum(int(n) for n in re.findall(r"^# PASS: +(\d+)", text, re.M))
    bad = sum(int(n) for n in re.findall(r"^# (?:FAIL|ERROR|XPASS): +(\d+)", text, re.M))
    count(good, bad if bad or ok else 1)


@stage(lambda name: f"unit tests, {name}")
def unit(name):
    ok, text, log = make(name, "make-check", "check")
    count_unit_tests(ok, text)
    if not ok:
        tail(log, 15)
        for test in re.findall(r"^(?:FAIL|ERROR): (\S+)", text, re.M):
            tail(os.path.join(folder(name), re.sub(r"\.\w+$", "", test) + ".log"), 25)


@stage(lambda name: f"unit tests are built, {name}")
def unit_builds(name):
    """By the compiler that runs none of them here: its warnings are what is wanted."""
    ok, _, log = make(name, "make-unit", "check", "TESTS=")
    count(ok, not ok)
    if not ok:
        tail(log)


@stage(lambda name: f"make distcheck, with the unit tests on a plain build, from {name}")
def distcheck(name):
    """The archive has all that it needs, builds outside its folder, installs, uninstalls, and leaves nothing."""
    ok, text, log = make(name, "distcheck", "distcheck")
    count(ok, not ok)
    count_unit_tests(True, text)
    if not ok:
        tail(log)


@stage("contrib/quickstart --once")
def quickstart():
    log = folder("quickstart") + "/stage.log"
    ok = command([os.path.join(TOP, "contrib/quickstart"), "--once"], log, 600)
    count(ok, not ok)
    if not ok:
        tail(log)


@stage(lambda name: f"manual pages and unit file, {name}")
def lint(name):
    pages = [p for top in (TOP, folder(name)) for p in sorted(glob.glob(top + "/doc/*.[1-8]"))]
    for page in pages:
        check(["mandoc", "-Tlint", "-Wwarning", page], f"{folder(name)}/mandoc-{os.path.basename(page)}.log")
    if len(pages) != 4:
        say(f"   4 manual pages were expected: {pages}")
        count(0, 1)
    if not shutil.which("systemd-analyze"):
        say("   the unit file was not verified: this machine has no systemd-analyze")
        return
    with tempfile.TemporaryDirectory() as work:
        # The program is where it was built, not where it will be installed.
        with open(folder(name) + "/contrib/causeway.service", encoding="utf-8") as f:
            text = re.sub(r"^ExecStart=\S+", f"ExecStart={folder(name)}/causewayd", f.read(), flags=re.M)
        with open(work + "/causeway.service", "w", encoding="utf-8") as f:
            f.write(text)
        check(["systemd-analyze", "verify", "--man=no", work + "/causeway.service"],
              folder(name) + "/systemd-analyze.log")


def check(argv, log):
    """A program that says nothing if all is well."""
    ok = command(argv, log, 60) and os.path.getsize(log) == 0
    count(ok, not ok)
    if not ok:
        say("   " + " ".join(argv))
        tail(log)


@stage(lambda name: f"fuzz targets, {FUZZ_SECONDS} s each, {name}")
def fuzz(name):
    targets = sorted(t for t in glob.glob(folder(name) + "/tests/fuzz/fuzz_*")
                     if os.access(t, os.X_OK) and os.path.isfile(t))
    if not targets:
        say("   no fuzz target was built")
        count(0, 1)
    running = []
    while targets or running:
        while targets and len(running) < CPUS:
            running.append(start_fuzzer(targets.pop(0)))
        fuzzer, child, log = running.pop(0)
        ok = child.wait() == 0
        count(ok, not ok)
        if not ok:
            say(f"   {os.path.basename(fuzzer)} failed")
            tail(log)


def start_fuzzer(path):
    name = os.path.basename(path)
    work = path + ".corpus"
    os.makedirs(work, exist_ok=True)
    seeds = os.path.join(TOP, "tests/fuzz/corpus", name.removeprefix("fuzz_"))
    argv = [path, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
            f"-artifact_prefix={path}.crash-", work] + ([seeds] if os.path.isdir(seeds) else [])
    log = path + ".log"
    with open(log, "wb") as f:
        return path, subprocess.Popen(argv, stdout=f, stderr=subprocess.STDOUT,
                                      env={**os.environ, **SAN}), log


@stage(lambda name, tests, *args: f"{tests} on {name}")
def system(name, tests, *args):
    log, xml = f"{folder(name)}/{tests.replace('/', '-')}.log", f"{folder(name)}/{tests.replace('/', '-')}.xml"
    if os.path.exists(xml):
        os.unlink(xml)
    # A folder of its own: pytest's shared one is cleaned by whoever else runs pytest.
    base = tempfile.mkdtemp(prefix="causeway-check-")
    os.chmod(base, 0o755)
    ok = command(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", xml,
                  "--basetemp", os.path.join(base, "t"), "-rs", *args, os.path.join(TOP, tests)], log, 2400,
                 CAUSEWAY_BUILD=folder(name), PYTHONDONTWRITEBYTECODE="1")
    if ok:
        shutil.rmtree(base, ignore_errors=True)
    try:
        suite = ET.parse(xml).getroot().find("testsuite").attrib
    except (OSError, ET.ParseError):
        suite = {"tests": 0, "failures": 0, "errors": 1, "skipped": 0}
    bad = int(suite["failures"]) + int(suite["errors"])
    good = int(suite["tests"]) - bad - int(suite["skipped"])
    count(good, bad if bad or ok else 1)
    if int(suite["skipped"]):
        say(f"   {suite['skipped']} skipped:")
        with open(log, encoding="utf-8", errors="replace") as f:
            say("".join("   | " + line for line in f if line.startswith("SKIPPED")).rstrip())
    if not ok:
        tail(log, 80)


def main():
    began = time.monotonic()
    build("asan", "--enable-asan", "--enable-werror", "CFLAGS=-O1 -g")
    lint("asan")
    unit("asan")
    build("fuzz", "--enable-fuzz", "--enable-werror", "CC=clang", "CFLAGS=-O1 -g")
    unit_builds("fuzz")
    with beside((fuzz, "fuzz")):
        system("asan", "tests/system", *SIDE_BY_SIDE)
    if not QUICK:
        build("tsan", "--enable-tsan", "--enable-werror", "CFLAGS=-O1 -g")
        unit("tsan")
        with beside((distcheck, "asan"), (quickstart,)):
            system("tsan", "tests/system", *SIDE_BY_SIDE)
        build("plain", "--enable-werror", "CFLAGS=-O2 -g")
        system("plain", "tests/crash", *TWO)
        # The same under the sanitizers, which make each run several times as long: a sample.
        os.environ.update(CAUSEWAY_SWEEP_STEP="5", CAUSEWAY_KILLS="25")
        system("asan", "tests/crash", *TWO)
        system("tsan", "tests/crash", *TWO)
    say(f"\nin {time.monotonic() - began:.0f} s, logs in build/")
    say(f"{total['passed']} passed, {total['failed']} failed")
    sys.exit(total["failed"] != 0 or total["passed"] == 0)


main()
