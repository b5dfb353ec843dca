"""Stands between a client and a server and cuts the connection in the middle of an answer."""
import socket
import threading

from wait import free_port


def shut(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class TcpProxy:
    """Listens on the server's own address, so that certificates fit, unless `listen` is given. `limit`: so many octets of the server's pass on
    each connection, then it is cut; None: all."""

    def __init__(self, address, port, limit=None, listen=None):
        self.server, self.limit = (address, port), limit
        self.address = listen or address
        self.port = free_port(self.address)
        self.cuts = 0  # connections that reached the limit
        self.open = []
        self.listener = socket.create_server((self.address, self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def uri(self):
        return f"ldap://{self.address}:{self.port}"

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def cut(self):
        """Ends all connections."""
        for s in list(self.open):
            shut(s)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.server, 5)
            except OSError:
                client.close()
                continue
            self.open += [client, server]
            threading.Thread(target=self.copy, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, self.limit), daemon=True).start()

    def copy(self, origin, target, limit):
        passed = 0
        try:
            while data := origin.recv(16384):
                if limit is not None and passed + len(data) > limit:
                    target.sendall(data[:limit - passed])
                    self.cuts += 1
                    break
                target.sendall(data)
                passed += len(data)
        except OSError:
            pass
        shut(origin)
        shut(target)
