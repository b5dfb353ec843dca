"""Real Active Directory domain controllers on loopback: Debian's Samba, one process each, LDAP only, with the Exchange
recipient attributes in the schema. Only root can run them, because they insist on the ports 389, 636, 3268 and 3269.

Making a domain takes four seconds, so a test session makes one of each name (`Domains`) and every `Samba` runs on a
copy of it, at an address of 127.0.0.0/8 that nobody uses: many can run at the same time.
"""
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import wait
from certificate import certificate

PORTS = (389, 636, 3268, 3269)
KERBEROS_PORTS = (88, 464)
ADMIN_PASSWORD = "Passw0rd!23"
PASSWORD = "Causeway!23"  # of the service accounts
SHOW_DELETED = "1.2.840.113556.1.4.417"
SCHEMA = Path(__file__).resolve().parent.parent / "data" / "exchange-schema.ldif"
SCHEMA_UPDATE_NOW = "dn:\nchangetype: modify\nadd: schemaUpdateNow\nschemaUpdateNow: 1\n-\n"
# Nothing here outlives the machine, so nothing is synced: a change takes 0.7 ms instead of 2.4, and 90 beside a busy spool.
SMB_CONF = """\
[global]
    netbios name = DC1
    realm = {realm}
    workgroup = {netbios}
    server role = active directory domain controller
    server services = {services}
    interfaces = {address}/8
    bind interfaces only = yes
    ldap server require strong auth = no
    private dir = {folder}/private
    state directory = {folder}/state
    cache directory = {folder}/cache
    lock directory = {folder}
    binddns dir = {folder}/bind-dns
    pid directory = {folder}/run
    ncalrpc dir = {folder}/ncalrpc
    winbindd socket directory = {folder}/run/winbindd
    ntp signd socket directory = {folder}/run/ntp_signd
    nmbd:socket dir = {folder}/run/nmbd
    log file = {folder}/log/samba
    logging = file
    tls enabled = yes
    tls keyfile = {folder}/tls/key.pem
    tls certfile = {folder}/tls/cert.pem
    tls cafile = {folder}/tls/ca.pem
    dsdb:schema update allowed = true
    name resolve order = host
    disable netbios = yes
    ldb:nosync = true
"""
KRB5_CONF = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
[realms]
    {realm} = {{
        kdc = {address}
    }}
[domain_realm]
    {address} = {realm}
"""
# A mailbox database, because homeMDB must point at something that exists; a unit for people and one to move them to.
TREE = """\
dn: CN=Microsoft Exchange,CN=Services,CN=Configuration,{base}
objectClass: container

dn: CN=Database 1,CN=Microsoft Exchange,CN=Services,CN=Configuration,{base}
objectClass: container

dn: OU=Staff,{base}
objectClass: organizationalUnit

dn: OU=Elsewhere,{base}
objectClass: organizationalUnit

"""
# Read and list, inherited, on the container of what was deleted: without it DirSync leaves deletions out, silently.
DELETED_OBJECTS = ("dn: CN=Deleted Objects,{base}\nchangetype: modify\nreplace: nTSecurityDescriptor\n"
                   "nTSecurityDescriptor: O:SYG:SYD:PAI(A;;RPWPCCDCLCRCWOWDSDSW;;;SY)(A;;RPLC;;;BA)"
                   "(A;CI;RPLC;;;{sid})\n-\n")


def free_address():
    """An address of 127.0.0.0/8 on which all ports of a domain controller are free."""
    while True:
        address = f"127.{random.randrange(10, 250)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            for port in PORTS + KERBEROS_PORTS:
                with socket.socket() as s:
                    s.bind((address, port))
            return address
        except PermissionError:
            raise RuntimeError("Samba's ports are below 1024: only root can run a domain controller") from None
        except OSError:
            pass


def base_of(domain):
    return ",".join("DC=" + part for part in domain.split("."))


class Domain:
    """A domain that is made and not running: what the copies are made of."""

    def __init__(self, folder, name):
        self.folder, self.name, self.base = Path(folder), name, base_of(name)
        self.folder.mkdir(parents=True)
        self.provision()
        for part in SCHEMA.read_text().split("\n# Part ")[1:]:
            self.ldb("ldbmodify", "# " + part.replace("@BASE@", self.base))
            self.ldb("ldbmodify", SCHEMA_UPDATE_NOW)
        self.ldb("ldbadd", TREE.format(base=self.base))
        self.account("causeway", sees_deleted=True)
        self.account("blind")

    def provision(self):
        with open(self.folder / "provision.log", "wb") as log:
            subprocess.run(["samba-tool", "domain", "provision", f"--targetdir={self.folder}", "--server-role=dc",
                            "--dns-backend=NONE", f"--realm={self.realm}", f"--domain={self.netbios}",
                            f"--adminpass={ADMIN_PASSWORD}", "--host-name=dc1", "--host-ip=127.0.0.1",
                            "--option=interfaces=127.0.0.1/8", "--option=bind interfaces only=yes"],
                           check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        write_conf(self.folder, self, "127.0.0.1")

    @property
    def realm(self):
        return self.name.upper()

    @property
    def netbios(self):
        return self.name.split(".")[0].upper()

    def ldb(self, tool, text, *options):
        ldb(tool, self.folder, text, *options)

    def account(self, name, sees_deleted=False):
        """An ordinary account, as a careful administrator makes it for a program that reads."""
        where = [f"--configfile={self.folder}/etc/smb.conf", "-H", f"{self.folder}/private/sam.ldb"]
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["samba-tool", "user", "create", name, PASSWORD, *where], **quiet)
        if sees_deleted:
            found = subprocess.run(["ldbsearch", *where, "-b", self.base, f"(sAMAccountName={name})", "objectSid"],
                                   check=True, capture_output=True, text=True).stdout
            sid = next(line.split()[1] for line in found.splitlines() if line.startswith("objectSid:"))
            self.ldb("ldbmodify", DELETED_OBJECTS.format(base=self.base, sid=sid), "--show-deleted")


class Domains:
    """The domains of a test session, each made when it is first asked for."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}

    def __getitem__(self, name):
        if name not in self.made:
            self.made[name] = Domain(self.folder / name, name)
        return self.made[name]


