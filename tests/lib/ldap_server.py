"""An LDAP server that does what the test says. By itself it behaves like a domain controller of Active Directory (root
DSE, paged results, ranged values, DirSync in rounds, change notification) and like OpenLDAP with syncprov (RFC 4533).

`script` is a function (stage, search, session) -> action, called at the stages "bind" and "extended" (search is None),
"search" (before it begins), "entry" (before each entry; search.sent were sent) and "done" (before the result; a search
that goes on in pages or rounds has search.page, from 1). Actions: None (behave), a result code (ends the search),
bytes (send these and close), BARE (no response controls), HANG (say nothing more on this connection), CLOSE.
"""
import socket
import threading
import uuid

import ber
from ldap_entries import PRESENT
from wait import free_port

HANG, CLOSE, BARE = object(), object(), object()

DIRSYNC, DELETED, NOTIFY = "1.2.840.113556.1.4.841", "1.2.840.113556.1.4.417", "1.2.840.113556.1.4.528"
PAGED, SYNC = "1.2.840.113556.1.4.319", "1.3.6.1.4.1.4203.1.9.1.1"
SYNC_STATE, SYNC_INFO = "1.3.6.1.4.1.4203.1.9.1.2", "1.3.6.1.4.1.4203.1.9.1.4"

SUCCESS, OPERATIONS_ERROR, TIME_LIMIT, SIZE_LIMIT, ADMIN_LIMIT, UNAVAILABLE_EXTENSION = 0, 1, 3, 4, 11, 12
NO_SUCH_OBJECT, INVALID_CREDENTIALS, INSUFFICIENT_ACCESS, BUSY, UNAVAILABLE, UNWILLING = 32, 49, 50, 51, 52, 53
REFRESH_REQUIRED = 4096

ENTRY, DONE, INTERMEDIATE = 0x64, 0x65, 0x79


class Gone(Exception):
    """The connection is over, or was told to hang."""


class Search:
    def __init__(self, number, content, controls):
        base, scope, _, _, _, _, self.filter, attributes = ber.items(content)
        self.number, self.base, self.scope = number, base[1].decode(), ber.number(scope[1])
        self.attributes = [a.decode() for _, a in ber.items(attributes[1])]
        self.controls = controls
        self.sent, self.page = 0, 1
        self.abandoned = False
        self.kind = "search" if self.scope else "object" if self.base else "root"
        for oid, kind in ((DIRSYNC, "dirsync"), (NOTIFY, "notify"), (SYNC, "sync")):
            if oid in controls:
                self.kind = kind
        # Of all these controls the cookie is the only string.
        value = controls.get({"dirsync": DIRSYNC, "sync": SYNC}.get(self.kind, PAGED))
        parts = ber.items(ber.items(value)[0][1]) if value else []
        self.cookie = next((c for tag, c in parts if tag == 0x04), b"")
        self.number_wanted = ber.number(parts[0][1]) if parts and self.kind == "search" else 0
        self.flags = ber.number(parts[0][1]) if parts and self.kind == "dirsync" else 0
        if self.kind == "dirsync" and self.cookie.startswith(b"MSDS"):
            self.page = int(self.cookie[20:].split(b".")[2])
        elif self.kind == "search" and self.cookie:
            self.page = int(self.cookie.split(b".")[1])

    def begins(self):
        """Not the next page or round of one that was begun before."""
        return self.page == 1

    def wants(self, name):
        names = {a.split(";")[0].lower() for a in self.attributes}
        return not names or "*" in names or name.lower() in names


class Session:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.lock = threading.Lock()
        self.hung = threading.Event()
        self.searches = {}
        self.bound = None

    def send(self, number, op, *controls):
        self.raw(ber.sequence(ber.integer(number), op, *([ber.sequence(*controls, tag=0xA0)] if controls else [])))

    def raw(self, data):
        with self.lock:
            if self.hung.is_set():
                raise Gone
            try:
                self.sock.sendall(data)
            except OSError:
                raise Gone from None

    def obey(self, action):
        """What stops everything; any other action is returned."""
        if action is HANG:
            self.hung.set()
            raise Gone
        if action is CLOSE or isinstance(action, bytes):
            self.raw(b"" if action is CLOSE else action)
            self.close()
            raise Gone
        return action

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def control(oid, value):
    return ber.sequence(ber.octets(oid), ber.octets(value))


