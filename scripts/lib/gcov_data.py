# SPDX-License-Identifier: MIT
"""What gcov counted in a build: for each file of the project its lines and their branches."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess

ASSERTION = re.compile(r"\b(assert|_Static_assert)\s*\(")
LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"' r"|'(?:[^'\\\n]|\\.)*'" r"|/\*.*?\*/|//[^\n]*", re.S)


class Line:
    """A line that has code: how often it ran, and each of its branches (of all programs that have it)."""

    def __init__(self):
        self.count = 0
        self.branches = []
        self.functions = set()

    def add(self, line):
        self.count += line["count"]
        self.functions.add(line.get("function_name"))
        taken = [branch["count"] for branch in line["branches"] if not branch["throw"]]
        if len(taken) == len(self.branches):
            self.branches = [a + b for a, b in zip(self.branches, taken)]
        elif len(taken) > len(self.branches):  # elsewhere a part of it was not compiled
            self.branches = taken

    def missing(self):
        """The numbers of the branches that nothing took."""
        return [number for number, count in enumerate(self.branches) if count == 0]


def clear(build):
    for path in pathlib.Path(build).rglob("*.gcda"):
        path.unlink()


def plain(text):
    """The same text, as long and in as many lines, without what stands in strings and comments."""
    return LITERAL.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def closing(text, start):
    """Where the bracket that opens at `start` of a plain text is closed."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return len(text)


def _read(path):
    run = subprocess.run(["gcov", "--branch-probabilities", "--json-format", "--stdout", path.name], cwd=path.parent,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
    return [json.loads(text) for text in run.stdout.splitlines() if text.startswith("{")]


def _assertions(path):
    """The numbers of all lines that an assertion takes."""
    text = plain(path.read_text())
    found = set()
    for match in ASSERTION.finditer(text):
        end = closing(text, match.end() - 1)
        found.update(range(text.count("\n", 0, match.start()) + 1, text.count("\n", 0, end) + 2))
    return found


def _merge(top, folders, documents):
    files = {}
    for document in documents:
        folder = document["current_working_directory"]
        for entry in document["files"]:
            path = pathlib.Path(os.path.normpath(os.path.join(folder, entry["file"])))
            if any(path.is_relative_to(top / name) for name in folders):
                lines = files.setdefault(str(path.relative_to(top)), {})
                for line in entry["lines"]:
                    lines.setdefault(line["line_number"], Line()).add(line)
    return files


def read(build, top, folders):
    """{file: {line number: Line}} of these folders of the project; lines of assertions are left out."""
    # A program that never ran has notes and no data; gcov then says that all of it is missing.
    notes = sorted(pathlib.Path(build).rglob("*.gcno"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        documents = [document for some in pool.map(_read, notes) for document in some]
    files = _merge(pathlib.Path(top), folders, documents)
    for name, lines in files.items():
        for number in _assertions(pathlib.Path(top, name)):
            lines.pop(number, None)
    return files