def write_conf(folder, domain, address, services="ldap"):
    text = SMB_CONF.format(realm=domain.realm, netbios=domain.netbios, address=address, folder=folder,
                           services=services)
    (folder / "etc" / "smb.conf").write_text(text)
    for name in ("run", "ncalrpc", "log", "tls"):
        (folder / name).mkdir(exist_ok=True)


def ldb(tool, folder, text, *options):
    """ldbadd or ldbmodify on a domain's files, whether its server runs or not."""
    done = subprocess.run([tool, *options, f"--configfile={folder}/etc/smb.conf",
                           "--option=dsdb:schema update allowed=true", "-H", f"{folder}/private/sam.ldb"],
                          input=text, text=True, capture_output=True)
    assert done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}"


def lines(values):
    """LDIF lines of attributes; a value is a text or a list of texts."""
    return "".join(f"{name}: {v}\n" for name, value in values.items()
                   for v in (value if isinstance(value, list) else [value]))


class Samba:
    """A domain controller of `domain`; its address stays the same over a restart. With `origin` it is a copy of that
    one as it is now, with the same domain, data and identity: a second address of the same directory."""

    def __init__(self, folder, domain, origin=None):
        self.folder, self.domain, self.base = Path(folder), domain, domain.base
        self.address = free_address()
        self.process = None
        shutil.copytree((origin or domain).folder, self.folder,
                        ignore=lambda path, names: [n for n in names if n in ("ncalrpc", "run", "log")])
        write_conf(self.folder, domain, self.address)
        self.ca = self.folder / "tls" / "ca.pem"
        certificate(self.folder / "tls", f"dc1.{domain.name}", f"DNS:dc1.{domain.name},IP:{self.address}")
        self.password = self.folder / "password"
        self.password.write_text(PASSWORD + "\n")

    @property
    def uri(self):
        return f"ldap://{self.address}"

    @property
    def tls_uri(self):
        return f"ldaps://{self.address}"

    def account(self, name="causeway"):
        return f"CN={name},CN=Users,{self.base}"

    def kerberos(self):
        """It gives tickets, too, from the next start on. The environment in which a program has the account's key."""
        write_conf(self.folder, self.domain, self.address, "ldap kdc")
        self.change(f"dn: CN=DC1,OU=Domain Controllers,{self.base}\nchangetype: modify\nadd: servicePrincipalName\n"
                    f"servicePrincipalName: ldap/{self.address}\n-\n")
        conf, keys = self.folder / "krb5.conf", self.folder / "account.keytab"
        conf.write_text(KRB5_CONF.format(realm=self.domain.realm, address=self.address))
        # A key is made from the password, the realm and the account's name.
        subprocess.run(["ktutil"], check=True, text=True, stdout=subprocess.DEVNULL, input=(
            f"addent -password -p causeway@{self.domain.realm} -k 1 -e aes256-cts-hmac-sha1-96 "
            f"-s {self.domain.realm}causeway\n{PASSWORD}\nwkt {keys}\nquit\n"))
        return {"KRB5_CONFIG": str(conf), "KRB5_CLIENT_KTNAME": str(keys), "KRB5CCNAME": str(self.folder / "tickets")}

    # ---- process ----

    def start(self):
        with open(self.folder / "log" / "output", "ab") as log:
            self.process = subprocess.Popen(
                ["samba", "-s", self.folder / "etc" / "smb.conf", "--no-process-group", "-M", "single", "-i"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait.until(self.why_not, self.is_up)
        return self

    def why_not(self):
        return "samba: " + (self.folder / "log" / "output").read_text(errors="replace")[-2000:]

    def is_up(self):
        assert self.process.poll() is None, self.why_not()
        return all(wait.can_connect(port, self.address) for port in PORTS)

    def send(self, number):
        """To all its processes: SIGSTOP makes it hang, SIGCONT goes on."""
        os.killpg(self.process.pid, number)

    def stop(self, number=signal.SIGKILL):
        if self.process is not None:
            self.send(signal.SIGCONT)
            self.send(number)
            self.process.wait(30)
            self.process = None

    def finish(self):
        """Stops for good: 30 MB of databases go, the log stays."""
        self.stop()
        shutil.rmtree(self.folder / "private", ignore_errors=True)

    # ---- what is in it ----

    def change(self, ldif, *options):
        """Change records, by LDAP as the administrator if the server runs, else in its files."""
        if self.process is None:
            ldb("ldbmodify", self.folder, ldif)
            return
        done = subprocess.run(["ldapmodify", "-x", "-H", self.uri, "-D", f"CN=Administrator,CN=Users,{self.base}",
                               "-w", ADMIN_PASSWORD, *options], input=ldif, text=True, capture_output=True)
        assert done.returncode == 0, f"ldapmodify: {done.stdout}{done.stderr}\n{ldif}"

    def search(self, *arguments):
        """LDIF of what the administrator finds."""
        return subprocess.run(["ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.uri, "-D",
                               f"CN=Administrator,CN=Users,{self.base}", "-w", ADMIN_PASSWORD, "-b", self.base,
                               *arguments], check=True, capture_output=True, text=True).stdout

    def dn(self, name, unit="OU=Staff"):
        return f"CN={name},{unit},{self.base}"

    @property
    def database(self):
        """A value for homeMDB."""
        return f"CN=Database 1,CN=Microsoft Exchange,CN=Services,CN=Configuration,{self.base}"

    def person(self, name, unit="OU=Staff", object_class="user", **values):
        """The record that adds someone; what is not given is as Exchange sets it for a mailbox. None: without."""
        given = {"mail": f"{name}@{self.domain.name}", "mailNickname": name, "displayName": name}
        if object_class != "contact":
            given["sAMAccountName"] = name
        if "proxyAddresses" not in values:
            given["proxyAddresses"] = f"SMTP:{values.get('mail', given['mail'])}"
        given = {k: v for k, v in {**given, **values}.items() if v is not None}
        return (f"dn: {self.dn(name, unit)}\nchangetype: add\nobjectClass: {object_class}\n" + lines(given) + "\n")

    def add(self, name, **values):
        self.change(self.person(name, **values))

    def modify(self, name, unit="OU=Staff", **values):
        """Replaces attributes; None removes one."""
        text = "".join(f"replace: {k}\n" + (lines({k: v}) if v is not None else "") + "-\n" for k, v in values.items())
        self.change(f"dn: {self.dn(name, unit)}\nchangetype: modify\n" + text)

    def rename(self, name, new):
        self.change(f"dn: {self.dn(name)}\nchangetype: modrdn\nnewrdn: CN={new}\ndeleteoldrdn: 1\n")

    def move(self, name, unit, origin="OU=Staff"):
        self.change(f"dn: {self.dn(name, origin)}\nchangetype: modrdn\nnewrdn: CN={name}\ndeleteoldrdn: 1\n"
                    f"newsuperior: {unit},{self.base}\n")

    def delete(self, *names, unit="OU=Staff"):
        self.change("".join(f"dn: {self.dn(n, unit)}\nchangetype: delete\n\n" for n in names))

    def restore(self, name, **values):
        """Brings back what was deleted. Without the recycle bin its attributes are gone: `values` are set again."""
        found = self.search("-E", "!" + SHOW_DELETED, f"(&(isDeleted=TRUE)(sAMAccountName={name}))", "1.1")
        deleted = found.split("dn:", 1)[1].splitlines()[0]
        self.change(f"dn:{deleted}\nchangetype: modify\ndelete: isDeleted\n-\nreplace: distinguishedName\n"
                    f"distinguishedName: {self.dn(name)}\n-\n", "-e", "!" + SHOW_DELETED)
        if values:
            self.modify(name, **values)

    def load(self, n, first=0):
        """So many mailboxes in OU=Bulk, straight into the files; 500 a second. Addresses u000000@, user.000000@ ..."""
        if first == 0:
            self.change(f"dn: OU=Bulk,{self.base}\nchangetype: add\nobjectClass: organizationalUnit\n")
        at = self.domain.name
        # Without an index copy per operation the database takes a large transaction ten times as fast.
        ldb("ldbmodify", self.folder, "".join(
            self.person(f"u{i:06d}", unit="OU=Bulk", msExchRecipientTypeDetails="1", sn=f"Nr{i:06d}",
                        proxyAddresses=[f"SMTP:u{i:06d}@{at}", f"smtp:user.{i:06d}@{at}"])
            for i in range(first, first + n)), "-o", "batch_mode:1")
