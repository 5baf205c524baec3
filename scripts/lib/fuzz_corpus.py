# SPDX-License-Identifier: MIT
"""The seeds of the fuzz targets: making them anew, and what they must cover."""

import json
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
CORPUS = TOP / "tests/fuzz/corpus"
REGRESSIONS = TOP / "tests/fuzz/regressions"
FAULTS = TOP / "tests/data/faults"
OPERATION_FIRST = 16  # field numbers of Request below this belong to the envelope
DATAGRAM_HEAD, RECORD_HEAD, SCRIPT_SEND = 1, 4, 0  # tests/fuzz/script.h
STATE_RAW, STATE_SETTLED, STATE_SUMLESS, STATE_SPARSE, STATE_KILLED = 1, 2, 4, 8, 16  # tests/fuzz/state_image.h
STATE_SET, STATE_ADD, STATE_BYTE, STATE_COPY, STATE_CUT = range(5)
STATE_FIELDS_END = 64  # bytes of a record, behind which there is little
CONNECT, ALLOCATE, FREE, AGAIN, REUSE, LIE, RESTART, LEAVE, TIME, HAND_OVER = range(10)  # tests/fuzz/fuzz_resume.c
CLIENTS = 3
SLOTS = {"REPLIES": "reply"}

EXAMPLE = re.compile(r"^```json\n(.*?)^```", re.M | re.S)


# ---------------------------------------------------------------- making them

def record(recorder):
    """Datagrams and scripts of the real client; the program is of a build without libFuzzer."""
    for name in ("datagram", "dispatch"):
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        (CORPUS / name).mkdir(parents=True)
    subprocess.run([str(recorder), str(CORPUS)], check=True)
    drop_twins(CORPUS / "datagram")


def drop_twins(folder):
    """Two of a kind are enough: scripts have all of them."""
    kinds = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        kept = kinds.setdefault(tuple(operations(content)), set())
        if content in kept or len(kept) == 2:
            path.unlink()
        kept.add(content)


