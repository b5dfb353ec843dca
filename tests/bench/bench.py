"""contrib/bench: runs the benchmarks that are named, prints one table, leaves a JSON file."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import cases_cutover
import cases_queue
import cases_relay
import cases_sync
from causeway import version, write_ldif
from procs import BenchError, fill_cache, raise_nofile
from report import Report, say

ALL = {
    "relay": cases_relay.relay,
    "intake": cases_relay.intake,
    "latency": cases_relay.latency,
    "slow-disk": cases_relay.slow_disk,
    "idle": cases_relay.idle,
    "depth": cases_queue.depth,
    "restart": cases_queue.restart,
    "drain": cases_queue.drain,
    "directory": cases_queue.directory,
    "sync": cases_sync.sync,
    "cutover": cases_cutover.cutover,
}


class Setting:
    """What every benchmark gets: options, the folder, the recipients, and where results go."""

    def __init__(self, options, folder, build, report):
        self.quick = options.quick
        self.rounds = options.rounds or (1 if options.quick else 3)
        self.seconds = 1.0 if options.quick else 5.0  # of one measured run
        self.users = 10000 if options.quick else 100000
        self.folder = folder
        self.build = build
        self.report = report
        self.ldif = os.path.join(folder, "people.ldif")

    def program(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def fresh(self, name):
        """A new folder that Postfix's user can reach."""
        path = tempfile.mkdtemp(prefix=name + "-", dir=self.folder)
        os.chmod(path, 0o755)
        return path


def options_of(arguments):
    p = argparse.ArgumentParser(prog="contrib/bench", description=__doc__)
    p.add_argument("name", nargs="+", help="all, or some of: " + ", ".join(ALL))
    p.add_argument("--json", metavar="FILE", help="where the figures go (default: bench.json)")
    p.add_argument("--markdown", metavar="FILE", help="the table as Markdown")
    p.add_argument("--rounds", type=int, metavar="N", help="rounds of each comparison (default: 3)")
    p.add_argument("--quick", action="store_true",
                   help="one short round of a few cases: shows that all works, proves nothing")
    p.add_argument("--build", metavar="DIR", help="use this build (default: make one, optimised)")
    p.add_argument("--dir", metavar="DIR", default="/var/tmp",
                   help="a folder on the disk to measure (default: /var/tmp)")
    options = p.parse_args(arguments)
    names = list(ALL) if "all" in options.name else options.name
    for name in names:
        if name not in ALL:
            p.error(f"no benchmark \"{name}\"; there are: {', '.join(ALL)}")
    options.name = names
    return options


def build_of(options, source):
    if options.build:
        build = os.path.abspath(options.build)
    else:
        build = os.path.join(source, "build", "bench")
        say("building with -O2 in build/bench")
        if subprocess.run([os.path.join(source, "contrib", "build"), build, "CFLAGS=-O2 -g"]).returncode:
            sys.exit(1)
    for name in ("causewayd", "tests/bench/bench-load"):
        if not os.access(os.path.join(build, name), os.X_OK):
            sys.exit(f"contrib/bench: {build} has no {name}")
    return build


def ended(number, frame):
    sys.exit(128 + number)  # through the finally blocks, which stop the daemons


def main():
    source = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    options = options_of(sys.argv[1:])
    if os.geteuid() != 0 and any(name != "directory" for name in options.name):
        sys.exit("contrib/bench: must be run by root, because Postfix can only be started by root")
    build = build_of(options, source)
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started it with that ignored
    raise_nofile(32768)
    report = Report()
    folder = tempfile.mkdtemp(prefix="causeway-bench-", dir=options.dir)
    os.chmod(folder, 0o755)
    status = 0
    try:
        setting = Setting(options, folder, build, report)
        write_ldif(setting.ldif, setting.users)
        if not options.quick:
            fill_cache(folder)
        for name in options.name:
            say(name)
            try:
                ALL[name](setting)
            except BenchError as e:
                say(f"{name}: {e}")
                status = 1
            report.save(options.json or "bench.json", {
                "causeway": version(build), "rounds": setting.rounds, "quick": options.quick})
    except KeyboardInterrupt:
        status = 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.print()
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write(report.markdown())
    return status


sys.exit(main())
