#!/usr/bin/python3
"""quickstart.py BUILD [--once]: the story of one mailbox that moves, on real sockets.

A relay on its embedded default (no LDAP server: the directory is an LDIF file), two demo forests, real messages.
Each step says what it expects and fails loudly if it sees something else. Exit status 0: every step was right.
"""
import email.message
import email.policy
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DOMAIN = "contoso.example"
PEOPLE = [  # local part, name, flag
    ("anna", "Anna Muster", "legacy"),
    ("bert", "Bert Brecht", "legacy"),
    ("carla", "Carla Núñez", "new"),
    ("dora", "Dora Diaz", "new"),
]


def say(text=""):
    print(text, flush=True)


def fail(text):
    raise SystemExit(f"\nquickstart: WRONG: {text}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, test, seconds=20):
    """Waits on a condition; the result of the first true test is returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = test()
        if result:
            return result
        time.sleep(0.02)
    fail(f"waited {seconds} s for {what}")


class Demo:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.dir = tempfile.mkdtemp(prefix="causeway-demo-")
        self.children = []
        self.port = free_port()
        self.sink_port = {"legacy": free_port(), "new": free_port()}
        self.ldif = os.path.join(self.dir, "recipients.ldif")
        self.conf = os.path.join(self.dir, "causeway.conf")
        self.socket = os.path.join(self.dir, "control.sock")
        self.seen = set()

    # ---- files ----

    def write_ldif(self, flags):
        """The directory: replaced whole, by a rename, as an export job would do it."""
        with open(self.ldif + ".new", "w", encoding="utf-8") as f:
            for local, name, _ in PEOPLE:
                f.write(f"dn: cn={local},ou=people,dc=contoso,dc=example\n"
                        "objectClass: inetOrgPerson\n"
                        f"displayName: {name.encode('ascii', 'replace').decode()}\n"
                        f"mail: {local}@{DOMAIN}\nmailNickname: {local}\n"
                        f"proxyAddresses: SMTP:{local}@{DOMAIN}\n"
                        f"proxyAddresses: smtp:{local}.old@{DOMAIN}\n"
                        f"extensionAttribute1: {flags[local]}\n\n")
        os.rename(self.ldif + ".new", self.ldif)

    def write_conf(self):
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(f'''# Written by the quick start. `causewayd --sample` prints every option with its description.
hostname = "relay.{DOMAIN}"
user = ""
state_directory = "{self.dir}/state"

listener "internet" {{ address = {{ "127.0.0.1:{self.port}" }} }}

forest "legacy" {{ host "127.0.0.1" {{ port = {self.sink_port["legacy"]} }}  peers = {{ "127.0.0.2" }} }}
forest "new"    {{ host "127.0.0.1" {{ port = {self.sink_port["new"]} }}  peers = {{ "127.0.0.3" }} }}

# One name space, two forests: the directory says where each mailbox is.
domain "{DOMAIN}" {{ type = shared  unknown = refuse }}

source "people" {{
    type = ldif
    path = "{self.ldif}"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "legacy = legacy", "new = new" }}
    mass_change_percent = 100
}}

spool   {{ directory = "{self.dir}/spool" }}
control {{ socket = "{self.socket}" }}
''')

    # ---- processes ----

    def spawn(self, *argv, **kw):
        child = subprocess.Popen(argv, **kw)
        self.children.append(child)
        return child

    def start(self):
        for name, port in self.sink_port.items():
            self.spawn("/usr/bin/python3", os.path.join(HERE, "sink.py"), "127.0.0.1", str(port),
                       self.folder(name), f"mail.{name}.example")
            wait_for(f"the demo forest {name}", lambda p=port: can_connect(p))
        log = open(os.path.join(self.dir, "causewayd.log"), "wb")
        self.daemon = self.spawn(os.path.join(self.build, "causewayd"), "-c", self.conf, stderr=log)
        wait_for("the relay's banner", lambda: self.daemon_alive() and can_connect(self.port))
        wait_for("the directory", lambda: self.ctl("directory", "lookup", f"anna@{DOMAIN}")[0] == 0)

    def daemon_alive(self):
        if self.daemon.poll() is not None:
            with open(os.path.join(self.dir, "causewayd.log"), encoding="utf-8", errors="replace") as f:
                fail("causewayd ended:\n" + f.read())
        return True

    def stop(self, keep):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def ctl(self, *args):
        p = subprocess.run([os.path.join(self.build, "causewayctl"), "--socket", self.socket, *args],
                           capture_output=True, text=True)
        return p.returncode, p.stdout if p.returncode == 0 else p.stdout + p.stderr

    # ---- mail ----

    def folder(self, forest):
        return os.path.join(self.dir, "forest-" + forest)

    def kept(self):
        """Messages in the sinks that were not looked at yet: (forest, envelope, content)."""
        for forest in self.sink_port:
            if not os.path.isdir(self.folder(forest)):
                continue
            for name in sorted(os.listdir(self.folder(forest))):
                path = os.path.join(self.folder(forest), name)
                if name.endswith(".json") and path not in self.seen:
                    self.seen.add(path)
                    with open(path, encoding="utf-8") as f, open(path[:-5] + ".eml", "rb") as c:
                        yield forest, json.load(f), c.read()

    def send(self, title, content, to, eightbit=False):
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example") as s:
            s.ehlo()
            s.sendmail("sender@partner.example", to, content, ["BODY=8BITMIME"] if eightbit else [])
        want = {rcpt for rcpt in to}
        got = {}

        def arrived():
            for forest, env, data in self.kept():
                for rcpt in env["to"]:
                    if rcpt in got:
                        fail(f"{rcpt} got {title} twice")
                    got[rcpt] = forest
                    if not data.endswith(content):
                        fail(f"{title} was changed on its way to {rcpt}")
            return want == set(got)
        wait_for(f"{title} at {', '.join(sorted(want))} (arrived: {got})", arrived)
        for rcpt in to:
            say(f"   {title:<34} {rcpt:<24} -> forest {got[rcpt]}")
        return got


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def messages():
    """(title, content with CRLF, 8-bit?)"""
    def build(subject):
        m = email.message.EmailMessage()
        m["From"] = "Sender <sender@partner.example>"
        m["To"] = f"somebody@{DOMAIN}"
        m["Subject"] = subject
        m["Message-ID"] = f"<{subject.replace(' ', '-')}@partner.example>"
        return m
    out = []
    m = build("plain text")
    m.set_content("Good morning.\n.\n..a line with dots\nRegards\n")
    out.append(("plain text with dots", m, False))
    m = build("MIME parts")
    m.set_content("See the HTML part.\n")
    m.add_alternative("<p>See <b>here</b>.</p>\n", subtype="html")
    m.add_attachment(b"col1;col2\r\n1;2\r\n", maintype="text", subtype="csv", filename="table.csv")
    out.append(("MIME parts", m, False))
    m = build("8-bit text")
    m.set_content("Grüße aus Zürich, señor.\n", cte="8bit")
    out.append(("8-bit text", m, True))
    m = build("3 MB attachment")
    m.set_content("The file is attached.\n")
    m.add_attachment(bytes(range(256)) * (3 * 4096), maintype="application", subtype="octet-stream",
                     filename="big.bin")
    out.append(("3 MB attachment", m, False))
    return [(t, m.as_bytes(policy=email.policy.SMTP), b) for t, m, b in out]


def expect(got, want, why):
    for local, forest in want.items():
        if got[f"{local}@{DOMAIN}"] != forest:
            fail(f"{local} should have reached forest {forest}: {why}; reached {got[f'{local}@{DOMAIN}']}")


def explain(demo, local):
    code, text = demo.ctl("explain", f"{local}@{DOMAIN}")
    if code != 0:
        fail(f"explain {local}: {text}")
    say("\n".join("   | " + line for line in text.rstrip().splitlines()))


def why(decision):
    """Of the answer of `causewayctl --json explain`: what decided."""
    for claim in decision.get("entry", {}).get("claims", []):
        if claim["best"]:
            return f"{claim['evidence']} in {claim['source']}"
    return decision["reasons"][-2]  # the last one says what becomes of it


def explain_all(demo, want):
    """A table of the recipients: where mail for each goes, and why. want: {address: forest or code of the reply}"""
    say(f"   {'recipient':<27} {'goes to':<13} why")
    for address, place in want.items():
        code, text = demo.ctl("--json", "explain", address)
        if code != 0:
            fail(f"explain {address}: {text}")
        d = json.loads(text)
        goes_to = d["dest"] or "refused " + d["reply"].split(" ")[0]
        if goes_to not in (f"forest:{place}", f"refused {place}"):
            fail(f"mail for {address} went to {place}, and explain says: {goes_to}")
        for i, line in enumerate(textwrap.wrap(why(d), 35)):
            say(f"   {address:<27} {goes_to:<13} {line}" if i == 0 else f"{'':45}{line}")


def places(flags):
    return {f"{local}@{DOMAIN}": forest for local, forest in flags.items()}


def story(demo):
    flags = {local: flag for local, _, flag in PEOPLE}
    demo.write_ldif(flags)
    demo.write_conf()
    say("\n== 2. Two demo forests and the relay")
    demo.start()
    say(f"   relay 127.0.0.1:{demo.port}; forest legacy 127.0.0.1:{demo.sink_port['legacy']}; "
        f"forest new 127.0.0.1:{demo.sink_port['new']}")
    say(f"   directory {demo.ldif}: {', '.join(f'{p[0]} in {p[2]}' for p in PEOPLE)}")

    say("\n== 3. Mail to all four people: each copy goes to the forest that hosts the mailbox")
    to = [f"{local}@{DOMAIN}" for local, _, _ in PEOPLE]
    for title, content, eightbit in messages():
        expect(demo.send(title, content, to, eightbit), flags, "its flag says so")
    say("   every copy arrived once, byte for byte as it was sent. Who went where, and why:")
    explain_all(demo, places(flags))
    say(f"   and in full for one of them, `causewayctl explain anna@{DOMAIN}`:")
    explain(demo, "anna")

    say("\n== 4. Anna's mailbox moves: her flag in the directory changes from legacy to new")
    flags["anna"] = "new"
    demo.write_ldif(flags)
    wait_for("the relay to see the change",
             lambda: re.search(r"forest:? *new|forest:new", demo.ctl("explain", f"anna@{DOMAIN}")[1]))
    expect(demo.send("the next mail", messages()[0][1], to), flags, "her flag was changed")
    say("   The difference, as the relay explains it:")
    explain_all(demo, places(flags))
    explain(demo, "anna")

    say("\n== 5. A recipient whom no directory knows is refused at once, never bounced later")
    with smtplib.SMTP("127.0.0.1", demo.port, local_hostname="client.example") as s:
        s.ehlo()
        s.mail("sender@partner.example")
        code, text = s.rcpt(f"nobody@{DOMAIN}")
        say(f"   RCPT TO:<nobody@{DOMAIN}>  ->  {code} {text.decode()}")
        if code != 550:
            fail(f"an unknown recipient got {code}, not 550")
        code, text = s.rcpt("stranger@elsewhere.example")
        say(f"   RCPT TO:<stranger@elsewhere.example>  ->  {code} {text.decode()}")
        if code < 500:
            fail("the relay is open")
    explain_all(demo, {f"nobody@{DOMAIN}": 550, "stranger@elsewhere.example": 550})

    say("\n== 6. What the relay says of itself")
    code, text = demo.ctl("status")
    if code != 0:
        fail(f"status: {text}")
    say("\n".join("   | " + line for line in text.rstrip().splitlines()))
    status = json.loads(demo.ctl("--json", "status")[1])
    if status["queue"]["messages"] != 0:
        fail("the queue should be empty")


def by_hand(demo):
    ctl = f"{os.path.relpath(demo.build)}/causewayctl --socket {demo.socket}"
    say(f'''
== 7. Now by hand. The relay keeps running; Ctrl-C ends it and removes {demo.dir}

   send       swaks --server 127.0.0.1:{demo.port} --from you@partner.example --to bert@{DOMAIN}
   look       ls -l {demo.dir}/forest-*        less {demo.dir}/causewayd.log
   ask why    {ctl} explain bert@{DOMAIN}
   flip       edit extensionAttribute1 in {demo.ldif}
              or: {ctl} set bert@{DOMAIN} new      (undo: unset bert@{DOMAIN})
   hold mail  kill a forest's sink, send, then: {ctl} queue
   settings   {demo.conf}      (check: {os.path.relpath(demo.build)}/causewayd --check FILE)
''')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        demo.daemon.wait()
        fail("causewayd ended by itself")
    except KeyboardInterrupt:
        say()


def main():
    once = "--once" in sys.argv[2:]
    demo = Demo(sys.argv[1])
    ok = False
    try:
        story(demo)
        if once:
            say("\nEvery step was seen to be right.")
        else:
            by_hand(demo)
        ok = True
    finally:
        demo.stop(keep=not ok)
        if not ok:
            say(f"   (kept for you to look at: {demo.dir})")


main()
