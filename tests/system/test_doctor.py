"""`causewayctl doctor` on two prepared directories: some hundred recipients in every healthy state of a migration, and
each fault planted once. The doctor finds each, and nothing else; then what it proposes is done, and it finds nothing."""
import json
import socket
import subprocess
import time

import pytest

import exchange_shell
from certificate import certificate
from forests import LdifForest, SambaForest, SlapdForest
from migration import FAULTS, healthy, mail_user, mailbox, plant, prepared, two_objects
from relay import DOMAIN
from wait import until

EACH = 9
ROUTING = {"forest old": ['routing_domain = "old.test"'], "forest new": ['routing_domain = "new.test"']}


def checks(relay):
    return sorted((f["check"], f["source"]) for f in relay.ask("doctor", limit=0)["items"])


def until_read(relay):
    until(lambda: f"the directories to be read: {relay.ask('directory.status')['items']}", relay.is_complete)


class Stage:
    """Two directories of one kind, with the faults in them, and a relay that follows both."""

    def __init__(self, make_relay, make_forest):
        objects = healthy(EACH)
        self.expected = {}  # check -> (source, names of the objects of which one is named)
        for check, (make, forest) in FAULTS.items():
            plant(objects, check, make(check))
            self.expected[check] = (forest, (check,))
        self.expected.update(two_objects(objects))
        plant(objects, "vanished", (mailbox("old", "vanished"), None))
        plant(objects, "override-contradicts", prepared("override-contradicts"))
        plant(objects, "override-unneeded", (mailbox("old", "override-unneeded"), None))
        plant(objects, "override-forest", (mailbox("old", "override-forest"), None))
        self.forests = {name: make_forest(name, i + 1, objects[name]) for i, name in enumerate(("old", "new"))}
        self.relay = make_relay(
            forests={"old": [2], "new": [2], "gone": [2]}, source="".join(f.source() for f in self.forests.values()),
            sections=ROUTING)
        self.relay.start()
        until_read(self.relay)
        self.objects = objects

    def plant_by_hand(self):
        """What is no object: overrides, and one that goes."""
        for name, forest in (("contradicts", "new"), ("unneeded", "old"), ("forest", "gone")):
            self.relay.ask("set", address=f"override-{name}@{DOMAIN}", forest=forest)
            self.expected[f"override-{name}"] = ("", None)
        del self.relay.forests["gone"]
        self.relay.write_conf()
        self.relay.ask("reload")
        self.forests["old"].delete("vanished")
        self.expected["vanished"] = ("old", ("vanished",))

    def findings(self):
        return self.relay.ask("doctor", limit=0)["items"]

    def shown(self):
        """[(check, source, DN, "" or by which override)] as found."""
        return sorted((f["check"], f["source"], f["object"]) for f in self.findings())

    def wanted(self, found):
        """The same as planted; of two objects that are equally at fault, the one that was found."""
        result = []
        for check, (source, names) in self.expected.items():
            dns = [self.forests[source].dn(n) for n in names] if names else [""]
            named = [dn for c, _, dn in found if c == check and dn in dns]
            result.append((check, source, (named + dns)[0]))
        return sorted(result)

    def mend(self, finding, with_exchange):
        """Does the first thing that is proposed and needs no person; with Exchange's commands where they are offered."""
        offered = sorted(finding["mend"], key=lambda m: with_exchange and m["means"] != "exchange")
        for mend in offered:
            if mend["means"] == "exchange" and with_exchange:
                exchange_shell.run(mend["text"], self.forests[mend["source"]])
                return
            if mend["means"] == "ldif":
                self.forests[mend["source"]].change(mend["text"])
                return
            if mend["means"] == "causewayctl":
                code, text = self.relay.ctl(*mend["text"].split()[1:])
                assert code == 0, f"{mend['text']}: {text}"
                return
        assert finding["check"] == "vanished", finding
        self.forests["old"].add("vanished", self.objects["old"]["vanished"])


@pytest.fixture
def stage(relay, tmp_path, domains, request):
    made = []

    def make(kind):
        def forest(name, priority, objects):
            more = {"domain": domains[f"{name}.test"]} if kind is SambaForest else {}
            made.append(kind(tmp_path, name, priority, objects, **more))
            return made[-1]
        return Stage(relay, forest)
    yield make
    for forest in made:
        forest.stop()


@pytest.mark.parametrize("kind, with_exchange",
                         [(LdifForest, False), (LdifForest, True), (SlapdForest, False), (SambaForest, False)])
def test_finds_what_is_planted_and_mends_it(stage, kind, with_exchange):
    s = stage(kind)
    s.plant_by_hand()
    until(lambda: f"the planted faults, not {s.findings()}", lambda: s.shown() == s.wanted(s.shown()))
    code, text = s.relay.ctl("doctor")
    assert code == 1
    for check in s.expected:
        assert f"[{check}]" in text
    assert len(s.expected) == 17
    found = s.findings()
    assert sum(any(m["means"] == "exchange" for m in f["mend"]) for f in found) == 9
    for finding in found:
        s.mend(finding, with_exchange)
    until(lambda: f"the doctor to be content, not {s.findings()}", lambda: s.findings() == [])
    code, text = s.relay.ctl("doctor")
    assert code == 0 and text.startswith("nothing found in "), text


# ---- sources ----

