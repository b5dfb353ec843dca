"""The directory of one forest, by its kind: an LDIF file, a slapd, or a Samba domain controller. All take the objects of
migration.py, and changes as LDIF change records, which is how the doctor proposes them."""
import base64
import os

from samba_dc import Samba
from slapd import BASE, Slapd


def encoded(name, value):
    if isinstance(value, bytes):
        return f"{name}:: {base64.b64encode(value).decode()}\n"
    return f"{name}: {value}\n"


def lines(attributes):
    return "".join(encoded(name, v) for name, value in attributes.items()
                   for v in (value if isinstance(value, list) else [value]))


class Forest:
    """`objects`: {name: attributes}. `options`: more lines for the source's section."""

    def __init__(self, name, priority):
        self.name, self.priority = name, priority

    def section(self, options):
        return (f'source "{self.name}" {{\n    forest = "{self.name}"\n    priority = {self.priority}\n'
                '    flag_attribute = "extensionAttribute1"\n'
                '    flag_values = { "source = old", "target = new" }\n    mass_change_percent = 100\n' + options + "}\n")

    def record(self, name, attributes):
        """The attributes as this kind of directory has them, and their object classes."""
        mdb = {"homeMDB": self.database} if "homeMDB" in attributes else {}
        return {"objectClass": self.classes(attributes["kind"]), **self.naming(name, attributes["kind"]),
                **{k: v for k, v in attributes.items() if k != "kind"}, **mdb}

    def add(self, name, attributes):
        self.change(f"dn: {self.dn(name)}\nchangetype: add\n" + lines(self.record(name, attributes)))

    def delete(self, name):
        self.change(f"dn: {self.dn(name)}\nchangetype: delete\n")

    def stop(self):
        pass


class LdifForest(Forest):
    database = "CN=Database 1,DC=example"

    def __init__(self, folder, name, priority, objects):
        super().__init__(name, priority)
        self.path = folder / f"{name}.ldif"
        self.entries = {self.dn(n): self.record(n, a) for n, a in objects.items()}
        self.write()

    def classes(self, kind):
        return ["top", kind]

    def naming(self, name, kind):
        return {"cn": name}

    def dn(self, name):
        return f"CN={name},OU=Staff,DC={self.name},DC=test"

    def source(self):
        return self.section(f'    type = ldif\n    path = "{self.path}"\n')

    def write(self):
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"dn: {dn}\n{lines(a)}\n" for dn, a in self.entries.items()))
        os.rename(new, self.path)

    def change(self, text):
        """A change record as doctor writes them: add or delete of an object, or one attribute modified."""
        fields = []
        for line in text.strip().splitlines():
            name, _, value = line.partition(":")
            fields.append((name, base64.b64decode(value[1:]).decode() if value[:1] == ":" else value.strip()))
        (_, dn), (_, change) = fields[:2]
        if change == "delete":
            del self.entries[dn]
        elif change == "add":
            self.entries[dn] = {}
            for name, value in fields[2:]:
                self.entries[dn].setdefault(name, []).append(value)
        else:
            (verb, name), values = fields[2], [v for k, v in fields[3:] if k != "-"]
            has = self.entries[dn].get(name, [])
            has = has if isinstance(has, list) else [has]
            if verb == "add":
                has = has + values
            elif values and verb == "delete":
                assert any(v.lower() in (h.lower() for h in has) for v in values), f"{dn} has no {name}: {values}"
                has = [h for h in has if h.lower() not in (v.lower() for v in values)]
            else:
                has = values
            self.entries[dn][name] = has
        self.write()


class SlapdForest(Forest):
    database = f"cn=Database 1,{BASE}"

    def __init__(self, folder, name, priority, objects):
        super().__init__(name, priority)
        self.folder = folder / name
        people = "".join(f"dn: {self.dn(n)}\n{lines(self.record(n, a))}\n" for n, a in objects.items())
        self.slapd = Slapd(self.folder, people).start()

    def classes(self, kind):
        return ["inetOrgPerson", "mailRecipient"]

    def naming(self, name, kind):
        return {"uid": name, "cn": name, "sn": name}

    def dn(self, name):
        return f"uid={name},ou=people,{BASE}"

    def source(self):
        return self.section(f'    type = openldap\n    uri = {{ "{self.slapd.uri}" }}\n    tls = none\n'
                            f'    bind_dn = "cn=sync,{BASE}"\n    password_file = "{self.folder}/password"\n'
                            f'    base = "{BASE}"\n    filter = "(objectClass=mailRecipient)"\n')

    def change(self, text):
        self.slapd.change(text)

    def stop(self):
        self.slapd.stop()


class SambaForest(Forest):
    def __init__(self, folder, name, priority, objects, domain):
        super().__init__(name, priority)
        self.dc = Samba(folder / name, domain)
        self.database = self.dc.database
        self.dc.change("".join(f"dn: {self.dn(n)}\nchangetype: add\n{lines(self.record(n, a))}\n"
                               for n, a in objects.items()))
        self.dc.start()

    def classes(self, kind):
        return kind

    def naming(self, name, kind):
        return {} if kind == "contact" else {"sAMAccountName": name}

    def dn(self, name):
        return self.dc.dn(name)

    def source(self):
        return self.section(f'    type = active-directory\n    uri = {{ "{self.dc.uri}" }}\n    tls = none\n'
                            f'    bind_dn = "{self.dc.account()}"\n    password_file = "{self.dc.password}"\n'
                            f'    base = "{self.dc.base}"\n')

    def change(self, text):
        self.dc.change(text)

    def stop(self):
        self.dc.stop()
