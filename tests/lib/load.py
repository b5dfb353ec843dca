"""Clients that keep sending, and what became of each message."""
import threading
import time
from collections import Counter

from client import Client, message
from relay import DOMAIN
from wait import until

ANNA = f"anna@{DOMAIN}"


class Load:
    """Clients that send until told to stop; a message is accepted when its 250 was read. What else happens to a
    session is noted: a refusal with a code, or a connection that ended without a word."""

    def __init__(self, port, clients=4, pause=0.0):
        self.port, self.pause = port, pause
        self.accepted, self.refused, self.cut, self.no_entry = [], [], [], 0
        self.ending = False
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(clients)]
        for t in self.threads:
            t.start()

    def run(self, number):
        n = 0
        while not self.ending:
            try:
                c = Client(self.port)
            except OSError:
                self.no_entry += 1
                time.sleep(0.05)
                continue
            with c:
                n = self.session(c, number, n)

    def session(self, c, number, n):
        if c.banner[0] != 220 or c.ehlo[0] != 250:
            self.refused.append(c.banner if c.banner[0] != 220 else c.ehlo)
            return n
        while not self.ending:
            key = f"c{number}m{n}"
            n += 1
            code = (0, "reset")
            try:
                code = self.one(c, key)
            except OSError:
                pass
            if code[0] == 250:
                self.accepted.append(key)
            elif code[0] == 0:
                self.cut.append(key)
                return n
            else:
                self.refused.append(code)
                return n
            time.sleep(self.pause)
        return n

    @staticmethod
    def one(c, key):
        for text in ("MAIL FROM:<s@sender.test>", f"RCPT TO:<{ANNA}>", "DATA"):
            code = c.cmd(text)
            if code[0] not in (250, 354):
                return code
        c.raw(message(key) + b".\r\n")
        return c.reply()

    def stop(self):
        self.ending = True
        for t in self.threads:
            t.join(30)
            assert not t.is_alive()


def all_delivered(sink, load, r):
    """Counts how often each accepted message arrived. (After a start the queue fills only as the spool is read.)"""
    until(lambda: f"{sorted(set(load.accepted) - {k for k, _ in sink.keys()})[:5]} to arrive",
          lambda: {k for k, _ in sink.keys()} >= set(load.accepted))
    r.wait_empty()
    return Counter(k for k, _ in sink.keys())