def leaves(value, path=()):
    """Every key of a configuration, as (keys that lead to it, its value)."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, path + (key,))
    else:
        yield path, value


def documented():
    """The examples of the documentation that are configurations."""
    for text in EXAMPLE.findall((TOP / "docs/CONFIGURATION.md").read_text()):
        yield json.loads(text)


def record_configurations():
    """The documented examples, and each of their keys alone."""
    folder = CORPUS / "config"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "empty").write_text("{}\n")
    for number, example in enumerate(documented(), 1):
        (folder / f"example-{number}").write_text(json.dumps(example, indent=1) + "\n")
        for path, value in leaves(example):
            for key in reversed(path):
                value = {key: value}
            (folder / "-".join(path)).write_text(json.dumps(value) + "\n")


def state_fields():
    """Bytes of a slot of each table, in their order (src/state.h)."""
    text = (TOP / "src/state.h").read_text()
    sizes = dict(re.findall(r"^ASSERT_SIZE\(struct (\w+)_slot, (\d+)\);", text, re.M))
    tables = re.findall(r"^\tSTATE_(\w+),", re.search(r"^enum state_table {(.*?)^}", text, re.M | re.S)[1], re.M)
    return [int(sizes[SLOTS.get(table) or table.lower().removesuffix("s")]) for table in tables if table != "TABLES"]


# What else can be patched, behind the tables (tests/fuzz/state_image.h).
HEADER = len(state_fields())
LOG = HEADER + 1


def state_patch(place, slot, offset, kind, number):
    """tests/fuzz/state_image.h"""
    return struct.pack("<BBBBI", place, slot, offset // 4, kind, number & 0xffffffff)


def golden_head():
    """The header of a file that an earlier version wrote."""
    head = bytearray(4096)
    for line in (TOP / "tests/data/state/version-2").read_text().splitlines():
        place, _, digits = line.partition(" ")
        if place != "size" and int(place, 16) + len(digits) // 2 <= len(head):
            at = int(place, 16)
            head[at:at + len(digits) // 2] = bytes.fromhex(digits)
    return bytes(head).rstrip(b"\0")


def record_states():
    """The file as it is, each field of its records with another value, each way to be no such file."""
    folder = CORPUS / "state"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for flags in (0, STATE_SETTLED, STATE_SETTLED | STATE_KILLED):
        for hardware in (0, 1, 2, 0xa8):
            (folder / f"as-it-is-{flags}-{hardware}").write_bytes(bytes((flags, hardware)))
    for table, size in enumerate(state_fields()):
        for offset in range(0, min(size, STATE_FIELDS_END), 4):
            (folder / f"table-{table}-{offset}-all").write_bytes(
                bytes((STATE_SETTLED, 0)) + state_patch(table, 0, offset, STATE_SET, -1))
        for value in range(6):  # states: the lowest bits of the word
            (folder / f"table-{table}-state-{value}").write_bytes(
                bytes((0, 0)) + state_patch(table, 0, 0, STATE_BYTE, value | 0x10))
        for other in range(1, 4):
            (folder / f"table-{table}-twice-{other}").write_bytes(
                bytes((STATE_SETTLED, 0)) + state_patch(table, other, 0, STATE_COPY, 0))
    for offset in (0, 8, 12, 16, 32, 40, 48, 56, 60, 64, 192, 224, 256, 368):
        for flags in (0, STATE_SUMLESS):
            (folder / f"header-{offset}-{flags}").write_bytes(
                bytes((flags, 0)) + state_patch(HEADER, 0, offset, STATE_ADD, 1))
    for entry in range(3):
        (folder / f"log-{entry}").write_bytes(bytes((0, 0)) + state_patch(LOG, entry, 0, STATE_ADD, 8))
    for length in (0, 7, 40, 191, 4096, 70000):
        (folder / f"cut-{length}").write_bytes(bytes((0, 0)) + state_patch(HEADER, 0, 0, STATE_CUT, length))
    (folder / "raw").write_bytes(bytes((STATE_RAW, 0)) + golden_head())
    (folder / "raw-sparse").write_bytes(bytes((STATE_RAW | STATE_SPARSE, 0)) + golden_head())


def record_audits():
    """Audit trails: of each kind a record, in the three rings; and what is no trail (tests/fuzz/fuzz_audit.c)."""
    folder = CORPUS / "audit"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kinds = [int(n) for n in re.findall(r"CHANGE_\w+ = (\d+)", (TOP / "src/broker_change.h").read_text())]
    kinds += [int(n) for n in re.findall(r"AUDIT_\w+ = (\d+),", (TOP / "src/audit.h").read_text()) if int(n) >= 64]

    def audit_record(number, kind):
        return struct.pack("<QQQQIIIIIIIBBBB64s", number, 1000 * number, 1 + number % 3, number % 2, 0, 1024 + number % 4,
                           5, 1000, 42, number % 5, 7 + number // 30, kind, 48 + number % 4, 20, 3, b"vm1")

    records = [audit_record(number, kind) for number, kind in enumerate(kinds, 1)]
    for start in range(0, len(records), 12):
        (folder / f"records-{start}").write_bytes(b"\x0f" + bytes(64) + b"".join(records[start : start + 12]))
    (folder / "twice").write_bytes(b"\x0f" + bytes(64) + records[0] * 4)
    (folder / "torn").write_bytes(b"\x0b" + bytes(64) + b"".join(records[:4]))
    (folder / "packed").write_bytes(b"\x07" + bytes(64) + b"".join(records[:9]))
    (folder / "raw").write_bytes(b"\x10PASIDAUD" + bytes(100))
    (folder / "empty").write_bytes(b"")


def record_resumes():
    """Daemons that die now, between two requests, and before any of the stores that a request makes."""
    folder = CORPUS / "resume"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun = [(CONNECT, 0, 0), (CONNECT, 1, 0)] + [(ALLOCATE, 0, 0)] * 4 + [(ALLOCATE, 1, 0)]
    asked = [(CONNECT, 0, 0), (CONNECT, 1, 0)] + [(AGAIN, 0, n) for n in range(6)] + [(REUSE, 0, 1), (LIE, 1, 0)]
    histories = {
        "restart": [(RESTART, 0, 0)],
        "twice": [(FREE, 0, 1), (RESTART, 0, 0), (CONNECT, 0, 0), (ALLOCATE, 0, 0), (RESTART, 0, 0)],
        "lost": [(LEAVE, 0, 0), (LIE, 1, 0), (LIE, 2, CLIENTS), (CONNECT, 0, 0)],
        "late": [(LEAVE, 0, 0), (TIME, 0, 200), (RESTART, 0, 0), (TIME, 0, 240), (CONNECT, 0, 0)],
        "hand-over": [(HAND_OVER, 0, 0), (ALLOCATE, 0, 0), (RESTART, 0, 0), (CONNECT, 0, 0), (HAND_OVER, 0, 0), (LIE, 2, 0)],
        "too-late": [(RESTART, 0, 0), (TIME, 0, 255), (LIE, 2, 0)],
    }
    for stores in range(1, 7):
        histories[f"dies-allocating-{stores}"] = [(RESTART, 0, stores), (ALLOCATE, 0, 0)]
        histories[f"dies-freeing-{stores}"] = [(RESTART, 0, stores), (FREE, 0, 1)]
        histories[f"dies-handing-over-{stores}"] = [(RESTART, 0, stores), (HAND_OVER, 0, 0)]
    for name, history in histories.items():
        (folder / name).write_bytes(bytes(byte for step in begun + history + asked for byte in step))
    for stores in (2, 5, 9):
        (folder / f"dies-at-hello-{stores}").write_bytes(bytes(
            byte for step in [(RESTART, 0, stores), *begun, *asked] for byte in step))


def record_faults():
    """The kernel's lines in each of its formats, as the tests have them."""
    folder = CORPUS / "fault"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in FAULTS.glob("*.log"):
        (folder / path.stem).write_bytes(path.read_bytes())


