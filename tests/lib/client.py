"""A small raw SMTP client: says exactly what the test wants, from the address it wants."""
import socket


class Client:
    def __init__(self, port, source="127.0.0.1", greet=True, timeout=30, host="127.0.0.1"):
        self.s = socket.create_connection((host, port), timeout, source_address=(source, 0))
        self.f = self.s.makefile("rb")
        self.banner = self.reply() if greet else None
        if greet:
            self.ehlo = self.cmd("EHLO client.test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.f.close()
        self.s.close()

    def raw(self, data):
        self.s.sendall(data)

    def line(self):
        return self.f.readline()

    def reply(self):
        """(code, text); code 0 when the connection was closed."""
        lines = []
        while True:
            try:
                line = self.f.readline()
            except ConnectionError:
                line = b""
            if not line.endswith(b"\n"):
                return 0, b" / ".join(lines).decode("utf-8", "replace")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b" / ".join(lines).decode("utf-8", "replace")

    def cmd(self, text):
        self.raw(text.encode("utf-8") + b"\r\n")
        return self.reply()

    def envelope(self, sender, *rcpts, params=""):
        code = self.cmd(f"MAIL FROM:<{sender}>{params}")
        assert code[0] == 250, code
        for r in rcpts:
            code = self.cmd(f"RCPT TO:<{r}>" if "<" not in r else "RCPT TO:" + r)
            assert code[0] == 250, (r, code)

    def content(self, data):
        """DATA with content that has CRLF line ends; dot-stuffed here. The final reply."""
        code = self.cmd("DATA")
        if code[0] != 354:
            return code
        if not data.endswith(b"\r\n"):
            data += b"\r\n"
        data = data.replace(b"\r\n.", b"\r\n..")
        if data.startswith(b"."):
            data = b"." + data
        self.raw(data + b".\r\n")
        return self.reply()

    def send(self, sender, rcpts, data, params=""):
        self.envelope(sender, *([rcpts] if isinstance(rcpts, str) else rcpts), params=params)
        return self.content(data)


def message(key, body=b"Hello.\r\n", subject=None):
    """A message that can be told from all others by its key."""
    return (f"From: <s@sender.test>\r\nTo: <r@example.test>\r\nSubject: {subject or key}\r\n"
            f"X-Key: {key}\r\nMessage-ID: <{key}@sender.test>\r\n\r\n").encode() + body
