#!/usr/bin/python3
"""sink.py HOST PORT DIR NAME: a small SMTP server that keeps each message as a file in DIR.

It stands for the mail servers of one forest in the quick start. DIR/NNNN.eml is the content exactly as
received; DIR/NNNN.json the envelope. The envelope is written last, by a rename, so whoever sees it sees all.
"""
import asyncio
import json
import os
import sys

from aiosmtpd.smtp import SMTP


class Keep:
    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        base = os.path.join(self.folder, f"{self.count:04d}")
        with open(base + ".eml", "wb") as f:
            f.write(envelope.original_content)
        with open(base + ".tmp", "w", encoding="utf-8") as f:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos,
                       "options": envelope.mail_options}, f)
        os.rename(base + ".tmp", base + ".json")
        return f"250 2.0.0 kept as {self.count:04d}"


async def main():
    host, port, folder, name = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.makedirs(folder, exist_ok=True)
    keep = Keep(folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keep, hostname=name, ident="demo forest", enable_SMTPUTF8=True,
                     data_size_limit=100 << 20), host, port)
    await server.serve_forever()

asyncio.run(main())
