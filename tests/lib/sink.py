"""A next hop that does what the test says: keeps messages, refuses, hangs, trickles, talks nonsense, closes.

`script` is a function (stage, detail, session) -> action, called at each stage of a session: "banner", "EHLO",
"HELO", "MAIL", "RCPT", "DATA", "content", "dot", "RSET", "QUIT". Actions: None (behave), a string or bytes (say this
instead), HANG (say nothing more), CLOSE, ("trickle", text) one octet at a time, ("then_close", text).
The stage "dot" comes after the message was kept, "content" before it; a 2xx at the dot is what counts as accepted.
"""
import re
import socket
import threading
import time

from wait import free_port

HANG = object()
CLOSE = object()


class Kept:
    def __init__(self, sender, rcpts, data, session):
        self.sender, self.rcpts, self.data, self.session = sender, rcpts, data, session
        self.at = time.monotonic()
        m = re.search(rb"^X-Key: (\S+)", data, re.M)
        self.key = m.group(1).decode() if m else None


class Session:
    def __init__(self, number, peer):
        self.number, self.peer = number, peer
        self.mail = self.rcpts = None
        self.messages = 0
        self.lines = []


class Sink:
    def __init__(self, script=None, extensions=("PIPELINING", "8BITMIME", "SIZE 50000000", "DSN"), port=0,
                 start=True):
        self.script = script or (lambda stage, detail, session: None)
        self.extensions = extensions
        self.port = port
        self.kept = []
        self.sessions = []
        self.lock = threading.Condition()
        self.listener = self.reserved = None
        self.open = set()
        self.stopped = threading.Event()
        self.reading = threading.Event()  # cleared: content is left in the socket
        self.reading.set()
        if start:
            self.start()

    def start(self):
        """Listens; after stop() again, on the same port, which was kept for it meanwhile."""
        self.stopped.clear()
        if self.reserved is None:
            self.port = self.port or free_port()
            self.reserved = self.bound()
        self.listener, self.reserved = self.reserved, None
        self.listener.listen(128)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def bound(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", self.port))
        return s

    def stop(self):
        """Refuses connections and cuts the open ones."""
        self.stopped.set()
        if self.listener:
            self.reserved = self.bound()
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None
        with self.lock:
            for s in list(self.open):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    # ---- what was kept ----

    def keys(self):
        """[(key, recipient)] of everything answered with 2xx at the dot."""
        with self.lock:
            return [(k.key, r) for k in self.kept for r in k.rcpts]

    def wait(self, n, seconds=30):
        end = time.monotonic() + seconds
        with self.lock:
            while len(self.kept) < n:
                left = end - time.monotonic()
                assert left > 0, f"{len(self.kept)} of {n} messages arrived in {seconds} s"
                self.lock.wait(left)
            return list(self.kept)

    # ---- sessions ----

    def accept(self, listener):
        while True:
            try:
                s, peer = listener.accept()
            except OSError:
                return
            with self.lock:
                session = Session(len(self.sessions), peer)
                self.sessions.append(session)
                self.open.add(s)
            threading.Thread(target=self.serve, args=(s, session), daemon=True).start()

    def serve(self, s, session):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.talk(s, s.makefile("rb"), session)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(s)
            s.close()

    def act(self, s, session, stage, detail, normal):
        """Says the normal reply, or what the script wants. The reply that was said, or None: end."""
        action = self.script(stage, detail, session)
        if action is CLOSE:
            return None
        if action is HANG:
            while s.recv(65536):
                pass
            return None
        if isinstance(action, tuple) and action[0] == "trickle":
            for c in action[1].encode():
                s.sendall(bytes([c]))
                time.sleep(0.05)
            return action[1]
        if isinstance(action, tuple) and action[0] == "then_close":
            s.sendall(action[1].encode())
            return None
        said = normal if action is None else action
        data = said if isinstance(said, bytes) else said.encode()
        if not data.endswith(b"\n"):
            data += b"\r\n"
        s.sendall(data)
        return data.decode("latin-1")

    def talk(self, s, f, session):
        if self.act(s, session, "banner", None, "220 sink.test ESMTP") is None:
            return
        while True:
            line = f.readline()
            if not line:
                return
            text = line.decode("latin-1").rstrip("\r\n")
            session.lines.append(text)
            verb = text.split(" ")[0].split(":")[0].upper()
            if not self.command(s, f, session, verb, text):
                return

    def command(self, s, f, session, verb, text):
        if verb == "EHLO":
            lines = ["sink.test", *self.extensions]
            normal = "".join(f"250-{x}\r\n" for x in lines[:-1]) + f"250 {lines[-1]}\r\n"
            return self.act(s, session, verb, text, normal) is not None
        if verb in ("MAIL", "RCPT"):
            in_order = verb == "MAIL" or session.rcpts is not None
            said = self.act(s, session, verb, text, "250 2.1.0 Ok" if in_order else "503 5.5.1 MAIL first")
            address = re.search(r"<(.*?)>", text)
            if said and said.startswith("2") and in_order:
                if verb == "MAIL":
                    session.mail, session.rcpts = address.group(1), []
                else:
                    session.rcpts.append(address.group(1))
            return said is not None
        if verb == "DATA":
            normal = "354 go ahead" if session.rcpts else "503 5.5.1 no recipients"
            said = self.act(s, session, verb, text, normal)
            if said and said.startswith("354"):
                return self.take(s, f, session)
            return said is not None
        if verb == "QUIT":
            self.act(s, session, verb, text, "221 2.0.0 bye")
            return False
        if verb == "RSET":
            session.mail = session.rcpts = None
        return self.act(s, session, verb, text, "250 2.0.0 Ok") is not None

    def take(self, s, f, session):
        lines = []
        self.reading.wait()
        while True:
            line = f.readline()
            if not line:
                return False
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        kept = Kept(session.mail, session.rcpts or [], b"".join(lines), session)
        session.mail = session.rcpts = None
        if self.stopped.is_set():
            return False
        # Keep first, then answer: as a next hop that syncs before its 250.
        action = self.script("content", kept, session)
        if action is not None:
            return self.refuse(s, action)
        with self.lock:
            self.kept.append(kept)
            self.lock.notify_all()
        session.messages += 1
        return self.act(s, session, "dot", kept, "250 2.0.0 kept") is not None

    @staticmethod
    def refuse(s, action):
        """An action at "content": the message is not kept, whatever is said."""
        if action is CLOSE:
            return False
        if action is HANG:
            while s.recv(65536):
                pass
            return False
        data = action if isinstance(action, bytes) else action.encode()
        s.sendall(data if data.endswith(b"\n") else data + b"\r\n")
        return True
