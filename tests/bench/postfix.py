"""Postfix as the relay to compare with: Debian's package, private folders, loopback ports.

Tuned by its own manual (TUNING_README): lmdb maps, connection cache on demand, no flow control of
the intake, no limits per client, a hundred processes, no DNS, no chroot. Nothing of the system's
own Postfix is read or changed.
"""

import os
import shutil
import subprocess

from load import DOMAIN
from procs import BenchError, banner, cpu_seconds, free_port, run, tree, wait_for

SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


class Postfix:
    name = "postfix"

    def __init__(self, folder, users, ports):
        self.folder = os.path.join(folder, "postfix")
        self.etc = os.path.join(self.folder, "etc")
        self.queue = os.path.join(self.folder, "queue")
        self.port = free_port()
        self.users = users
        self.ports = ports
        self.running = False

    def setup(self):
        for path in (self.etc, self.queue, os.path.join(self.folder, "data")):
            os.makedirs(path, 0o755)
        shutil.chown(os.path.join(self.folder, "data"), "postfix")
        with open(os.path.join(self.etc, "main.cf"), "w") as f:
            f.write("".join(f"{k} = {v}\n" for k, v in self.settings().items()))
        with open(os.path.join(self.etc, "master.cf"), "w") as f:
            f.write(SERVICES.format(port=self.port))
        with open(os.path.join(self.etc, "recipients"), "w") as names, \
                open(os.path.join(self.etc, "transport"), "w") as transport:
            for i in range(1, self.users + 1):
                names.write(f"{i}user@{DOMAIN} x\n")
                transport.write(f"{i}user@{DOMAIN} smtp:[127.0.0.1]:{self.ports[i % 2]}\n")
        for name in ("recipients", "transport"):
            run(["postmap", "-c", self.etc, "lmdb:" + os.path.join(self.etc, name)])

    def settings(self):
        return {
            "compatibility_level": "3.6",
            "queue_directory": self.queue,
            "data_directory": os.path.join(self.folder, "data"),
            "daemon_directory": "/usr/lib/postfix/sbin",
            "command_directory": "/usr/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": "relay.bench.test",
            "mydestination": "",
            "alias_maps": "",
            "local_recipient_maps": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "",
            "relay_domains": DOMAIN,
            "relay_recipient_maps": "lmdb:" + os.path.join(self.etc, "recipients"),
            "transport_maps": "lmdb:" + os.path.join(self.etc, "transport"),
            "lmdb_map_size": str(1 << 30),
            "smtpd_relay_restrictions": "reject_unauth_destination",
            "smtpd_recipient_restrictions": "",
            "smtpd_peername_lookup": "no",
            "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native",
            "in_flow_delay": "0",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_client_connection_rate_limit": "0",
            "smtpd_client_message_rate_limit": "0",
            "smtpd_client_event_limit_exceptions": "static:all",
            "default_process_limit": "100",
            "smtp_connection_cache_on_demand": "yes",
            "smtp_connection_cache_destinations": "127.0.0.1",
            "default_destination_concurrency_limit": "50",
            "minimal_backoff_time": "300s",
            "message_size_limit": "0",
            "biff": "no",
        }

    def start(self):
        # In its own session, so that its signals to its process group stay its own.
        done = subprocess.run(["postfix", "-c", self.etc, "start"], capture_output=True, text=True,
                              start_new_session=True)
        if done.returncode != 0:
            raise BenchError("postfix start: " + (done.stdout + done.stderr).strip()[-800:])
        self.running = True
        wait_for("Postfix's banner", lambda: banner(self.port))

    def stop(self):
        if self.running:
            subprocess.run(["postfix", "-c", self.etc, "abort"], capture_output=True)
            pid = self.pid()
            wait_for("Postfix's end", lambda: not os.path.exists(f"/proc/{pid}"), 30)
            self.running = False

    def wipe(self):
        """An empty queue: stopped, emptied, started."""
        self.stop()
        shutil.rmtree(self.queue)
        os.mkdir(self.queue, 0o755)
        self.start()

    def pid(self):
        with open(os.path.join(self.queue, "pid", "master.pid")) as f:
            return int(f.read())

    def cpu(self):
        return cpu_seconds(self.pid())

    def syncs(self, work):
        """Runs work() under strace and returns how many syncs all processes made meanwhile."""
        out = os.path.join(self.folder, "strace")
        pids = [x for pid in tree(self.pid()) for x in ("-p", str(pid))]
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", out, *pids],
            stderr=subprocess.DEVNULL)
        wait_for("strace", lambda: os.path.exists(out) and is_traced(self.pid()), 10)
        try:
            work()
        finally:
            tracer.terminate()
            tracer.wait()
        with open(out, errors="replace") as f:
            return sum("sync(" in line for line in f)


def is_traced(pid):
    with open(f"/proc/{pid}/status") as f:
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in f)