def test_a_held_source_is_accepted(relay, tmp_path):
    people = {f"u{i}": mailbox("old", f"u{i}") for i in range(100)}
    forest = LdifForest(tmp_path, "old", 1, people)
    r = relay(forests={"old": [2], "new": [2]}, source=forest.source().replace("mass_change_percent = 100", ""), sections=ROUTING)
    r.start()
    until_read(r)
    assert checks(r) == []
    forest.entries = dict(list(forest.entries.items())[:40])
    forest.write()
    until(lambda: f"the source to be held, not {checks(r)}", lambda: checks(r) == [("source-held", "old")])
    assert r.ctl("doctor")[0] == 1
    for command in r.ask("doctor")["items"][0]["mend"][0]["text"].splitlines():
        code, text = r.ctl(*command.split()[1:])
        assert code == 0, text
    until(lambda: f"the change to be applied, not {checks(r)}", lambda: checks(r) == [("vanished", "old")] * 60)
    assert r.ctl("doctor")[0] == 0  # notes do not count


def test_a_source_that_fails(relay, tmp_path):
    forest = LdifForest(tmp_path, "old", 1, {"a": mailbox("old", "a")})
    r = relay(forests={"old": [2], "new": [2]}, source=forest.source(), sections=ROUTING)
    forest.path.rename(tmp_path / "away")
    r.start()
    until(lambda: f"it to fail, not {checks(r)}",
          lambda: checks(r) == [("source-failing", "old"), ("source-incomplete", "old")])
    (tmp_path / "away").rename(forest.path)
    until(lambda: f"it to be read, not {checks(r)}", lambda: checks(r) == [])


def test_an_account_that_cannot_see_deletions(relay, tmp_path, domains):
    forest = SambaForest(tmp_path, "old", 1, {"a": mailbox("old", "a")}, domains["old.test"])
    try:
        source = forest.source().replace(forest.dc.account(), forest.dc.account("blind"))
        r = relay(forests={"old": [2], "new": [2]}, source=source, sections=ROUTING)
        r.start()
        until_read(r)
        until(lambda: f"a notice, not {checks(r)}", lambda: checks(r) == [("source-notice", "old")])
    finally:
        forest.stop()


def test_what_expires(relay, tmp_path, domains):
    forest = SambaForest(tmp_path, "old", 1, {"a": mailbox("old", "a")}, domains["old.test"])
    try:
        forest.dc.stop()
        tool = ["samba-tool", "domain", "passwordsettings", "set", f"--configfile={forest.dc.folder}/etc/smb.conf",
                "-H", f"{forest.dc.folder}/private/sam.ldb", "--min-pwd-age=0"]
        subprocess.run([*tool, "--max-pwd-age=10"], check=True, stdout=subprocess.DEVNULL)
        forest.dc.start()
        source = forest.source().replace("tls = none", f'tls = starttls\n    ca_file = "{forest.dc.ca}"')
        r = relay(forests={"old": [2], "new": [2]}, source=source, sections=ROUTING)
        r.start()
        until_read(r)
        until(lambda: f"both to be found, not {checks(r)}",
              lambda: checks(r) == [("certificate-expires", "old"), ("password-expires", "old")])
        forest.dc.stop()
        certificate(forest.dc.folder / "tls", "dc1", f"IP:{forest.dc.address}", days=90)
        subprocess.run([*tool, "--max-pwd-age=42"], check=True, stdout=subprocess.DEVNULL)
        forest.dc.start()
        until(lambda: f"nothing to expire, not {checks(r)}", lambda: checks(r) == [])
    finally:
        forest.stop()


# ---- many findings ----

MANY = 20000


@pytest.fixture
def many(relay, tmp_path):
    """A relay whose directory has a fault in each of its entries."""
    forest = LdifForest(tmp_path, "old", 1, {f"u{i}": mail_user("old", f"u{i}", None) for i in range(MANY)})
    r = relay(forests={"old": [2], "new": [2]}, source=forest.source(), sections=ROUTING)
    r.start()
    until_read(r)
    return r


def test_limit_and_count(many):
    code, text = many.ctl("doctor", "--limit", "3")
    assert code == 1 and text.count("[missing-target]") == 3
    assert f"... and {MANY - 3} more" in text and f"{MANY} missing-target" in text
    code, text = many.ctl("--json", "doctor", "--limit", "2", "--check", "missing-target", "--check", "no-mailbox")
    answer = json.loads(text)
    assert code == 1 and len(answer["findings"]) == 2
    assert (answer["count"], answer["found"], answer["complete"], answer["entries"]) == (2, MANY, False, MANY)
    assert many.ctl("doctor", "--check", "no-mailbox")[0] == 0
    assert many.ctl("doctor", "--check", "nonsense")[0] == 2
    assert many.ctl("doctor", "--source", "nobody")[0] == 2
    many.terminate()
    assert many.ctl("doctor")[0] == 2


def up_to_the_result(lines):
    for line in lines:
        yield line
        if b'"ok":' in line:
            return


def test_a_client_that_does_not_read_stops_only_itself(many):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(many.control)
        s.sendall(b'{"command": "doctor", "args": {"limit": 0}}\n')
        time.sleep(1)
        began = time.monotonic()
        many.ask("status")
        assert many.ask("doctor", limit=1)["found"] == MANY  # the background thread is free, too
        assert time.monotonic() - began < 10
        s.settimeout(30)
        answers = [json.loads(x) for x in up_to_the_result(s.makefile("rb"))]
    assert len(answers) == MANY + 1 and answers[-1]["result"]["count"] == MANY


def test_clients_that_leave_and_a_stop_in_the_middle(many):
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(many.control)
            s.sendall(b'{"command": "doctor", "args": {"limit": 0}}\n')
            s.recv(1000)
    assert many.ask("doctor", limit=1)["found"] == MANY
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(many.control)
        s.sendall(b'{"command": "doctor", "args": {"limit": 0}}\n' * 3)
        s.recv(1000)
        assert many.terminate() == 0
