"""A causewayd under test: its folder, configuration, LDIF directory, process and control commands."""
import json
import os
import signal
import socket
import subprocess

from wait import can_connect, free_port, until

DOMAIN = "example.test"


def build_dir():
    path = os.environ.get("CAUSEWAY_BUILD")
    if not path:
        raise RuntimeError("CAUSEWAY_BUILD must name a build directory (contrib/check sets it)")
    return os.path.abspath(path)


class Relay:
    """forests: {name: [port, ...]} (hosts on 127.0.0.1). people: {local part: forest name}.

    Clients at 127.0.0.1 are the internet; 127.0.1.1, 127.0.1.2 ... are the forests in the order given; 127.0.2.0/24
    are application hosts. `sections` maps a section (spool, smtpd, queue, smtp_client, dns, dsn, or "" for the top
    level) to lines that are put into it; `extra` is appended to the file.
    """

    def __init__(self, folder, forests=None, people=None, sections=None, extra="", source=None,
                 env=None, wrap=()):
        self.dir = str(folder)
        os.makedirs(self.dir, exist_ok=True)
        self.forests = forests or {}
        self.people = dict(people or {})
        self.sections = {k: list(v) if not isinstance(v, str) else [v] for k, v in (sections or {}).items()}
        self.extra = extra
        self.source = source
        self.env = dict(env or {})
        self.wrap = list(wrap)
        self.port = free_port()
        self.conf = os.path.join(self.dir, "causeway.conf")
        self.ldif = os.path.join(self.dir, "people.ldif")
        self.control = os.path.join(self.dir, "c.sock")
        self.spool = os.path.join(self.dir, "spool")
        self.log_path = os.path.join(self.dir, "log")
        self.process = None
        self.expect_reports = False
        self.write_ldif()
        self.write_conf()

    # ---- files ----

    def options(self, name, lines):
        """An option that the test gives replaces ours: the relay refuses an option given twice."""
        return {x.split("=")[0].strip(): x for x in lines + self.sections.get(name, [])}.values()

    def section(self, name, lines):
        return f"{name} {{\n" + "".join(f"    {x}\n" for x in self.options(name, lines)) + "}\n"

    def write_conf(self):
        text = "".join(x + "\n" for x in self.options("", [
            f'hostname = "relay.{DOMAIN}"', 'user = ""', f'state_directory = "{self.dir}/state"', "workers = 2",
            'application_hosts = { "127.0.2.0/24" }']))
        text += f'listener "in" {{ address = {{ "127.0.0.1:{self.port}" }} }}\n'
        for i, (name, hosts) in enumerate(self.forests.items(), 1):
            text += f'forest "{name}" {{\n    peers = {{ "127.0.1.{i}" }}\n'
            for h in hosts:
                port, cost = h if isinstance(h, tuple) else (h, 10)
                text += f'    host "127.0.0.1:{port}" {{ cost = {cost} }}\n'
            text += "".join(f"    {x}\n" for x in self.sections.get("forest " + name, [])) + "}\n"
        text += f'domain "{DOMAIN}" {{ type = shared  unknown = refuse }}\n'
        if self.source is None:
            values = ", ".join(f'"{f} = {f}"' for f in self.forests)
            text += (f'source "people" {{\n    type = ldif\n    path = "{self.ldif}"\n'
                     f'    flag_attribute = "extensionAttribute1"\n    flag_values = {{ {values} }}\n'
                     "    mass_change_percent = 100\n}\n")
        else:
            text += self.source
        text += self.section("spool", [f'directory = "{self.spool}"', 'segment_size = "4M"', 'large_size = "256K"',
                                       'reserve = "16M"', 'reserve_resume = "20M"'])
        text += self.section("control", [f'socket = "{self.control}"'])
        text += self.section("log", ["level = debug"])
        for name in ("smtpd", "queue", "smtp_client", "dns", "dsn"):
            if name in self.sections:
                text += self.section(name, [])
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(text + self.extra)

    def write_ldif(self):
        with open(self.ldif + ".new", "w", encoding="utf-8") as f:
            for local, forest in self.people.items():
                f.write(f"dn: cn={local},dc=example,dc=test\nobjectClass: inetOrgPerson\nmail: {local}@{DOMAIN}\n"
                        f"mailNickname: {local}\nproxyAddresses: SMTP:{local}@{DOMAIN}\n"
                        f"extensionAttribute1: {forest}\n\n")
        os.rename(self.ldif + ".new", self.ldif)

    def flip(self, local, forest, wait=True):
        self.people[local] = forest
        self.write_ldif()
        if wait:
            until(f"{local} to move to {forest}", lambda: self.goes_to(local) == f"forest:{forest}")

    # ---- process ----

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.wrap + [os.path.join(build_dir(), "causewayd"), "-c", self.conf], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, **self.env})
        return self

    def start(self, directory=True):
        self.spawn()
        until(lambda: "the relay to start:\n" + self.log()[-3000:], self.is_up)
        if directory and self.people:
            local = next(reversed(self.people))
            until(lambda: f"the directory to be read: {self.ask('directory.status')['items']}",
                  lambda: self.knows(local) and self.is_complete())
        return self

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"causewayd ended with {self.process.returncode}:\n{self.log()[-3000:]}")
        try:
            return can_connect(self.port) and self.ask("status")
        except OSError:
            return False

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.is_running():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, seconds=40):
        """SIGTERM; returns the exit status."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def finish(self):
        if self.process is not None:
            if self.is_running():
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(40)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise AssertionError("causewayd did not stop on SIGTERM") from None
            assert self.expect_reports or not self.report(), self.report()

    def report(self):
        """What a sanitizer said about any of the processes so far, or ""."""
        log = self.log()
        at = max(log.find("Sanitizer"), log.find("runtime error: "))
        return log[max(at - 200, 0):at + 8000] if at >= 0 else ""

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # ---- control ----

    def ctl(self, *args):
        """(exit status, output)"""
        p = subprocess.run([os.path.join(build_dir(), "causewayctl"), "--socket", self.control, *args],
                           capture_output=True, text=True, timeout=60)
        return p.returncode, p.stdout + p.stderr

    def ctl_json(self, *args):
        code, text = self.ctl("--json", *args)
        assert code == 0, f"causewayctl {' '.join(args)}: {text}"
        return json.loads(text)

    def ask(self, command, **args):
        """A request on the control socket, without causewayctl: the result; items, if any, under "items"."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(self.control)
            s.sendall(json.dumps({"command": command, "args": args}).encode() + b"\n")
            items = []
            for line in s.makefile("rb"):
                if not line.endswith(b"\n"):
                    break  # it died in the middle
                answer = json.loads(line)
                if "item" in answer:
                    items.append(answer["item"])
                elif answer["ok"]:
                    return {**answer["result"], "items": items}
                else:
                    raise LookupError(f"{command}: {answer['error']['message']}")
        raise ConnectionError(f"{command}: the connection was closed")

    def is_complete(self):
        """Every source was read to its end: unknown recipients get 550."""
        return all(s["complete_once"] and s["state"] not in ("starting", "syncing")
                   for s in self.ask("directory.status")["items"])

    def knows(self, local):
        try:
            return self.ask("directory.lookup", address=f"{local}@{DOMAIN}")
        except (LookupError, OSError):
            return None

    def goes_to(self, local):
        """"forest:NAME", as `explain` says it."""
        return self.ask("explain", address=f"{local}@{DOMAIN}")["dest"]

    def control_request(self, line):
        """One raw line to the control socket; the answer, or b"" if the connection was closed."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.control)
            s.sendall(line)
            try:
                return s.makefile("rb").readline()
            except ConnectionError:
                return b""

    def queue_length(self):
        return self.ask("status")["queue"]["messages"]

    def rss(self):
        """Resident memory, in octets."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(x.split()[1]) * 1024 for x in f if x.startswith("VmRSS"))

    def counter(self, name):
        return self.ask("status", counters=True)["counters"][name]

    def alarms(self):
        """{what: alarm}: the list on top of `status`."""
        return {a["what"]: a for a in self.ask("status")["alarms"]}

    def until_no_alarm(self):
        until(lambda: f"no alarm: {self.alarms()}", lambda: not self.alarms())

    def wait_empty(self, seconds=None):
        until(lambda: f"the queue to be empty: {self.ask('queue.list')['items']}", lambda: self.queue_length() == 0, seconds)

    def retry_all(self):
        self.ask("queue.retry", all=True)
