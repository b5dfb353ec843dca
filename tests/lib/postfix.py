"""A private Postfix as a forest: Debian's programs, own folders, one loopback port; keeps mail in Maildirs."""
import email
import glob
import os
import shutil
import subprocess

from wait import can_connect, free_port, until

SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """users: the local parts it knows in `domain`; `settings` are added to main.cf. `next_hop` gets what it sends."""

    def __init__(self, folder, domain, users, next_hop=None, **settings):
        self.dir = str(folder)
        self.domain = domain
        self.port = free_port()
        self.mail = os.path.join(self.dir, "mail")
        self.etc = os.path.join(self.dir, "etc")
        self.log_path = os.path.join(self.dir, "maillog")
        for name in ("etc", "queue", "data", "mail"):
            os.makedirs(os.path.join(self.dir, name))
        os.chmod(self.dir, 0o755)
        shutil.chown(os.path.join(self.dir, "data"), "postfix")
        shutil.chown(self.mail, "nobody")
        with open(self.log_path, "w", encoding="utf-8"):
            pass
        os.chmod(self.log_path, 0o666)  # postsuper logs without being root
        self.settings = {
            "compatibility_level": "3.6",
            "queue_directory": os.path.join(self.dir, "queue"),
            "data_directory": os.path.join(self.dir, "data"),
            "daemon_directory": "/usr/lib/postfix/sbin",
            "command_directory": "/usr/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "maillog_file": self.log_path,
            "maillog_file_prefixes": self.dir,
            "myhostname": "postfix.test",
            "mydestination": "",
            "alias_maps": "",
            "local_recipient_maps": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "virtual_mailbox_domains": domain,
            "virtual_mailbox_maps": "inline:{ " + ", ".join(f"{{ {u}@{domain} = {u}/ }}" for u in users) + " }",
            "virtual_mailbox_base": self.mail,
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
            "smtpd_peername_lookup": "no",
            "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_recipient_restrictions": "",
            "biff": "no",
            "queue_run_delay": "1s",  # what it had in hand when it was stopped is not left for minutes
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "2s",
            **settings,
        }
        if next_hop:
            self.settings["relayhost"] = f"[127.0.0.1]:{next_hop}"
        with open(os.path.join(self.etc, "master.cf"), "w", encoding="utf-8") as f:
            f.write(SERVICES.format(port=self.port))
        with open(os.path.join(self.etc, "main.cf"), "w", encoding="utf-8") as f:
            f.write("".join(f"{k} = {v}\n" for k, v in self.settings.items()))

    def start(self):
        done = subprocess.run(["postfix", "-c", self.etc, "start"], capture_output=True, text=True,
                              start_new_session=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        until("Postfix to answer", lambda: can_connect(self.port))
        return self

    def stop(self):
        try:
            with open(os.path.join(self.dir, "queue/pid/master.pid"), encoding="ascii") as f:
                pid = int(f.read())
        except FileNotFoundError:
            return
        subprocess.run(["postfix", "-c", self.etc, "abort"], capture_output=True, check=False)
        until("Postfix to end", lambda: not os.path.exists(f"/proc/{pid}"))

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def messages(self, user):
        out = []
        for path in sorted(glob.glob(os.path.join(self.mail, user, "new", "*"))):
            with open(path, "rb") as f:
                out.append(email.message_from_bytes(f.read()))
        return out

    def wait(self, user, n, seconds=None):
        return until(lambda: f"{n} messages for {user}, not {len(self.messages(user))}:\n{self.log()[-3000:]}",
                     lambda: (lambda m: m if len(m) >= n else None)(self.messages(user)), seconds)
