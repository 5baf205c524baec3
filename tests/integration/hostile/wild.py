# SPDX-License-Identifier: MIT
"""Requests of every operation with values that are sometimes right, sometimes nearly, and mostly absurd.

Made from the description of the protocol, so that operations and fields that are added later are attacked as well.
"""

from pasid_client import pb

NUMBERS = (0, 1, 2, 3, 7, 8, 64, 255, 256, 257, 1023, 1024, 4095, 4096, 4097, 1 << 16, (1 << 20) - 1, 1 << 20,
           (1 << 20) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
LARGE = NUMBERS + (1 << 32, (1 << 40) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
TEXTS = ("", "a", "x" * 64, "x" * 65, "../../etc/passwd", "0000:00:01.0", "ffff:ff:1f.7", "%n%s", "\u00fc" * 32, "-")

OPERATIONS = {
    field.name: field for field in pb.Request.DESCRIPTOR.oneofs_by_name["operation"].fields
}
DESCRIPTORS = {"device_add": (1, 2), "memory_map": (1,)}


def is_list(field):
    return field.label == field.LABEL_REPEATED


class Wild:
    """Fills messages. `known` has values for fields of a name, such as device ids; they are taken half of the time."""

    def __init__(self, rng, known=None):
        self.rng = rng
        self.known = known or {}

    def value(self, field):
        text = field.type == field.TYPE_STRING
        candidates = [value for value in self.known.get(field.name, ()) if isinstance(value, str) == text]
        if candidates and self.rng.random() < 0.5:
            return self.rng.choice(candidates)
        if field.type == field.TYPE_STRING:
            return self.rng.choice(TEXTS)
        if field.type == field.TYPE_BYTES:
            return self.rng.randbytes(self.rng.choice((0, 1, 15, 16, 17, 64, 65, 300)))
        if field.type == field.TYPE_BOOL:
            return self.rng.random() < 0.5
        if field.type == field.TYPE_ENUM:
            return self.rng.choice((0, 1, 2, 3, 4, 5, 99, -1, (1 << 31) - 1))
        if field.type == field.TYPE_UINT32:
            return self.rng.choice(NUMBERS)
        if field.type == field.TYPE_INT32:
            return self.rng.choice((-1, 0, 1, (1 << 31) - 1))
        return self.rng.choice(LARGE)

    def fill(self, message, share=0.6):
        for field in message.DESCRIPTOR.fields:
            if self.rng.random() > share:
                continue
            if field.type == field.TYPE_MESSAGE:
                targets = [getattr(message, field.name)]
                if is_list(field):
                    targets = [targets[0].add() for _ in range(self.many())]
                for target in targets:
                    if not is_list(field):
                        target.SetInParent()
                    self.fill(target, 0.8)
            elif is_list(field):
                getattr(message, field.name).extend(self.value(field) for _ in range(self.many()))
            else:
                setattr(message, field.name, self.value(field))
        return message

    def many(self):
        return self.rng.choice((0, 1, 1, 1, 2, 3, 31, 32, 33))

    def request(self, request_id, operations=None):
        name = self.rng.choice(operations or tuple(OPERATIONS))
        request = pb.Request(id=request_id)
        message = getattr(request, name)
        message.SetInParent()
        self.fill(message)
        if self.rng.random() < 0.2:
            request.deadline_ms = self.rng.choice((0, 1, 100, (1 << 32) - 1))
        return request


def mutate(rng, data):
    """The bytes with a few of them changed, lost, repeated or moved."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        at = rng.randrange(len(data))
        action = rng.randrange(6)
        if action == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif action == 2:
            del data[at : at + rng.choice((1, 1, 4, 64))]
        elif action == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 10)))
        elif action == 4:
            data[at:at] = data[at : at + rng.choice((1, 8, 64))]
        else:
            data[at:at] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    return bytes(data)


# ---------------------------------------------------------------------------------- bytes that no encoder would make


def varint(number):
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def field_bytes(number, content):
    """A field of any message with some bytes in it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def field_number(number, value):
    return varint(number << 3) + varint(value)


def raw_request(request_id, operation, body=b"", extra=b""):
    """A request in its envelope, made by hand."""
    inner = field_number(1, request_id) + extra + field_bytes(operation, body)
    return field_bytes(1, inner)
