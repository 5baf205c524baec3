# SPDX-License-Identifier: MIT
"""Reads what the guest's kernel says of VT-d's tables.

Its debugfs file iommu/intel/dmar_translation_struct prints, for each IOMMU, the address of the root
table and then one line an entry: function, root entry, context entry, PASID, and the first three
words of the PASID table entry, the last one first.
"""


import re

PATH = "/sys/kernel/debug/iommu/intel/dmar_translation_struct"

ROOT = re.compile(r"^IOMMU \S+: Root Table Address: (0x[0-9a-f]+)$")
ENTRY = re.compile(
    r"^(?P<bus>[0-9a-f]{2}):(?P<slot>[0-9a-f]{2})\.(?P<function>[0-7])\s+"
    r"0x[0-9a-f]+:0x[0-9a-f]+\s+0x[0-9a-f]+:0x[0-9a-f]+\s+"
    r"(?P<pasid>[0-9]+)\s+(?P<words>0x[0-9a-f]+:0x[0-9a-f]+:0x[0-9a-f]+)$"
)
HEADING = re.compile(r"^B\.D\.F\s")


class FormatError(Exception):
    """A line that this reader does not know: better to stop than to overlook an entry."""


def parse(text):
    """Root table addresses, and the three words of each entry by requester ID and PASID."""
    roots, entries = [], {}
    for line in text.splitlines():
        if match := ROOT.match(line):
            roots.append(int(match[1], 16))
        elif match := ENTRY.match(line):
            words = tuple(int(word, 16) for word in reversed(match["words"].split(":")))
            if words[0] & 1:
                entries[_rid(match), int(match["pasid"])] = words
        elif line.strip() and not HEADING.match(line):
            raise FormatError(f"debugfs has a line of unknown form: {line!r}")
    return roots, entries


def _rid(match):
    return int(match["bus"], 16) << 8 | int(match["slot"], 16) << 3 | int(match["function"])
