"""DSNs as the sender gets them, read by parsers nobody here wrote: Python's email and flufl.bounce."""
import email
import email.policy
import os

import pytest
from flufl.bounce import all_failures

import faults
from client import Client, message
from relay import DOMAIN
from wait import until

ANNA, SARA = f"anna@{DOMAIN}", f"sara@{DOMAIN}"
FAST = ["retry_min = 200ms", "retry_max = 300ms", "dest_backoff_min = 200ms", "dest_backoff_max = 300ms"]


def refuses(reply, stage="RCPT"):
    return lambda s, detail, session: reply if s == stage else None


class Mail:
    """SARA (forest B) sends to anna (forest A, which does what `script` says)."""

    def __init__(self, relay, sinks, script, queue=(), dsn=(), **kw):
        self.a, self.b = sinks(script=script, **kw), sinks()
        self.r = relay(forests={"A": [self.a.port], "B": [self.b.port]}, people={"anna": "A", "sara": "B"},
                       sections={"queue": FAST + list(queue), "dsn": list(dsn)}).start()

    def send(self, params="", rcpt=ANNA, sender=SARA, body=b"Hello.\r\n"):
        with Client(self.r.port) as c:
            assert c.send(sender, [rcpt], message("orig", body), params)[0] == 250

    def notice(self, n=1):
        kept = self.b.wait(n)[n - 1]
        assert kept.sender == "" and kept.rcpts == [SARA]
        return parse(kept.data)

    def none(self):
        self.r.wait_empty()
        assert self.b.kept == []


def parse(data):
    m = email.message_from_bytes(data, policy=email.policy.default)
    assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status"
    assert not m.defects
    human, status, original = list(m.iter_parts())
    assert human.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    about, *per = status.get_payload()
    assert about["Reporting-MTA"] == f"dns; relay.{DOMAIN}"
    for name in ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"):
        assert len(m.get_all(name)) == 1, name
    m.human, m.about, m.per, m.original = human.get_content(), about, per, original
    return m


