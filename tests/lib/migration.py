"""Two Exchange organisations, "old" and "new", in the middle of a migration: recipients in every healthy state, and the
faults that `causewayctl doctor` looks for, each to be planted once. Objects are attributes under Active Directory's
names; forests.py puts them into real directories.

Everybody has NAME@example.test, which both share, and NAME@old.test or NAME@new.test where the mailbox is.
"""
from relay import DOMAIN

SHARED, ROOM, EQUIPMENT, CONTACT, MAIL_USER, GROUP, REMOTE = "4", "16", "32", "64", "128", "256", "2147483648"
GUID = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"


def legacy(forest, name):
    return f"/o={forest}/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn={name}"


def recipient(forest, name, kind, details, **more):
    """`more` replaces attributes; x500: addresses beside the SMTP ones; None: without the attribute."""
    x500 = [f"X500:{x}" for x in more.pop("x500", [])]
    given = {"mail": f"{name}@{DOMAIN}", "mailNickname": name, "displayName": name,
             "proxyAddresses": [f"SMTP:{name}@{DOMAIN}", f"smtp:{name}@{forest}.test"] + x500,
             "legacyExchangeDN": legacy(forest, name), "msExchRecipientTypeDetails": details, "kind": kind}
    return {k: v for k, v in {**given, **more}.items() if v is not None}


def mailbox(forest, name, details="1", **more):
    return recipient(forest, name, "user", details, homeMDB=True, **more)


def mail_user(forest, name, to, details=MAIL_USER, **more):
    return recipient(forest, name, "user", details, targetAddress=f"SMTP:{to}" if to else None, **more)


def contact(forest, name, to, **more):
    return recipient(forest, name, "contact", CONTACT, targetAddress=f"SMTP:{to}", **more)


def group(forest, name, **more):
    return recipient(forest, name, "group", GROUP, **more)


# ---- the healthy states: name -> (the object in old, the object in new) ----

def prepared(n):
    """As Prepare-MoveRequest leaves it: each side has the other's X.500 address."""
    return (mailbox("old", n, x500=[legacy("new", n)]),
            mail_user("new", n, f"{n}@old.test", x500=[legacy("old", n)], msExchMailboxGuid=GUID))


def moved(n, details="1", left=MAIL_USER):
    return (mail_user("old", n, f"{n}@new.test", left, x500=[legacy("new", n)]),
            mailbox("new", n, details, x500=[legacy("old", n)]))


HEALTHY = {
    "stays": lambda n: (mailbox("old", n), None),
    "prepared": prepared,
    "moved": moved,
    "remote": lambda n: moved(n, left=REMOTE),
    "hired": lambda n: (contact("old", n, f"{n}@new.test"), mailbox("new", n)),
    "shared": lambda n: (mailbox("old", n, SHARED), None),
    "shared-moved": lambda n: moved(n, SHARED),
    "room": lambda n: (mailbox("old", n, ROOM), contact("new", n, f"{n}@old.test")),
    "equipment-moved": lambda n: moved(n, EQUIPMENT),
    "group": lambda n: (group("old", n), contact("new", n, f"{n}@old.test")),
    "group-moved": lambda n: (None, group("new", n)),
    "consultant": lambda n: (mail_user("old", n, f"{n}@else.where"), mail_user("new", n, f"{n}@else.where")),
    "partner": lambda n: tuple(contact(f, n, f"{n}@else.where", mail=f"{n}@else.where",
                                       proxyAddresses=[f"SMTP:{n}@else.where"]) for f in ("old", "new")),
    # the flag decides between two mailboxes, as tools do that copy mail before the move
    "copied": lambda n: (mailbox("old", n, extensionAttribute1="source"), mailbox("new", n)),
    "copied-moved": lambda n: (mailbox("old", n, extensionAttribute1="target"), mailbox("new", n)),
}


def healthy(each):
    """{"old": {name: attributes}, "new": ...}: `each` recipients of every state."""
    forests = {"old": {}, "new": {}}
    for state, make in HEALTHY.items():
        for i in range(each):
            plant(forests, f"{state}-{i}", make(f"{state}-{i}"))
    return forests


def plant(forests, name, objects):
    for forest, attributes in zip(("old", "new"), objects):
        if attributes is not None:
            forests[forest][name] = attributes


# ---- the faults: name -> (objects, the forest whose object is named) ----

FAULTS = {
    "two-mailboxes": (lambda n: (mailbox("old", n), mailbox("new", n)), "old"),
    "flags-disagree": (lambda n: (mailbox("old", n, extensionAttribute1="source"),
                                  mailbox("new", n, extensionAttribute1="target")), "old"),
    "no-mailbox": (lambda n: (moved(n)[0], {**moved(n)[1], "targetAddress": f"SMTP:{n}@old.test"}), "old"),
    "missing-target": (lambda n: ({k: v for k, v in moved(n)[0].items() if k != "targetAddress"}, moved(n)[1]), "old"),
    "wrong-target": (lambda n: ({**moved(n)[0], "targetAddress": f"SMTP:{n}x@new.test"}, moved(n)[1]), "old"),
    "target-loop": (lambda n: ({**moved(n)[0], "targetAddress": f"SMTP:{n}@{DOMAIN}"}, moved(n)[1]), "old"),
    "flag-unknown": (lambda n: (mailbox("old", n, extensionAttribute1="taregt"), None), "old"),
    "flag-contradicts": (lambda n: ({**prepared(n)[0], "extensionAttribute1": "target"}, prepared(n)[1]), "old"),
    "no-routing-address": (lambda n: (mailbox("old", n, proxyAddresses=[f"SMTP:{n}@{DOMAIN}"]), None), "old"),
    "x500-lost": (lambda n: (moved(n)[0], mailbox("new", n)), "new"),
    "auth-only-group": (lambda n: (group("old", n, msExchRequireAuthToSendTo="TRUE"), None), "old"),
}


def two_objects(forests):
    """Faults between two objects of one directory: {check: (forest, name of the object that is named or either)}."""
    plant(forests, "twin-a", (mailbox("old", "twin-a"), None))
    twin = mailbox("old", "twin-b")
    twin["proxyAddresses"].append(f"smtp:twin-a@{DOMAIN}")
    plant(forests, "twin-b", (twin, None))
    plant(forests, "shadowed", prepared("shadowed"))
    plant(forests, "shadow", (None, contact("new", "shadow", "shadowed@old.test",
                                            proxyAddresses=[f"SMTP:shadowed@{DOMAIN}"])))
    return {"duplicate-address": ("old", ("twin-a", "twin-b")), "contact-shadow": ("new", ("shadow",))}
