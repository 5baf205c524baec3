# SPDX-License-Identifier: MIT
"""The proofs: what each takes, within which bounds, and the defects that it must find.

A bound or a defect is a text of src/ that is replaced in a copy of it; the text must be there exactly once, so that none
of them goes stale unseen. Where src/base.h has a letter for a defect, the letter is taken.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Defect:
    name: str
    what: str
    edits: tuple = ()  # (file of src/, text, text instead of it)
    defines: tuple = ()


@dataclasses.dataclass(frozen=True)
class Proof:
    """For CBMC."""
    name: str
    what: str
    harness: str
    function: str
    sources: tuple  # of src/
    unwind: int  # iterations of any loop, but for these
    loops: dict = dataclasses.field(default_factory=dict)
    bounds: tuple = ()
    stubs: tuple = ()
    defines: tuple = ()
    options: tuple = ()
    defects: tuple = ()
    quick: bool = True


@dataclasses.dataclass(frozen=True)
class Model:
    """For SPIN."""
    name: str
    what: str
    harness: str
    defines: tuple = ()
    options: tuple = ()  # of the compiler
    search: tuple = ()
    defects: tuple = ()
    quick: bool = True


def letter(code, what):
    """A rule of src/base.h that is broken."""
    return Defect(code, what, defines=(f"-DPASIDD_MUTANT=MUTANT_{code}",))


# ---------------------------------------------------------------- numbers

SPACE_BOUNDS = (
    ("base.h", "#define PASID_BITS  20", "#define PASID_BITS  13"),
    ("space.h", "(SPACE_GROUPS / 64u)", "1u"),
)
SPACE_LOOPS = {"bits_have_block.0": 65, "bystander_of.1": 12, "bystander_is_same.1": 12, "space_group_agrees.1": 12}


def space(name, what, *defects, quick=True):
    return Proof(name=f"space-{name}", what=what, harness="prove_space.c", function="prove_space_" + name.replace("-", "_"),
                 sources=("space.c",), unwind=8, loops=SPACE_LOOPS, bounds=SPACE_BOUNDS, defects=defects, quick=quick)


SPACE = (
    space("take", "a number is taken, of any space of 8192 numbers",
          Defect("Q", "taking counts nothing", (
              ("space.c", "0);\n\ts->free_count--;", "0);"),)),
          Defect("stale-top", "a group that is full now is said to have numbers", (
              ("space.c", "(uint64_t)((words[k] & ~bit) == 0) << (group % 64)", "(uint64_t)0 << (group % 64)"),))),
    space("give", "a number is given back, of any space of 8192 numbers",
          Defect("short", "orders above the first are not told", (
              ("space.c", "space_flip(s, word, first, last);\n}", "space_flip(s, word, first, first);\n}"),))),
    space("take-block", "8 numbers in a row are taken",
          Defect("U", "the last number of a block is not taken", (
              ("space.c", "mask = ((UINT64_C(1) << size) - 1) << (first % 64);",
               "mask = ((UINT64_C(1) << (size - is_free)) - 1) << (first % 64);"),))),
    space("give-block", "32 numbers in a row are given back",
          Defect("Q", "giving counts one too few", (
              ("space.c", "s->free_count += 1u << order;", "s->free_count += (1u << order) - 1;"),)), quick=False),
    space("take-words", "256 numbers in a row are taken",
          Defect("U", "the last word of a block is not taken", (
              ("space.c", "end = word + count; word < end;", "end = word + count - is_free; word < end;"),))),
    space("give-words", "256 numbers in a row are given back",
          Defect("runs", "the summaries of longer blocks are left alone", (
              ("space.c", "less == 0)\n\t\t\ts->tops", "less == 1)\n\t\t\ts->tops"),)), quick=False),
    space("find", "the first free number of any range in 128, across two groups",
          Defect("beyond", "the search goes on beyond the range", (
              ("space.c", "if (found > search.last)\n\t\t\treturn", "if (found == NONE)\n\t\t\treturn"),))),
    space("find-block", "the first free block of 16 of any range in 128",
          Defect("misaligned", "blocks of 2 begin anywhere", (
              ("space.c", "{0x0001000100010001, 0x8000800080008000}", "{0x0001000100010001, 0xffff800080008000}"),)),
          quick=False),
    space("find-joint", "the first number that is free in both of two spaces",
          Defect("U", "only the first space is asked", (
              ("space.c", "bits &= q->spaces[i]->numbers[word];", "bits &= q->spaces[0]->numbers[word];"),)),
          quick=False),
)

# ---------------------------------------------------------------- quotas

QUOTA_BOUNDS = (("limit.h", "LIMITS_USERS_MAX 16384u", "LIMITS_USERS_MAX 2u"),)


def quota(name, what, *defects, quick=True):
    return Proof(name=name, what=what, harness="prove_set.c", function="prove_" + name.replace("-", "_"),
                 sources=("set.c", "metrics.c", "error.c"), unwind=5, loops={"resource_key.0": 2}, bounds=QUOTA_BOUNDS,
                 stubs=("text.c",), defects=defects, quick=quick)


QUOTA = (
    quota("set-quota", "one step of any ledger of three sets of two users; numbers of 32 bits",
          letter("Q", "there is room always"), quick=False),
    quota("set-quota-shared", "the same for a set whose user has another",
          Defect("twice", "a closed set gives back what it still has", (
              ("set.c", "set_quota(set) - set_use(set));", "set_quota(set));"),))),
)

ALL = SPACE + QUOTA