def result(tag, code, text=""):
    return ber.sequence(ber.enumerated(code), ber.octets(""), ber.octets(text), tag=tag)


class LdapServer:
    """Serves `entries` (ldap_entries.py). page_max: entries in an answer without paging, and in a page; values_max: of
    one attribute; round_max: entries in one answer to DirSync. `deleted`: whether clients may see what was deleted; DirSync without OBJECT_SECURITY
    shows it in any case."""

    def __init__(self, entries, script=None, page_max=1000, values_max=1500, round_max=1000, deleted=True,
                 host="127.0.0.1", port=None):
        self.entries = entries
        self.script = script or (lambda stage, search, session: None)
        self.page_max, self.values_max, self.round_max, self.deleted = page_max, values_max, round_max, deleted
        self.synchronized = True
        self.hides = lambda entry: False  # entries that are not told of
        self.host, self.port = host, port or free_port()
        self.asked = []  # every Search
        self.binds = []  # (DN, password)
        self.sessions = []
        self.listener = None

    @property
    def uri(self):
        return f"ldap://{self.host}:{self.port}"

    def count(self, kind):
        return sum(s.kind == kind for s in list(self.asked))

    # ---- life ----

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """Refuses connections and cuts the open ones."""
        if self.listener is not None:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None
        self.cut()

    def cut(self):
        for session in list(self.sessions):
            session.close()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, sock)
            self.sessions.append(session)
            threading.Thread(target=self.serve, args=(session,), daemon=True).start()

    # ---- requests ----

    def serve(self, session):
        try:
            with session.sock.makefile("rb") as stream:
                while (message := ber.read_message(stream)) is not None:
                    self.request(session, message)
        except (Gone, OSError):
            if session.hung.is_set():
                return  # the peer finds out by itself
        for search in session.searches.values():
            search.abandoned = True
        with self.entries.changed:
            self.entries.changed.notify_all()
        self.sessions.remove(session)
        session.sock.close()

    def request(self, session, message):
        (_, number), (tag, content), *more = ber.items(message)
        number = ber.number(number)
        if tag == 0x60:
            self.bind(session, number, content)
        elif tag == 0x42:
            raise Gone
        elif tag == 0x50:
            if (search := session.searches.get(ber.number(content))) is not None:
                search.abandoned = True
        elif tag == 0x63:
            search = Search(number, content, controls_of(more))
            session.searches[number] = search
            self.asked.append(search)
            threading.Thread(target=self.search, args=(session, search), daemon=True).start()
        else:
            session.obey(self.script("extended", None, session))
            session.send(number, result(0x78 if tag == 0x77 else tag + 1, UNWILLING, "not here"))

    def bind(self, session, number, content):
        _, (_, dn), (kind, credentials) = ber.items(content)
        self.binds.append((dn.decode(), credentials.decode() if kind == 0x80 else None))
        action = session.obey(self.script("bind", None, session))
        session.send(number, result(0x61, action or SUCCESS))

    def search(self, session, search):
        try:
            action = session.obey(self.script("search", search, session))
            if action is not None:
                session.send(search.number, result(DONE, action, "as the script says"))
                return
            getattr(self, "search_" + search.kind)(session, search)
        except Gone:
            pass

    # ---- answers ----

    def entry(self, session, search, dn, values, *controls):
        """False: the search has ended with an error."""
        action = session.obey(self.script("entry", search, session))
        if action is not None:
            session.send(search.number, result(DONE, action, "as the script says"))
            return False
        search.sent += 1
        attributes = [ber.sequence(ber.octets(name), ber.sequence(*map(ber.octets, v), tag=0x31)) for name, v in values]
        session.send(search.number, ber.sequence(ber.octets(dn), ber.sequence(*attributes), tag=ENTRY), *controls)
        return True

    def done(self, session, search, code, *controls):
        action = session.obey(self.script("done", search, session))
        if action is BARE:
            action, controls = None, ()
        session.send(search.number, result(DONE, code if action is None else action), *([] if action else controls))

    def ranged(self, name, values, search):
        """An attribute as it is sent: whole, or the part of it that was asked for ("name;range=1500-*")."""
        first = 0
        for asked in search.attributes:
            if asked.lower().startswith(name.lower() + ";range="):
                first = int(asked.split("=")[1].split("-")[0])
        part = values[first:first + self.values_max]
        if first == 0 and len(part) == len(values):
            return name, values
        last = "*" if first + len(part) == len(values) else first + len(part) - 1
        return f"{name};range={first}-{last}", part

    def values(self, entry, search, since=0):
        """The attributes that were asked for. With `since`: only what changed, what was removed without values."""
        found = [("objectGUID", [entry.guid]), ("instanceType", [b"4"])]
        if search.kind == "search" and search.wants("uSNChanged"):
            found.append(("uSNChanged", entry.get("uSNChanged")))
        for lower, usn in entry.changed.items():
            name, values = entry.values.get(lower, (lower, []))
            if search.wants(name) and usn > since and (values or since):
                found.append(self.ranged(name, values, search))
        return found

    def root(self):
        base = self.entries.base
        return [("namingContexts", [base]), ("defaultNamingContext", [base]), ("rootDomainNamingContext", [base]),
                ("configurationNamingContext", [f"CN=Configuration,{base}"]),
                ("dsServiceName", [f"CN=NTDS Settings,CN=DC1,CN=Servers,CN=Site,CN=Sites,CN=Configuration,{base}"]),
                ("isSynchronized", [str(self.synchronized).upper()]), ("supportedLDAPVersion", ["3"]),
                ("highestCommittedUSN", [str(self.entries.usn)]), ("supportedCapabilities", ["1.2.840.113556.1.4.800"]),
                ("supportedControl", [DIRSYNC, DELETED, NOTIFY, PAGED, SYNC])]

    def search_root(self, session, search):
        self.entry(session, search, "", [v for v in self.root() if search.wants(v[0])])
        self.done(session, search, SUCCESS)

    def search_object(self, session, search):
        base, e = search.base.lower(), self.entries
        if base.startswith("cn=ntds settings,"):
            found = [("objectGUID", [uuid.uuid5(uuid.NAMESPACE_DNS, "dc1").bytes]), ("invocationId", [e.invocation])]
            self.entry(session, search, search.base, [v for v in found if search.wants(v[0])])
        elif base == e.base.lower() or ("deleted objects" in base or "18e2ea80" in base) and self.deleted:
            self.entry(session, search, search.base, [("objectGUID", [uuid.uuid5(uuid.NAMESPACE_DNS, base).bytes])])
        else:
            found = [x for x in e.all if base in (x.dn.lower(), f"<guid={x.guid.hex()}>")]
            if not found:
                self.done(session, search, NO_SUCH_OBJECT)
                return
            self.entry(session, search, found[0].dn, self.values(found[0], search))
        self.done(session, search, SUCCESS)

    def found(self, search, since=0):
        deleted = since if search.kind == "sync" else \
            search.kind == "dirsync" and not search.flags or \
            self.deleted and (DELETED in search.controls or search.kind == "dirsync")
        with self.entries.changed:
            return [e for e in self.entries.all if e.usn > since and (deleted or not e.deleted) and
                    e.matches(search.filter) and not self.hides(e)]

    def search_search(self, session, search):
        found, first, size = self.found(search), 0, self.page_max
        if PAGED in search.controls:
            first, size = int(search.cookie.split(b".")[0] or 0), min(search.number_wanted or size, size)
        for e in found[first:first + size]:
            if not self.entry(session, search, e.dn, self.values(e, search)):
                return
        more = first + size < len(found)
        if PAGED not in search.controls:
            self.done(session, search, SIZE_LIMIT if more else SUCCESS)
            return
        cookie = f"{first + size}.{search.page + 1}" if more else ""
        self.done(session, search, SUCCESS, control(PAGED, ber.sequence(ber.integer(0), ber.octets(cookie))))

    def search_dirsync(self, session, search):
        cookie = search.cookie
        if search.base.lower() != self.entries.base.lower():
            self.done(session, search, UNWILLING)
            return
        if cookie and not cookie.startswith(b"MSDS"):
            self.done(session, search, UNAVAILABLE_EXTENSION)
            return
        # A cookie: whose it is, where the rounds began, how far they are, which is next. Of another DC: nothing is
        # missed, all is repeated.
        mine = cookie[4:20] == self.entries.invocation
        since, reached = map(int, cookie[20:].split(b".")[:2]) if mine else (0, 0)
        with self.entries.changed:
            until = self.entries.usn
            found = sorted((e.usn, i, e) for i, e in enumerate(self.found(search, reached)))
        for _, _, e in found[:self.round_max]:
            values = self.values(e, search, since if e.created <= since else 0)
            if len(values) > 2 and not self.entry(session, search, e.dn, values):
                return
        more = len(found) > self.round_max
        if more and self.round_max:
            reached = found[self.round_max - 1][0]
        place = (since, reached, search.page + 1) if more else (until, until, 1)
        cookie = b"MSDS" + self.entries.invocation + b"%d.%d.%d" % place
        self.done(session, search, SUCCESS, control(
            DIRSYNC, ber.sequence(ber.integer(more), ber.integer(0), ber.octets(cookie))))

    def search_notify(self, session, search):
        if search.filter != (PRESENT, b"objectClass"):
            self.done(session, search, UNWILLING)
            return
        for e in self.changes(search, self.entries.usn):
            self.entry(session, search, e.dn, self.values(e, search))

    def changes(self, search, since):
        """Objects as they change after that USN, until the search is abandoned."""
        e = self.entries
        while True:
            with e.changed:
                e.changed.wait_for(lambda: search.abandoned or e.usn > since)
                if search.abandoned:
                    return
                new, since = [x for x in e.all if x.usn > since], e.usn
            yield from sorted(new, key=lambda x: x.usn)

    def search_sync(self, session, search):
        """RFC 4533 refreshAndPersist. Cookies name a USN; what was deleted since then is known (delete phase)."""
        since = int(search.cookie or b"0")
        with self.entries.changed:
            until = self.entries.usn
            found = self.found(search, since)
        for e in found:
            if not self.sync_entry(session, search, e):
                return
        done = ber.sequence(ber.octets(str(until)), tag=0xA1 if since else 0xA2)
        action = session.obey(self.script("done", search, session))
        if action is not None:
            session.send(search.number, result(DONE, action))
            return
        session.send(search.number, ber.sequence(ber.octets(SYNC_INFO, 0x80), ber.octets(done, 0x81), tag=INTERMEDIATE))
        for e in self.changes(search, until):
            if not self.sync_entry(session, search, e, str(e.usn)):
                return

    def sync_entry(self, session, search, e, cookie=None):
        state = ber.sequence(ber.enumerated(3 if e.deleted else 1), ber.octets(e.guid),
                             *([ber.octets(cookie)] if cookie else []))
        values = [] if e.deleted else self.values(e, search)
        return self.entry(session, search, e.dn, values, control(SYNC_STATE, state))


def controls_of(more):
    """{OID: value} of what follows an operation."""
    found = {}
    for _, content in more:
        for _, c in ber.items(content):
            parts = ber.items(c)
            found[parts[0][1].decode()] = parts[-1][1] if len(parts) > 1 and parts[-1][0] == 0x04 else b""
    return found
