# SPDX-License-Identifier: MIT
"""The rules that src/base.h lists (MUTANT_<letter>), each of which a build with -DPASIDD_MUTANT=ANY can break."""

import os
import pathlib
import re

BASE = pathlib.Path(__file__).resolve().parents[2] / "src/base.h"
LINE = re.compile(r"^#define MUTANT_([A-Z]+) +([1-9]\d*)\s*(?:/\*\s*(.*?)\s*\*/)?", re.M)


def listed():
    """What each letter stands for."""
    return {letter: rule for letter, _, rule in LINE.findall(BASE.read_text())}


def choose(letter):
    """From now on a program of such a build that is started breaks this rule, or none."""
    numbers = {letter: number for letter, number, _ in LINE.findall(BASE.read_text())}
    os.environ["PASIDD_MUTANT"] = numbers[letter] if letter else "0"
