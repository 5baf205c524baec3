# SPDX-License-Identifier: MIT
"""The table of docs/FEATURES.md, and where the tests that it names are."""

import dataclasses
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[2]
TABLE = TOP / "docs" / "FEATURES.md"
COUNT = 47
ROW = re.compile(r"^\| F(\d+) \| ([^|]+) \| ([^|]+) \|$")
TEST = re.compile(r"`(unit|integration|vm) ([a-z_0-9-]+)(?: ([a-z_0-9]+))?`")
# How a test begins in its file; what stands above and in it, to the next one, is its text.
BEGINS = {"unit": re.compile(r"(?m)^START_TEST\((\w+)\)"), "integration": re.compile(r"(?m)^    def (test_\w+)\(")}
SCENARIOS = {
    "vtd": ("scenario_pasidd.py",), "scopes": ("scenario_scopes.py",), "restart": ("scenario_restart.py",),
    "service": ("scenario_service.py",),
    "iommufd-selftest": ("scenario_selftest.py", "scenario_selftest_pasidd.py"),
    "smmuv3": ("scenario_smmuv3_pasidd.py",),
}


@dataclasses.dataclass(frozen=True)
class Test:
    kind: str
    file: str
    name: str

    def __str__(self):
        return " ".join(filter(None, (self.kind, self.file, self.name)))


@dataclasses.dataclass(frozen=True)
class Feature:
    number: int
    text: str
    coming: bool
    tests: tuple


class Wrong(Exception):
    """The table, or a test that it names, is not as it must be."""


def read_row(line):
    number, text, proof = ROW.match(line).groups()
    tests = tuple(Test(kind, file, name or "") for kind, file, name in TEST.findall(proof))
    coming = proof.strip().startswith("coming")
    if bool(tests) == coming:
        raise Wrong(f"F{number}: either tests are named, or it is coming")
    return Feature(int(number), text.strip(), coming, tests)


def read(text=None):
    """All features, in their order."""
    lines = (text if text is not None else TABLE.read_text()).splitlines()
    rows = [line for line in lines if line.startswith("| F")]
    bad = [line for line in rows if not ROW.match(line)]
    if bad:
        raise Wrong(f"not understood: {bad[0]}")
    features = [read_row(line) for line in rows]
    if [feature.number for feature in features] != list(range(1, COUNT + 1)):
        raise Wrong(f"the table must have F1 to F{COUNT}, each once and in this order")
    return features


def source_of(test):
    """The text of the test, with what stands right above it."""
    path = TOP / "tests" / test.kind / (test.file + {"unit": ".c", "integration": ".py"}[test.kind])
    if not path.exists():
        raise Wrong(f"{test}: there is no {path.relative_to(TOP)}")
    text = path.read_text()
    begins = list(BEGINS[test.kind].finditer(text))
    for i, match in enumerate(begins):
        if match[1] != test.name:
            continue
        above = begins[i - 1].end() if i else 0
        end = begins[i + 1].start() if i + 1 < len(begins) else len(text)
        head = text[above : match.start()].rstrip().splitlines()
        return "\n".join(head[-1:]) + text[match.start() : end]
    raise Wrong(f"{test}: there is no such test")


def scenario_of(test):
    if test.file not in SCENARIOS or test.name:
        raise Wrong(f"{test}: there is no such scenario")
    return "\n".join((TOP / "tests" / "vm" / name).read_text() for name in SCENARIOS[test.file])


def check(feature):
    """Its tests are there, and say what they are for."""
    for test in feature.tests:
        text = scenario_of(test) if test.kind == "vm" else source_of(test)
        if not re.search(rf"\bF{feature.number}\b", text):
            raise Wrong(f"{test}: does not mention F{feature.number}")
