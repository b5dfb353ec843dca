"""Changes attributes of many entries over one connection, several at a time, and says when each was done: what ldapmodify
does not tell."""
import socket
import time

import ber

REPLACE = 2
SUCCESS = 0


class Modifier:
    def __init__(self, port, bind, password, host="127.0.0.1"):
        self.s = socket.create_connection((host, port), 30)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile("rb")
        self.number = 0
        self.send(ber.sequence(ber.integer(3), ber.octets(bind), ber.octets(password, tag=0x80), tag=0x60))
        self.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()
        self.s.close()

    def send(self, operation):
        self.number += 1
        self.s.sendall(ber.sequence(ber.integer(self.number), operation))
        return self.number

    def result(self):
        """The number of the next request that is done."""
        content = ber.read_message(self.f)
        if content is None:
            raise ConnectionError("the directory server closed the connection")
        number, (_, answer) = ber.items(content)[:2]
        code, _, text = ber.items(answer)[:3]
        if ber.number(code[1]) != SUCCESS:
            raise RuntimeError(f"the directory server answered {ber.number(code[1])}: {text[1].decode()}")
        return ber.number(number[1])

    def replace(self, changes, attribute, window=8):
        """changes: [(DN, value)]. [(sent, done)] in their order, monotonic nanoseconds."""
        times, index, waiting = [None] * len(changes), {}, 0

        def take():
            i = index.pop(self.result())
            times[i] = (times[i], time.monotonic_ns())
        for i, (dn, value) in enumerate(changes):
            if waiting == window:
                take()
                waiting -= 1
            change = ber.sequence(ber.enumerated(REPLACE), ber.sequence(
                ber.octets(attribute), ber.tlv(0x31, ber.octets(value))))
            times[i] = time.monotonic_ns()
            index[self.send(ber.sequence(ber.octets(dn), ber.sequence(change), tag=0x66))] = i
            waiting += 1
        while index:
            take()
        return times
