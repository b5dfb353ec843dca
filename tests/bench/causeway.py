"""The relay under test: a causewayd with its own folder, configuration and LDIF directory."""

import json
import os
import shutil
import socket
import subprocess

from load import DOMAIN
from procs import BenchError, banner, cpu_seconds, free_port, memory, run, stop, wait_for

FORESTS = ("east", "west")

CONF = """\
hostname = "relay.bench.test"
user = ""
state_directory = "{folder}/state"
listener "bench" {{ address = {{ "127.0.0.1:{port}" }} }}
forest "east" {{
    host "127.0.0.1:{east}" {{ }}
}}
forest "west" {{
    host "127.0.0.1:{west}" {{ }}
}}
domain "{domain}" {{ type = shared }}
smtpd {{
    connections_max = 20000
    connections_per_client = 0
}}
control {{ socket = "{folder}/control.sock" }}
log {{ target = stderr }}
"""

LDIF_SOURCE = """\
source "people" {{
    type = ldif
    path = "{ldif}"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "east = east", "west = west" }}
    mass_change_percent = 100
}}
"""


def write_ldif(path, users):
    """Recipients 1user@ .. Nuser@ by turns in the two forests, as postfix.py's transport map has them."""
    with open(path, "w") as f:
        for i in range(1, users + 1):
            f.write(f"dn: cn={i}user,dc=bench,dc=test\nobjectClass: inetOrgPerson\n"
                    f"mail: {i}user@{DOMAIN}\nproxyAddresses: SMTP:{i}user@{DOMAIN}\n"
                    f"extensionAttribute1: {FORESTS[i % 2]}\n\n")


class Causeway:
    name = "causeway"

    def __init__(self, build, folder, ldif, users, ports, spool="", name="causeway", source=None):
        """source: sections in place of the LDIF file's."""
        self.build = build
        self.folder = os.path.join(folder, name)
        self.ldif = ldif
        self.users = users
        self.port = free_port()
        self.spool = os.path.join(self.folder, "spool")
        self.process = None
        os.makedirs(self.folder)
        self.conf = os.path.join(self.folder, "causeway.conf")
        with open(self.conf, "w") as f:
            f.write(CONF.format(folder=self.folder, port=self.port, east=ports[0], west=ports[1],
                                domain=DOMAIN))
            f.write(source or LDIF_SOURCE.format(ldif=ldif))
            f.write(f'spool {{\n    directory = "{self.spool}"\n    {spool}\n}}\n')

    def spawn(self):
        # The log goes to a file, as it would under any service manager.
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(self.build, "causewayd"), "-c", self.conf], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)

    def is_alive(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "log"), errors="replace") as log:
                raise BenchError(f"causewayd ended with {self.process.returncode}:\n"
                                 + log.read()[-2000:])
        return True

    def start(self):
        """Until the banner is there and the whole directory is read."""
        self.spawn()
        wait_for("causewayd's banner", lambda: self.is_alive() and banner(self.port), 60)
        last = f"{self.users}user@{DOMAIN}"
        wait_for("the directory",
                 lambda: self.control("directory.lookup", address=last) is not None, 120, 0.05)

    def stop(self):
        stop(self.process)
        self.process = None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wipe(self):
        """An empty queue: stopped, emptied, started. The directory's snapshot stays."""
        self.kill()
        shutil.rmtree(self.spool, ignore_errors=True)
        self.start()

    def forget(self):
        """Stopped, with nothing on disk: as on its first day."""
        self.kill()
        shutil.rmtree(self.spool, ignore_errors=True)
        shutil.rmtree(os.path.join(self.folder, "state"), ignore_errors=True)

    def control(self, command, **arguments):
        """The result of a control request, or None if there is none."""
        request = json.dumps({"command": command, "args": arguments}) + "\n"
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(30)
                s.connect(self.folder + "/control.sock")
                s.sendall(request.encode())
                answer = json.loads(s.makefile("rb").readline() or b"{}")
        except OSError:
            return None
        return answer["result"] if answer.get("ok") else None

    def counter(self, name):
        value = (self.control("status", counters=True) or {}).get("counters", {}).get(name)
        if value is None:
            raise BenchError(f"status has no counter {name}")
        return value

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def memory(self):
        return memory(self.process.pid)

    def syncs(self, work):
        before = self.counter("spool_syncs")
        work()
        return self.counter("spool_syncs") - before


def version(build):
    return run([os.path.join(build, "causewayd"), "--version"]).strip()