def test_failure(relay, sinks):
    mail = Mail(relay, sinks, refuses("550 5.1.1 no such user here"))
    mail.send()
    m = mail.notice()
    assert len(m.per) == 1
    p = m.per[0]
    assert p["Action"] == "failed" and p["Status"] == "5.1.1"
    assert p["Final-Recipient"].replace(" ", "") == f"rfc822;{ANNA}"
    assert p["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user here"
    assert "127.0.0.1" in p["Remote-MTA"]
    assert ANNA in m.human and "no such user here" in m.human
    assert m.original.get_content_type() in ("message/rfc822", "text/rfc822-headers")
    assert "Subject: orig" in m.original.as_string()
    assert all_failures(email.message_from_bytes(mail.b.kept[0].data)) == (set(), {ANNA.encode()})
    mail.r.wait_empty()
    assert len(mail.b.kept) == 1


@pytest.mark.parametrize("stage", ["MAIL", "DATA", "dot"])
def test_failure_at(relay, sinks, stage):
    mail = Mail(relay, sinks, refuses("554 5.7.1 policy", stage))
    mail.send()
    assert mail.notice().per[0]["Status"] == "5.7.1"


def test_code_wins_over_a_contradicting_status(relay, sinks):
    mail = Mail(relay, sinks, refuses("550 2.1.5 destination address valid"))
    mail.send()
    assert mail.notice().per[0]["Status"].startswith("5.")


def test_what_we_refuse_ourselves(relay, sinks):
    """The next hop never said it: the notice does not put our words into its mouth."""
    mail = Mail(relay, sinks, None, extensions=("PIPELINING",))
    mail.send(params=" BODY=8BITMIME", body="Grüße\r\n".encode())
    m = mail.notice()
    assert m.per[0]["Action"] == "failed" and m.per[0]["Status"] == "5.6.3"
    assert m.per[0]["Remote-MTA"] is None and m.per[0]["Diagnostic-Code"].startswith("X-Causeway;")
    assert "The relay itself reports" in m.human and "does not offer 8BITMIME" in m.human
    assert mail.a.kept == []


def test_return_and_envelope_id(relay, sinks):
    mail = Mail(relay, sinks, refuses("550 5.1.1 no"))
    body = b"secret words\r\n"
    mail.send(params=" RET=HDRS ENVID=QQ314+2B159", body=body)
    m = mail.notice()
    assert b"secret words" not in mail.b.kept[0].data
    assert m.about["Original-Envelope-Id"] == "QQ314+159"
    mail.send(params=" RET=FULL", body=body)
    m = mail.notice(2)
    assert b"secret words" in mail.b.kept[1].data
    assert "Original-Envelope-Id" not in m.about


def test_large_messages_are_returned_without_their_content(relay, sinks):
    """RET=FULL or not: above return_size_max it is the header."""
    mail = Mail(relay, sinks, refuses("550 5.1.1 no"), dsn=["return_size_max = 10K"])
    for n, (lines, kind) in enumerate([(100, "message/rfc822"), (1000, "text/rfc822-headers")], 1):
        mail.send(params=" RET=FULL", body=b"secret words\r\n" * lines)
        m = mail.notice(n)
        assert m.original.get_content_type() == kind
        assert mail.b.kept[-1].data.count(b"secret words") == (lines if kind == "message/rfc822" else 0)
        assert "Subject: orig" in m.original.as_string() and "X-Key: orig" in m.original.as_string()


def test_original_recipient(relay, sinks):
    mail = Mail(relay, sinks, refuses("550 5.1.1 no"))
    mail.send(rcpt=f"<{ANNA}> ORCPT=rfc822;anna+2Bnews@before.test")
    m = mail.notice()
    assert m.per[0]["Original-Recipient"].replace(" ", "") in ("rfc822;anna+news@before.test",
                                                               "rfc822;anna+2Bnews@before.test")


def test_notify_never(relay, sinks):
    mail = Mail(relay, sinks, refuses("550 5.1.1 no"))
    mail.send(rcpt=f"<{ANNA}> NOTIFY=NEVER")
    mail.none()


def test_null_sender(relay, sinks):
    mail = Mail(relay, sinks, refuses("550 5.1.1 no"))
    mail.send(sender="")
    mail.none()


def test_success_is_reported_once_by_who_is_last(relay, sinks):
    """A host that offers DSN reports itself; for one that does not, we say "relayed"."""
    mail = Mail(relay, sinks, None)
    mail.send(rcpt=f"<{ANNA}> NOTIFY=SUCCESS")
    mail.a.wait(1)
    assert any("NOTIFY=SUCCESS" in x for s in mail.a.sessions for x in s.lines)
    mail.none()
    mail = Mail(relay, sinks, None, extensions=("PIPELINING",))
    mail.send(rcpt=f"<{ANNA}> NOTIFY=SUCCESS")
    m = mail.notice()
    assert m.per[0]["Action"] == "relayed" and m.per[0]["Status"].startswith("2.")
    assert all_failures(email.message_from_bytes(mail.b.kept[0].data)) == (set(), set())


def test_success_that_cannot_be_written_at_first(relay, sinks):
    """The recipient is done and the disk fails just then: the report comes when the disk takes it."""
    arm = []

    def script(stage, _detail, _session):
        if stage == "dot":
            open(arm[0], "w", encoding="ascii").close()
    a, b = sinks(script=script, extensions=("PIPELINING",)), sinks()
    r = relay(forests={"A": [a.port], "B": [b.port]}, people={"anna": "A", "sara": "B"}, sections={"queue": FAST})
    arm.append(os.path.join(r.dir, "arm"))
    r.env = faults.env("write", 1, "errno:EIO", path="/spool/segment/", arm=arm[0])
    r.start()
    with Client(r.port) as c:
        assert c.send(SARA, [SARA], message("before"))[0] == 250
        b.wait(1)
        until("nothing else to be written", lambda: r.ctl_json("status")["spool"]["segments_free"] >= 2)
        assert c.send(SARA, [f"<{ANNA}> NOTIFY=SUCCESS"], message("orig"))[0] == 250
    m = parse(b.wait(2)[1].data)
    assert "dsn-not-written" in r.log()
    assert m.per[0]["Action"] == "relayed" and "Subject: orig" in m.original.as_string()
    r.wait_empty()
    assert len(b.kept) == 2 and len(a.kept) == 1


def test_delay(relay, sinks):
    mail = Mail(relay, sinks, refuses("450 4.2.1 try later"), queue=["delay_notice = 1s"])
    mail.send()
    m = mail.notice()
    assert m.per[0]["Action"] == "delayed" and m.per[0]["Status"] == "4.2.1"
    assert m.per[0]["Will-Retry-Until"]
    assert all_failures(email.message_from_bytes(mail.b.kept[0].data)) == ({ANNA.encode()}, set())
    until("the notice to be gone from the queue", lambda: mail.r.queue_length() == 1)
    mail.a.script = lambda *_: None
    mail.a.wait(1)
    mail.r.wait_empty()
    assert len(mail.b.kept) == 1, "one delay notice"


def test_expiry(relay, sinks):
    mail = Mail(relay, sinks, refuses("450 4.2.1 try later"), queue=["expire = 1s", "delay_notice = 0"])
    mail.send()
    m = mail.notice()
    assert m.per[0]["Action"] == "failed" and m.per[0]["Status"] in ("4.4.7", "5.4.7")
    assert "try later" in str(m.per[0]["Diagnostic-Code"])
    mail.r.wait_empty()


HOSTILE = ["550 5.1.1 a\tb\x0b\x0c\x1b[31m\x7f", "550 5.1.1 " + "x" * 4000, "550 5.1.1 \xff\xfe\xe4",
           "550-5.1.1 a\r\n550-Action: delivered\r\n550-\r\n550 --boundary--", "550 5.1.1 =?utf-8?q?=0D=0AX-Evil:_1?=",
           "550 5.1.1 \rAction: delivered"]


@pytest.mark.parametrize("reply", HOSTILE, ids=range(len(HOSTILE)))
def test_remote_text_adds_nothing(relay, sinks, reply):
    mail = Mail(relay, sinks, refuses(reply.encode("latin-1")))
    mail.send()
    m = mail.notice()
    data = mail.b.kept[0].data
    assert len(m.per) == 1 and m.per[0].get_all("Action") == ["failed"]
    assert "X-Evil" not in m and "X-Evil" not in m.per[0]
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert not set(data) & (set(range(0x20)) - {9, 10, 13}), "control octets"
    assert b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")


def test_each_recipient_is_named(relay, sinks):
    """Two refused of three, for different reasons: one notice, two entries."""
    def script(stage, detail, session):
        if stage == "RCPT" and "p1@" in detail:
            return "550 5.1.1 who"
        if stage == "RCPT" and "p2@" in detail:
            return "552 5.2.2 full"
        return None
    a, b = sinks(script=script), sinks()
    r = relay(forests={"A": [a.port], "B": [b.port]}, people={"p0": "A", "p1": "A", "p2": "A", "sara": "B"}).start()
    with Client(r.port) as c:
        assert c.send(SARA, [f"p{i}@{DOMAIN}" for i in range(3)], message("three"))[0] == 250
    m = parse(b.wait(1)[0].data)
    assert sorted((p["Final-Recipient"].split(";")[1].strip(), p["Status"]) for p in m.per) == [
        (f"p1@{DOMAIN}", "5.1.1"), (f"p2@{DOMAIN}", "5.2.2")]
    assert a.wait(1)[0].rcpts == [f"p0@{DOMAIN}"]
    until("the queue to be empty", lambda: r.queue_length() == 0)
    assert len(b.kept) == 1


def test_a_notice_that_cannot_be_delivered_ends(relay, sinks):
    """No notice about a notice."""
    mail = Mail(relay, sinks, refuses("550 5.1.1 no"))
    mail.b.script = refuses("550 5.1.1 nobody here either")
    mail.send()
    mail.none()


def test_more_recipients_than_fit_in_a_segment(relay, sinks):
    """The smallest segments, and a thousand refusals that would fill two of them: several reports, each recipient in
    one of them."""
    said = "550 5.1.1 " + "no such user here, and more about that at length; " * 9
    a, b = sinks(script=refuses(said)), sinks()
    people = [f"p{i}" for i in range(1000)]
    r = relay(forests={"A": [a.port], "B": [b.port]}, people={"sara": "B", **{p: "A" for p in people}},
              sections={"queue": FAST, "spool": ["segment_size = 1M", "large_size = 256K"]}).start()
    with Client(r.port) as c:
        assert c.send(SARA, [f"{p}@{DOMAIN}" for p in people], message("orig"))[0] == 250
    r.wait_empty()
    assert "dsn-not-written" not in r.log() and len(b.kept) > 1
    told = [p["Final-Recipient"].split(";")[1].strip() for k in b.kept for p in parse(k.data).per]
    assert sorted(told) == sorted(f"{p}@{DOMAIN}" for p in people)