def thin_states(program):
    """Of the states those that reach something that no other does, and one of each table."""
    folder = CORPUS / "state"
    with tempfile.TemporaryDirectory() as kept:
        subprocess.run([str(program), "-set_cover_merge=1", kept, str(folder)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        contents = {path.read_bytes() for path in pathlib.Path(kept).iterdir()}
    for path in sorted(folder.iterdir()):
        if path.read_bytes() not in contents and not re.fullmatch(r"table-\d+-state-0", path.name):
            path.unlink()


# ---------------------------------------------------------------- what they cover

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, content) of each field; content is bytes or a number."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        yield tag >> 3, value


def operations(datagram):
    """The operations in a datagram that the client made."""
    for number, request in fields(datagram):
        if number == 1:
            yield from (n for n, _ in fields(request) if n >= OPERATION_FIRST)


def script_datagrams(script):
    at = 1
    while at + RECORD_HEAD <= len(script):
        size = script[at + 2] | script[at + 3] << 8
        content = script[at + RECORD_HEAD:at + RECORD_HEAD + size]
        if script[at] == SCRIPT_SEND:
            yield content[DATAGRAM_HEAD + 2 * content[0]:]
        at += RECORD_HEAD + size


def protocol():
    """The operations of the protocol: {number: name}."""
    text = (TOP / "proto/pasid.proto").read_text()
    request = re.search(r"^message Request {.*?^  oneof operation {(.*?)^  }", text, re.M | re.S)[1]
    return {int(number): name for name, number in re.findall(r"(\w+) = (\d+);", request)}


def check():
    """What is missing, as sentences."""
    files = {name: sorted((CORPUS / name).iterdir()) for name in ("datagram", "dispatch", "config")}
    recorded = {
        "datagram": {n for path in files["datagram"] for n in operations(path.read_bytes())},
        "dispatch": {n for path in files["dispatch"] for datagram in script_datagrams(path.read_bytes())
                     for n in operations(datagram)},
    }
    missing = [f"corpus/{name}: no {operation} ({number}); record it in tests/fuzz/record_*.c"
               for name, found in recorded.items()
               for number, operation in protocol().items() if number not in found]
    found = {path.name.rsplit("-", 2)[0] for path in (CORPUS / "state").iterdir()}
    tables = [f"table-{table}" for table in range(len(state_fields()))]
    missing += [f"corpus/state: nothing about {table}; scripts/fuzz --record" for table in tables
                if table not in found]
    missing += [f"corpus/fault: not {path.name}; scripts/fuzz --record" for path in sorted(FAULTS.glob("*.log"))
                if not (CORPUS / "fault" / path.stem).exists()]
    keys = {path for file in files["config"] for path, _ in leaves(json.loads(file.read_text()))}
    wanted = {path for example in documented() for path, _ in leaves(example)}
    missing += [f"corpus/config: no {'.'.join(path)}; scripts/fuzz --record" for path in sorted(wanted - keys)]
    total = sum(path.stat().st_size for name in files for path in files[name])
    if total > 1 << 20:
        missing.append(f"corpus: {total} bytes, at most a megabyte")
    return missing, len(wanted) + 2 * len(protocol()) + len(tables) + len(list(FAULTS.glob("*.log")))
