"""The directory by itself: drives tests/system/dirwatch."""
import os
import queue
import subprocess
import threading
import time

import wait


HEAD = """\
listener "i" { address = "127.0.0.1:0" }
forest "old" { host "127.0.0.1" {} }
forest "new" { host "127.0.0.1" {} }
domain "x.test" {}
"""
# Libraries leak, a little for each connection: libldap our own certificate, and the request that a broken message
# answers; the Kerberos module of SASL what it has from the key table.
LIBRARIES_LEAK = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def source(name, **options):
    """A source section; a value is a text or a list of texts."""
    def value(v):
        return "{ " + ", ".join(f'"{x}"' for x in v) + " }" if isinstance(v, list) else f'"{v}"'
    return f'source "{name}" {{\n' + "".join(f"    {k} = {value(v)}\n" for k, v in options.items()) + "}\n"


class Dirwatch:
    def __init__(self, conf, state, env=None):
        build = os.environ.get("CAUSEWAY_BUILD", ".")
        state.mkdir(exist_ok=True)
        self.log = open(state.parent / "dirwatch.log", "ab")
        self.process = subprocess.Popen([os.path.join(build, "tests/system/dirwatch"), conf, state],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, **(env or {})})
        self.answers = queue.Queue()
        self.states, self.errors, self.changes = {}, {}, []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            field = line.rstrip("\n").split("\t")
            if field[0] == "change":
                self.changes.append((time.monotonic(), int(field[2]), field[3] == "1"))
            elif field[0] == "source":
                self.states[field[1]] = field[2:6]
                self.errors.setdefault(field[1], []).extend([field[6], field[8]])
            else:
                self.answers.put(field)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answers.get(timeout=wait.PATIENCE)

    def said(self):
        """The states, and each error once."""
        return self.states, {name: list(dict.fromkeys(errors)) for name, errors in self.errors.items()}

    def lookup(self, key):
        """(found, forest, evidence, routing, claims, why)"""
        return self.ask("lookup " + key)[1:]

    def place(self, key):
        """"found old", "not-found ", ..."""
        return " ".join(self.lookup(key)[:2]).strip()

    def until(self, key, place):
        wait.until(lambda: f"{key} to be {place}, not {self.place(key)}; {self.said()}",
                   lambda: self.place(key) == place)

    def until_state(self, source, state):
        wait.until(lambda: f"{source} to be {state}: {self.said()}",
                   lambda: self.states.get(source, [""])[0] == state)

    def until_error(self, source, words):
        """An error, or a notice of what works but should be mended."""
        wait.until(lambda: f"{words!r} in {self.said()}",
                   lambda: any(words in e for e in self.errors.get(source, [])))

    def status(self, source):
        """[state, entries, addresses, complete]"""
        self.ask("status")
        return self.states[source]

    def until_entries(self, source, n):
        wait.until(lambda: f"{source} to have {n} entries: {self.status(source)} {self.said()}",
                   lambda: self.status(source)[1] == str(n))

    def stop(self):
        """Asks it to end; the time that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(wait.PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()
        assert self.process.returncode == 0, f"dirwatch ended with {self.process.returncode}"
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
