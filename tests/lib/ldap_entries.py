"""What a scripted LDAP server (ldap_server.py) has in it: objects with the bookkeeping of Active Directory. Each change
gets the next update sequence number (USN); an object remembers which USN last changed each of its attributes."""
import threading
import uuid

import ber

BASE = "DC=scripted,DC=test"
AND, OR, NOT, EQUAL, SUBSTRINGS, AT_LEAST, AT_MOST, PRESENT, RULE = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0x87, 0xA9


def octet_list(values):
    return [v.encode() if isinstance(v, str) else v for v in (values if isinstance(values, list) else [values])]


class Entry:
    def __init__(self, dn, values, usn):
        self.dn = dn
        self.guid = uuid.uuid4().bytes
        self.values = {}  # attribute in lower case -> (attribute, [octets])
        self.changed = {}  # attribute in lower case -> USN
        self.created = self.usn = usn
        self.deleted = False
        self.set(values, usn)

    def set(self, values, usn):
        for name, value in values.items():
            self.values.pop(name.lower(), None)
            if value is not None:
                self.values[name.lower()] = (name, octet_list(value))
            self.changed[name.lower()] = self.usn = usn

    def get(self, name):
        name = name.lower()
        computed = {"objectguid": self.guid, "usnchanged": str(self.usn).encode(), "instancetype": b"4"}
        if name in computed:
            return [computed[name]]
        return self.values.get(name, (name, []))[1]

    def matches(self, node):
        """node: (tag, content) of a search filter."""
        tag, content = node
        if tag in (AND, OR):
            return (all if tag == AND else any)(self.matches(n) for n in ber.items(content))
        if tag == NOT:
            return not self.matches(ber.items(content)[0])
        if tag == PRESENT:
            return content.lower() == b"objectclass" or bool(self.get(content.decode()))
        if tag in (SUBSTRINGS, RULE):
            return True
        name, value = (c for _, c in ber.items(content))
        found = self.get(name.decode())
        if name.lower() == b"objectguid":
            return value == self.guid
        if tag == EQUAL:
            return value.lower() in [v.lower() for v in found]
        return any((int(v) >= int(value)) if tag == AT_LEAST else (int(v) <= int(value)) for v in found)


class Entries:
    """The objects in the order of their creation. `changed` is notified at each change."""

    def __init__(self):
        self.base = BASE
        self.invocation = uuid.uuid4().bytes
        self.usn = 1000
        self.all = []
        self.changed = threading.Condition()

    def dn(self, name):
        return f"CN={name},OU=Staff,{self.base}"

    def find(self, name):
        return next(e for e in self.all if e.dn == self.dn(name) and not e.deleted)

    def _change(self, change):
        with self.changed:
            self.usn += 1
            change(self.usn)
            self.changed.notify_all()

    def add(self, name, **values):
        given = {"objectClass": ["top", "person", "user"], "cn": name, "name": name, "mail": f"{name}@x.test",
                 "proxyAddresses": f"SMTP:{name}@x.test", **values}
        self._change(lambda usn: self.all.append(Entry(self.dn(name), given, usn)))

    def modify(self, name, **values):
        entry = self.find(name)
        self._change(lambda usn: entry.set(values, usn))

    def rename(self, name, new):
        entry = self.find(name)

        def change(usn):
            entry.dn = self.dn(new)
            entry.set({"name": new, "cn": new}, usn)
        self._change(change)

    def delete(self, name):
        """Leaves a tombstone, with what AD keeps of an object."""
        entry = self.find(name)

        def change(usn):
            gone = [n for n, _ in entry.values.values() if n.lower() != "objectclass"]
            entry.deleted = True
            entry.dn = f"CN={name}\\0ADEL:{uuid.UUID(bytes_le=entry.guid)},CN=Deleted Objects,{self.base}"
            entry.set({**dict.fromkeys(gone), "isDeleted": "TRUE"}, usn)
        self._change(change)

    def people(self, n, first=0):
        for i in range(first, first + n):
            self.add(f"u{i:04d}")
        return self
