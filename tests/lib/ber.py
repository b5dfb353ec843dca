"""As much of BER as LDAP needs (RFC 4511 5.1): definite lengths, one octet of tag."""


def tlv(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def sequence(*parts, tag=0x30):
    return tlv(tag, *parts)


def octets(value, tag=0x04):
    return tlv(tag, value.encode() if isinstance(value, str) else bytes(value))


def integer(value, tag=0x02):
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def enumerated(value):
    return integer(value, 0x0A)


def boolean(value):
    return tlv(0x01, b"\xff" if value else b"\0")


def number(content):
    return int.from_bytes(content, "big", signed=True)


def items(data):
    """[(tag, content)] of the elements that follow each other in data."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= 0x80:
            n, at = length & 0x7F, at + (length & 0x7F)
            length = int.from_bytes(data[at - n:at], "big")
        found.append((tag, data[at:at + length]))
        at += length
    return found


def read_message(stream):
    """The content of the next element of a binary file, or None at its end."""
    head = stream.read(2)
    if len(head) < 2:
        return None
    length = head[1]
    if length >= 0x80:
        length = int.from_bytes(stream.read(length & 0x7F), "big")
    content = stream.read(length)
    return content if len(content) == length else None
