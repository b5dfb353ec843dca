"""At a cutover mail does not go the new way while mail for the same mailbox may still arrive the old way, and waits no
longer for it than a tenth of a second."""
import threading
import time

from client import Client, message
from relay import DOMAIN
from sink import HANG
from wait import until

WAITS = "waits-for-the-old-way"
BOUND = 0.1 - 0.002  # clocks of milliseconds


def send(r, local, key):
    with Client(r.port) as c:
        assert c.send("s@sender.test", f"{local}@{DOMAIN}", message(key))[0] == 250


class World:
    """Forest A, whose answer to RCPT for anna is `answer(self)`, and forest B, which anna moves to; bob stays in A."""

    def __init__(self, relay, sinks, answer):
        self.answer = answer
        self.asked = threading.Event()
        self.answered = self.new = None
        self.a, self.b = sinks(script=self.old_forest), sinks(script=self.new_forest)
        self.r = relay(forests={"A": [self.a.port], "B": [self.b.port]}, people={"anna": "A", "bob": "A"})
        self.r.start()

    def old_forest(self, stage, detail, session):
        if stage != "RCPT" or "anna" not in detail:
            return None
        self.asked.set()
        action = self.answer(self)
        self.answered = time.monotonic()
        return action

    def new_forest(self, stage, detail, session):
        if stage == "RCPT" and self.new is None:
            self.new = time.monotonic()

    def move(self):
        """With mail on its way to A."""
        send(self.r, "anna", "old")
        assert self.asked.wait(30)
        self.r.flip("anna", "B")


def test_the_old_reply_comes_first(relay, sinks):
    w = World(relay, sinks, lambda w: until("mail to wait", lambda: WAITS in w.r.log()) and None)
    w.move()
    began = time.monotonic()
    send(w.r, "anna", "new")
    w.b.wait(1)
    w.a.wait(1)
    assert w.new > w.answered or w.new - began >= BOUND  # which it is on a machine that is slow just then
    w.r.wait_empty()
    assert (w.a.keys(), w.b.keys()) == ([("old", f"anna@{DOMAIN}")], [("new", f"anna@{DOMAIN}")])


def test_a_reply_that_never_comes(relay, sinks):
    """Mail for others is not concerned, and once it was waited for that reply, nothing else waits."""
    w = World(relay, sinks, lambda w: HANG)
    w.move()
    began = time.monotonic()
    send(w.r, "anna", "new")
    send(w.r, "bob", "other")
    w.b.wait(1)
    assert w.new - began >= BOUND
    for i in range(5):
        send(w.r, "anna", f"later-{i}")
    w.b.wait(6)
    w.a.wait(1)
    assert w.r.log().count(WAITS) == 1
    assert w.a.keys() == [("other", f"bob@{DOMAIN}")]


def test_the_end_of_the_connection(relay, sinks):
    """Then the old mail follows, too."""
    gone = threading.Event()
    w = World(relay, sinks, lambda w: gone.wait(30) and ("then_close", ""))
    w.move()
    send(w.r, "anna", "new")
    until("mail to wait", lambda: WAITS in w.r.log())
    gone.set()
    w.b.wait(2)
    w.r.wait_empty()
    assert sorted(w.b.keys()) == [("new", f"anna@{DOMAIN}"), ("old", f"anna@{DOMAIN}")] and w.a.keys() == []
