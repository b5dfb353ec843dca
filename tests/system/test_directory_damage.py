"""What the relay keeps of a directory on disk, damaged while it was down: it says which file, what is wrong with it and
what happens next, believes nothing of it, and has everything again from the source."""
import os
import re
import struct

import pytest

from client import Client
from relay import DOMAIN

PEOPLE = 5000  # enough for a snapshot; fewer are kept in the journal alone


def cut(data):
    return data[:len(data) // 2]


def flip_header(data):
    return data[:200] + bytes([data[200] ^ 4]) + data[201:]


def flip_entries(data):
    at = len(data) * 3 // 4
    return data[:at] + bytes([data[at] ^ 64]) + data[at + 1:]


def other_version(data):
    return data[:8] + struct.pack("=I", 99) + data[12:]


def other_byte_order(data):
    return data[:8] + data[8:12][::-1] + data[12:16][::-1] + data[16:]


def nothing(data):
    return b""


DAMAGE = [(cut, "cut short"), (flip_header, "header"), (flip_entries, "is damaged"),
          (other_version, "format version 99; this program reads version"), (other_byte_order, "byte order"),
          (nothing, "cut short")]


def refusals(relay, since):
    """The relay's words about damaged files since this place in its log."""
    return [x for x in relay.log()[since:].split("\n") if re.search(r"directory-(snapshot|journal)-(refused|cut)", x)]


def answer(relay, local):
    with Client(relay.port) as c:
        c.cmd("EHLO client.test")
        c.cmd("MAIL FROM:<s@sender.test>")
        return c.cmd(f"RCPT TO:<{local}@{DOMAIN}>")[0]


@pytest.fixture
def world(relay, sinks):
    people = {f"p{i}": "A" if i % 2 else "B" for i in range(PEOPLE)}
    r = relay(forests={"A": [sinks().port], "B": [sinks().port]}, people=people).start()
    assert answer(r, "p7") == 250
    assert r.terminate() == 0
    return r


def check_is_whole(relay):
    assert answer(relay, "p7") == 250
    assert relay.goes_to("p7") == "forest:A" and relay.goes_to("p8") == "forest:B"
    assert answer(relay, "nobody") == 550
    assert relay.ask("directory.status")["items"][0]["entries"] == PEOPLE


def test_damaged_snapshot(world):
    path = os.path.join(world.dir, "state", "directory-people.snapshot")
    for damage, word in DAMAGE:
        with open(path, "rb") as f:
            good = f.read()
        with open(path, "wb") as f:
            f.write(damage(good))
        since = len(world.log())
        world.start()
        said = refusals(world, since)
        assert len(said) == 1, (damage, said)
        assert f"file={path}" in said[0] and word in said[0] and "read from the source again" in said[0], said
        check_is_whole(world)
        assert world.terminate() == 0
        since = len(world.log())
        world.start()
        assert not refusals(world, since), damage
        check_is_whole(world)
        assert world.terminate() == 0


def test_damaged_journal(world):
    path = os.path.join(world.dir, "state", "directory-people.journal")
    world.start()
    world.flip("p7", "B")
    assert world.terminate() == 0
    with open(path, "rb") as f:
        good = f.read()
    assert len(good) > 100
    for bad, word in [(good[:60] + b"!" + good[61:], "journal-cut"), (good[:-5], "journal-cut"),
                      (b"?" + good[1:], "journal-refused")]:
        with open(path, "wb") as f:
            f.write(bad)
        since = len(world.log())
        world.start()
        said = refusals(world, since)
        assert len(said) == 1 and word in said[0] and f"file={path}" in said[0], (word, said)
        assert "asked again" in said[0], said
        assert world.goes_to("p7") == "forest:B"
        assert answer(world, "nobody") == 550
        assert world.terminate() == 0
