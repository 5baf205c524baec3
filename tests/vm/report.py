# SPDX-License-Identifier: MIT
"""Prints checks as they are made, and counts them."""

import contextlib
import time


class Report:
    """A line a check: "ok N - what" or "not ok N - what", with the reasons below it."""

    def __init__(self, verbose=True):
        self.passed = 0
        self.failed = 0
        self.verbose = verbose
        self.figures = ""
        self._start = time.monotonic()

    def step(self, title):
        print(f"\n# {title} ({time.monotonic() - self._start:.1f} s)", flush=True)

    def note(self, text):
        if self.verbose:
            print("".join(f"#   {line}\n" for line in text.splitlines()), end="", flush=True)

    def check(self, good, what, reasons=()):
        """Counts a check; `reasons` are lines that say why it failed."""
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'ok' if good else 'not ok'} {self.passed + self.failed} - {what}", flush=True)
        if not good:
            print("".join(f"#     {reason}\n" for reason in reasons), end="", flush=True)
        return good

    def equal(self, found, wanted, what):
        return self.check(found == wanted, what, [f"wanted {wanted!r}", f"found  {found!r}"])

    def none(self, problems, what):
        """Passes when there is no problem."""
        problems = list(problems)
        return self.check(not problems, what, problems)

    @contextlib.contextmanager
    def guard(self, what):
        """An exception inside is one failed check, not the end of the program."""
        try:
            yield
        except Exception as error:  # whatever went wrong, the count must show it
            self.check(False, what, [f"{type(error).__name__}: {error}"])

    def figure(self, line):
        """A measured figure, for whoever asked for figures."""
        self.figures += line
        self.note(line)

    def finish(self):
        """Prints the last line; the exit status of the program."""
        if self.passed + self.failed == 0:
            self.check(False, "at least one check was made")
        print(f"\n{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0
