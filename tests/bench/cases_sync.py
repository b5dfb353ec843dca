"""The benchmark of a first sync: everything from slapd and from a Samba domain controller, beside ldapsearch."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from causeway import Causeway
from load import Sinks
from procs import BenchError, cpu_seconds, wait_for
from report import in_turn, say

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from dirwatch import source  # noqa: E402
from samba_dc import PASSWORD, Domain, Samba  # noqa: E402
from slapd import BASE, Slapd, person  # noqa: E402

# What the relay asks for by default, so that ldapsearch moves as much.
ATTRIBUTES = ("objectClass", "mail", "proxyAddresses", "targetAddress", "mailNickname", "legacyExchangeDN", "homeMDB",
              "msExchHomeServerName", "msExchRecipientTypeDetails", "msExchRequireAuthToSendTo", "entryUUID",
              "objectGUID")
CHUNK = 10000  # mailboxes that Samba takes in one transaction


class Server:
    """A directory server with its people in it: how the relay and how ldapsearch are told to read all of it."""

    def __init__(self, name, server, n, bind, password, ways=(), **options):
        """ways: [(name, options of ldapsearch)], besides the plain search."""
        self.name, self.server, self.n = name, server, n
        search = ["ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", server.uri, "-D", bind, "-w", password,
                  "-b", options["base"]]
        self.searches = [(way, [*search, *more, options["filter"], *ATTRIBUTES])
                         for way, more in (("ldapsearch", []), *ways)]
        self.options = {"tls": "none", "uri": [server.uri], "bind_dn": bind, "forest": "east",
                        "password_file": server.folder / "password", "mass_change_percent": "100", **options}

    def cpu(self):
        return cpu_seconds(self.server.process.pid)


def openldap(folder, n):
    people = "".join(person(f"u{i:06d}", mailNickname=f"u{i:06d}",
                            proxyAddresses=[f"SMTP:u{i:06d}@bench.test", f"smtp:user.{i:06d}@bench.test"])
                     for i in range(n))
    slapd = Slapd(folder / "slapd", people).start()
    return Server("slapd", slapd, n, f"cn=sync,{BASE}", "sync", type="openldap", base=BASE,
                  filter="(objectClass=mailRecipient)")


def active_directory(folder, n):
    dc = Samba(folder / "dc", Domain(folder / "domain", "bench.test"))
    for first in range(0, n, CHUNK):
        dc.load(min(CHUNK, n - first), first)
        say(f"  {min(first + CHUNK, n)} mailboxes in Samba")
    dc.start()
    # Active Directory itself gives no more than a page at a time, and DirSync is what the relay asks for.
    ways = [("ldapsearch, paged", ["-E", "pr=1000/noprompt"]),
            ("ldapsearch, DirSync", ["-E", "!dirSync=1/1000000000"])]
    return Server("Samba AD", dc, n, dc.account(), PASSWORD, ways, type="active-directory", base=dc.base,
                  filter="(objectClass=user)")


def dump(server, search):
    """ldapsearch, all of it, into a file."""
    cpu = server.cpu()
    path = server.server.folder / "dump.ldif"
    with open(path, "wb") as out:
        began = time.monotonic()
        done = subprocess.run(search, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True)
        took = time.monotonic() - began
    found = path.read_bytes().count(b"\nmail: ")
    path.unlink()
    if done.returncode != 0 or found < server.n:
        raise BenchError(f"ldapsearch found {found} of {server.n}: {done.stderr[-500:]}")
    return {"rate": server.n / took, "server_cpu_us": (server.cpu() - cpu) * 1e6 / server.n}


def status(relay):
    """The source's line of directory.status; None while the control socket is not there."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(relay.folder + "/control.sock")
            s.sendall(b'{"command": "directory.status"}\n')
            return next((json.loads(line).get("item") for line in s.makefile("rb")), None)
    except OSError:
        return None


def first_sync(relay, server):
    """From the start of the program, with nothing on disk, until the source is complete."""
    def complete():
        found = relay.is_alive() and status(relay)
        return found if found and found["complete_once"] and found["state"] == "current" else None
    relay.forget()
    before = server.cpu()
    began = time.monotonic()
    relay.spawn()
    found = wait_for("the first sync", complete, 600, 0.002)
    took = time.monotonic() - began
    cpu, theirs = relay.cpu(), server.cpu() - before
    relay.kill()
    if found["entries"] < server.n:
        raise BenchError(f"the source {server.name} has {found['entries']} of {server.n} entries")
    return {"rate": server.n / took, "cpu_us": cpu * 1e6 / server.n, "server_cpu_us": theirs * 1e6 / server.n}


def sync(s):
    n = 2000 if s.quick else 100000
    for make in (openldap, active_directory):
        folder = Path(s.fresh("sync"))
        server = make(folder, n)
        try:
            compare(s, server, Causeway(s.build, folder, None, 0, Sinks(folder).ports(),
                                        source=source("people", **server.options)))
        finally:
            server.server.stop()


def compare(s, server, relay):
    say(f" {server.n} entries from {server.name}")
    sides = [(way, lambda search=search: dump(server, search)) for way, search in server.searches]
    sides[0][1]()  # the server's caches
    try:
        found = in_turn(s.rounds, [*sides, ("causeway", lambda: first_sync(relay, server))])
    finally:
        relay.kill()
    mine, name = found["causeway"], f"{server.n} entries, {server.name}"
    for way, _ in sides:
        s.report.add("sync", name, "entries/s", mine["rate"], found[way]["rate"], way, (">=", 0.8))
        s.report.add("sync", name, "the server's CPU us/entry", mine["server_cpu_us"], found[way]["server_cpu_us"], way)
    s.report.add("sync", name, "CPU us/entry", mine["cpu_us"])
