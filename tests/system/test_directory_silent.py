"""A directory server that takes the connection and says nothing: whoever waits for it keeps nobody else waiting."""
import select
import socket
import subprocess

import pytest

from client import Client
from ldap_entries import Entries
from ldap_server import LdapServer
from relay import DOMAIN, build_dir
from wait import free_port, until

SOURCE = """source "people" {{
    type = ldif
    path = "{ldif}"
    forest = "A"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A" }}
}}
source "ldap" {{
    type = openldap
    forest = "A"
    uri = {{ "ldap://127.0.0.1:{port}" }}
    tls = none
    base = "dc=x"
    bind = external
}}
"""


class Silent:
    """Takes connections, reads, and answers nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.session = None

    def accept(self):
        self.listener.settimeout(30)
        self.session, _ = self.listener.accept()
        self.session.setblocking(False)
        return self

    def was_asked(self):
        return bool(select.select([self.listener], [], [], 0)[0])

    def is_waited_for(self):
        """The one who connected has not given up."""
        while select.select([self.session], [], [], 0)[0]:
            if not self.session.recv(1000):
                return False
        return True

    def close(self):
        if self.session is not None:
            self.session.close()
        self.listener.close()


@pytest.fixture
def silent():
    made = []

    def make():
        made.append(Silent())
        return made[-1]
    yield make
    for s in made:
        s.close()


def staged(relay, sinks, server):
    """A relay that knows Anna by a file and waits for the server."""
    r = relay(forests={"A": [sinks().port]}, people={"anna": "A"}, source="")
    r.source = SOURCE.format(ldif=r.ldif, port=server.port)
    r.write_conf()
    r.start(directory=False)
    until("Anna", lambda: r.knows("anna"))
    return r


def test_stop_does_not_wait_for_it(relay, sinks, silent):
    """Clients are told at once."""
    server = silent()
    r = staged(relay, sinks, server)
    with Client(r.port) as c:
        server.accept()
        r.process.terminate()
        assert c.reply()[0] == 421
        assert server.is_waited_for(), "the client was told only when the source had ended"
    assert r.terminate() == 0


def test_reload_does_not_wait_for_it(relay, sinks, silent):
    """The admin names another server because this one is silent; the relay answers, and then asks the other."""
    server, other = silent(), silent()
    r = staged(relay, sinks, server)
    server.accept()
    r.source = SOURCE.format(ldif=r.ldif, port=other.port)
    r.write_conf()
    code, said = r.ctl("reload")
    assert code == 0, said
    status = {s["name"]: s for s in r.ask("directory.status")["items"]}
    assert server.is_waited_for(), "the reload waited for the old source"
    assert status["ldap"]["state"] == "starting" and r.goes_to("anna") == "forest:A", status
    other.accept()
    assert not server.is_waited_for()
    server.session.close()
    assert r.terminate() == 0


def test_stop_ends_a_write_that_waits_for_it(relay, silent, tmp_path):
    """`move --write` goes from server to server; none is begun with any more."""
    entries, first, second = Entries(), silent(), silent()
    entries.add("anna", proxyAddresses=f"SMTP:anna@{DOMAIN}", extensionAttribute1="A")
    well = LdapServer(entries).start()
    (tmp_path / "password").write_text("secret\n")
    r = relay(forests={"A": [free_port()], "B": [free_port()]}, source=f"""source "ldap" {{
    type = openldap
    forest = "A"
    uri = {{ "{well.uri}", "ldap://127.0.0.1:{first.port}", "ldap://127.0.0.1:{second.port}" }}
    tls = none
    base = "{entries.base}"
    bind_dn = "cn=reader"
    password_file = "{tmp_path}/password"
    filter = "(objectClass=user)"
    flag_attribute = "extensionAttribute1"
    flag_values = {{ "A = A", "B = B" }}
}}
""").start()
    until("Anna", lambda: r.knows("anna"))
    well.listener.shutdown(socket.SHUT_RDWR)  # the source goes on; who comes now is refused
    well.listener.close()
    with subprocess.Popen([f"{build_dir()}/causewayctl", "--socket", r.control, "move", f"anna@{DOMAIN}", "--to", "B",
                           "--write"], stderr=subprocess.DEVNULL):
        first.accept()
        assert first.is_waited_for()
        assert r.terminate() == 0
    assert not second.was_asked()
    well.stop()
