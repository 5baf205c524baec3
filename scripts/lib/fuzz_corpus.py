# SPDX-License-Identifier: MIT
"""The seeds of the fuzz targets: making them anew, and what they must cover."""

import json
import pathlib
import re
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
CORPUS = TOP / "tests/fuzz/corpus"
REGRESSIONS = TOP / "tests/fuzz/regressions"
OPERATION_FIRST = 16  # field numbers of Request below this belong to the envelope
DATAGRAM_HEAD, RECORD_HEAD, SCRIPT_SEND = 1, 4, 0  # tests/fuzz/script.h

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
    missing = [f"corpus/{name}: no {operation} ({number}); record it in tests/fuzz/record_scenes.c"
               for name, found in recorded.items()
               for number, operation in protocol().items() if number not in found]
    keys = {path for file in files["config"] for path, _ in leaves(json.loads(file.read_text()))}
    wanted = {path for example in documented() for path, _ in leaves(example)}
    missing += [f"corpus/config: no {'.'.join(path)}; scripts/fuzz --record" for path in sorted(wanted - keys)]
    total = sum(path.stat().st_size for name in files for path in files[name])
    if total > 1 << 20:
        missing.append(f"corpus: {total} bytes, at most a megabyte")
    return missing, len(wanted) + 2 * len(protocol())
