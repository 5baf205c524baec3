# SPDX-License-Identifier: MIT
"""What the checks written in Python share: the tree to look at, its files, and how findings are told."""

import pathlib
import sys

FOLDERS = ("src", "client", "examples", "tools", "bench", "tests")


def root():
    """The tree to check: the first argument, or the checkout that this script is part of."""
    if len(sys.argv) > 2 or sys.argv[1:2] == ["--help"]:
        sys.exit(f"usage: {sys.argv[0]} [ROOT]")
    default = pathlib.Path(__file__).resolve().parents[2]
    return pathlib.Path(sys.argv[1]).resolve() if sys.argv[1:] else default


def c_files(top, folders=FOLDERS):
    """All .c and .h files below the given folders of the tree, in a stable order."""
    found = []
    for folder in folders:
        found += [p for p in (top / folder).rglob("*.[ch]") if p.is_file()]
    return sorted(found)


def finish(findings, looked_at):
    """Prints what was found; looking at nothing is a finding, too."""
    if not looked_at:
        findings = findings + ["nothing to look at: wrong folder?"]
    for line in findings:
        print(line)
    sys.exit(1 if findings else 0)
