# SPDX-License-Identifier: MIT
"""Compares what gcov counted with scripts/lib/coverage_rules.py, and prints what is missed."""

import fnmatch
import math
import pathlib
import re

import coverage_rules
import gcov_data

NAMED_MAX = 12  # missed lines and branches that one line of the report names


def percent(reached, all_of_it):
    """Rounded down: 100.0 is all of it."""
    return math.floor(1000 * reached / all_of_it) / 10 if all_of_it else 100.0


class Count:
    """Lines and branches of some files, and how many of them were reached or are excused."""

    def __init__(self):
        self.lines = self.reached_lines = self.branches = self.reached_branches = 0

    def add(self, other):
        self.lines += other.lines
        self.reached_lines += other.reached_lines
        self.branches += other.branches
        self.reached_branches += other.reached_branches

    def line_percent(self):
        return percent(self.reached_lines, self.lines)

    def branch_percent(self):
        return percent(self.reached_branches, self.branches)


class File:
    """One file: what was missed in it, without what is excused."""

    def __init__(self, lines):
        self.count = Count()
        self.lines = []
        self.branches = []  # (line, number)
        for number, line in sorted(lines.items()):
            self.count.lines += 1
            self.count.reached_lines += line.count > 0
            self.count.branches += len(line.branches)
            self.count.reached_branches += len(line.branches) - len(line.missing())
            if line.count == 0:
                self.lines.append(number)
            self.branches += [(number, branch) for branch in line.missing()]

    def excuse(self, numbers):
        """How many misses are in these lines; they count as reached from now on."""
        lines = [number for number in self.lines if number in numbers]
        branches = [branch for branch in self.branches if branch[0] in numbers]
        self.count.reached_lines += len(lines)
        self.count.reached_branches += len(branches)
        self.lines = [number for number in self.lines if number not in numbers]
        self.branches = [branch for branch in self.branches if branch[0] not in numbers]
        return len(lines) + len(branches)

    def text(self, with_branches=True):
        """What is missed; the branches of a line that is missed itself go without saying."""
        named = [str(number) for number in self.lines]
        if with_branches:
            named += [f"{line}:{branch}" for line, branch in self.branches if line not in self.lines]
        more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
        return " ".join(named[:NAMED_MAX]) + more


def statement_lines(text, start):
    """The numbers of the lines of a plain text's statement that begins at `start`, with what depends on it."""
    at = start
    while at < len(text) and text[at] not in ";{":
        at = gcov_data.closing(text, at) + 1 if text[at] in "([" else at + 1
    if at < len(text) and text[at] == "{":
        at = gcov_data.closing(text, at)
    return set(range(text.count("\n", 0, start) + 1, text.count("\n", 0, at) + 2))


def excused_lines(path, function, text):
    """The lines of the statement of this function that begins with this text; None when there is none, or several."""
    source = path.read_text()
    body = re.search(rf"^[a-z_][^;{{}}()]*\b{re.escape(function)}\([^;{{]*\)\n\{{", source, re.M)
    if not body:
        return None
    end = source.index("\n}", body.end())
    found = [match.start(1) for match in re.finditer(rf"^\s*({re.escape(text)})", source, re.M)
             if body.end() <= match.start(1) < end]
    return statement_lines(gcov_data.plain(source), found[0]) if len(found) == 1 else None


def is_core(name):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in coverage_rules.CORE)


class Report:
    """What was counted, file by file."""

    def __init__(self, top, data):
        self.top = pathlib.Path(top)
        self.data = data
        self.files = {name: File(lines) for name, lines in sorted(data.items())}

    def excuse(self):
        """Takes away what is excused; what is wrong with the excuses."""
        problems = []
        for name, function, text, _ in coverage_rules.EXCUSED:
            lines = excused_lines(self.top / name, function, text) if name in self.files else None
            where = f"scripts/lib/coverage_rules.py excuses '{text}' of {function}() in {name}"
            if lines is None:
                problems.append(f"{where}, which is not there, or not once")
            elif not self.files[name].excuse(lines):
                problems.append(f"{where}, which is reached")
        return problems

    def leave_out(self):
        """Takes files away of which nothing can be reached; what is wrong with that."""
        problems = []
        for name, _ in coverage_rules.LEFT_OUT:
            file = self.files.pop(name, None)
            if file is None or file.count.reached_lines:
                state = "is reached" if file else "is not there"
                problems.append(f"scripts/lib/coverage_rules.py leaves out {name}, which {state}")
        return problems

    def check_core(self):
        problems, total, below = self.excuse(), Count(), 0
        for name in filter(is_core, self.files):
            file = self.files[name]
            total.add(file.count)
            if file.lines or file.branches:
                below += 1
                print(f"{name}: {file.count.line_percent()} % of the lines, {file.count.branch_percent()} % of the "
                      f"branches; missed: {file.text()}")
        print(f"core: {total.line_percent()} % of the lines, {total.branch_percent()} % of the branches"
              + (f"; {len(coverage_rules.EXCUSED)} statements are excused" if coverage_rules.EXCUSED else ""))
        if total.lines == 0:
            problems.append("nothing of the core was compiled")
        return problems + ([f"files of the core are not reached as a whole: {below}"] if below else [])

    def check_whole(self):
        problems, total = self.leave_out(), Count()
        for name, file in self.files.items():
            total.add(file.count)
            if file.count.line_percent() < coverage_rules.WHOLE_LINES:
                print(f"{name}: {file.count.line_percent()} % of the lines; missed: {file.text(False)}")
        print(f"whole: {total.line_percent()} % of the lines")
        if total.line_percent() < coverage_rules.WHOLE_LINES:
            problems.append(f"{coverage_rules.WHOLE_LINES} % of the lines of the whole are asked for")
        return problems

    def show(self, name):
        """Each line of a file that was missed, or goes on in too few ways."""
        if name not in self.files:
            print(f"{name}: nothing was compiled from it")
            return
        source = (self.top / name).read_text().splitlines()
        for number in sorted(set(self.files[name].lines) | {line for line, _ in self.files[name].branches}):
            line = self.data[name][number]
            ways = "" if not line.count else f" {line.missing()} of {len(line.branches)}"
            print(f"{name}:{number}: {'missed' if not line.count else 'branches'}{ways}: {source[number - 1].strip()}")
