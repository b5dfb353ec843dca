"""A real slapd with syncprov on loopback, in a folder of its own, with its own CA."""
import os
import shutil
import signal
import subprocess

import wait
from certificate import certificate

BASE = "dc=example,dc=test"
SCHEMA = """\
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.2.352 NAME 'targetAddress' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.447 NAME 'mailNickname' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.423 NAME 'extensionAttribute1' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.7000.102.47 NAME 'msExchHomeServerName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.7000.102.50855 NAME 'msExchRecipientTypeDetails'
  EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.655 NAME 'legacyExchangeDN' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.244 NAME 'homeMDB' EQUALITY distinguishedNameMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.7000.102.80 NAME 'msExchMailboxGuid' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.7000.102.5062 NAME 'msExchRequireAuthToSendTo' EQUALITY booleanMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.3.46 NAME 'mailRecipient' SUP top AUXILIARY
  MAY ( mail $ proxyAddresses $ targetAddress $ mailNickname $ extensionAttribute1 $
        msExchHomeServerName $ msExchRecipientTypeDetails $ legacyExchangeDN $ homeMDB $
        msExchMailboxGuid $ msExchRequireAuthToSendTo ) )
"""
TREE = f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=sync,{BASE}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: sync
userPassword: sync

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

"""


def person(uid, **more):
    """An LDIF record; `more`: attribute = value or list of values."""
    lines = [f"dn: uid={uid},ou=people,{BASE}", "objectClass: inetOrgPerson", "objectClass: mailRecipient",
             f"uid: {uid}", f"cn: {uid}", f"sn: {uid}", f"mail: {uid}@x.test"]
    for name, values in more.items():
        lines += [f"{name}: {v}" for v in (values if isinstance(values, list) else [values])]
    return "\n".join(lines) + "\n\n"


class Slapd:
    """slapd: `people` is LDIF for the first start. Commands run as the root DN."""

    def __init__(self, folder, people="", limits="size=unlimited time=unlimited", session_log=1000):
        self.folder = folder
        self.port, self.tls_port = wait.free_port(), wait.free_port()
        self.process = None
        (folder / "db").mkdir(parents=True)
        certificate(folder)
        (folder / "password").write_text("sync\n")
        (folder / "recipients.schema").write_text(SCHEMA)
        (folder / "slapd.conf").write_text(f"""\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {folder}/recipients.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile {folder}/slapd.pid
loglevel none
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
TLSCACertificateFile {folder}/ca.pem
TLSVerifyClient allow
authz-regexp "cn=sync" "cn=sync,{BASE}"
database mdb
suffix {BASE}
rootdn cn=admin,{BASE}
rootpw secret
directory {folder}/db
maxsize 1073741824
dbnosync
index objectClass,entryCSN,entryUUID eq
limits dn.exact="cn=sync,{BASE}" {limits}
access to attrs=userPassword by anonymous auth
access to * by dn.exact="cn=sync,{BASE}" read by * search
overlay syncprov
syncprov-sessionlog {session_log}
""")
        subprocess.run([self.tool("slapadd"), "-w", "-f", folder / "slapd.conf", "-b", BASE], check=True,
                       input=TREE + people, text=True, stderr=open(folder / "log", "a"))

    @staticmethod
    def tool(name):
        return shutil.which(name) or "/usr/sbin/" + name

    @property
    def uri(self):
        return f"ldap://127.0.0.1:{self.port}"

    def start(self, address="127.0.0.1"):
        urls = f"ldap://{address}:{self.port} ldaps://{address}:{self.tls_port}"
        self.process = subprocess.Popen(
            [self.tool("slapd"), "-h", urls, "-f",
             self.folder / "slapd.conf", "-d", "0"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "a"))
        wait.until("slapd", lambda: wait.can_connect(self.port, address) and
                   wait.can_connect(self.tls_port, address))
        return self

    def send(self, number):
        os.kill(self.process.pid, number)

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def _run(self, tool, *args, text=None):
        subprocess.run([tool, "-x", "-H", self.uri, "-D", f"cn=admin,{BASE}", "-w", "secret", *args], check=True,
                       input=text, text=True, stdout=subprocess.DEVNULL)

    def add(self, uid, **more):
        self._run("ldapadd", text=person(uid, **more))

    def change(self, ldif):
        """Change records."""
        self._run("ldapmodify", text=ldif)

    def modify(self, uid, **values):
        """Replaces attributes; None removes one."""
        text = f"dn: uid={uid},ou=people,{BASE}\nchangetype: modify\n"
        for name, value in values.items():
            text += f"replace: {name}\n" + (f"{name}: {value}\n" if value is not None else "") + "-\n"
        self._run("ldapmodify", text=text)

    def rename(self, uid, new):
        self._run("ldapmodrdn", "-r", f"uid={uid},ou=people,{BASE}", f"uid={new}")

    def delete(self, *uids):
        self._run("ldapdelete", *[f"uid={u},ou=people,{BASE}" for u in uids])
