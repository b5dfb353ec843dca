"""A DNS server for tests: answers MX and A from a dictionary; can be silent or broken. UDP and TCP on one port."""
import socket
import struct
import threading

A, MX, AAAA = 1, 15, 28
NXDOMAIN, SERVFAIL = "NXDOMAIN", "SERVFAIL"


def pack_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


def read_name(data, at):
    parts = []
    while data[at]:
        parts.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(parts).lower(), at + 1


class Dns:
    """records: {(name, type): [values] or NXDOMAIN or SERVFAIL}; MX values are (preference, host). Names that are
    not there do not exist. `silent` drops every question; if it is a name, those in that domain."""

    def __init__(self, records):
        self.records = records
        self.silent = False
        self.asked = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def stop(self):
        self.udp.close()

    def serve(self):
        while True:
            try:
                data, peer = self.udp.recvfrom(4096)
                answer = self.answer(data)
                if answer:
                    self.udp.sendto(answer, peer)
            except (OSError, IndexError, struct.error):
                if self.udp.fileno() < 0:
                    return

    def answer(self, data):
        name, at = read_name(data, 12)
        kind = struct.unpack(">H", data[at:at + 2])[0]
        self.asked.append((name, kind))
        if self.silent is True or (self.silent and name.endswith("." + self.silent)):
            return None
        known = any(n == name for n, _ in self.records)
        found = self.records.get((name, kind), [] if known else NXDOMAIN)
        code = {NXDOMAIN: 3, SERVFAIL: 2}.get(found, 0) if isinstance(found, str) else 0
        values = [] if isinstance(found, str) else found
        out = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(values), 0, 0) + data[12:at + 4]
        for v in values:
            rdata = socket.inet_aton(v) if kind == A else struct.pack(">H", v[0]) + pack_name(v[1])
            out += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(rdata)) + rdata
        return out
