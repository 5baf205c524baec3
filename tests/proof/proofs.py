# SPDX-License-Identifier: MIT
"""The proofs: what each takes, within which bounds, and the defects that it must find.

A bound or a defect is a text of src/ that is replaced in a copy of it; the text must be there exactly once, so that
none of them goes stale unseen. Where src/base.h has a letter for a defect, the letter is taken.
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
    return Proof(name=f"space-{name}", what=what, harness="prove_space.c",
                 function="prove_space_" + name.replace("-", "_"), sources=("space.c",), unwind=8,
                 loops=SPACE_LOOPS, bounds=SPACE_BOUNDS, defects=defects, quick=quick)


SPACE = (
    space("take", "a number is taken, of any space of 8192 numbers",
          Defect("Q", "taking counts nothing", (
              ("space.c", "0);\n\ts->free_count--;", "0);"),)),
          Defect("stale-top", "a group that is full now is said to have numbers", (
              ("space.c", "(uint64_t)((words[k] & ~bit) == 0) << (group % 64)", "(uint64_t)0 << (group % 64)"),))),
    space("give", "a number is given back, of any space of 8192 numbers",
          Defect("Q", "giving counts nothing", (("space.c", "0);\n\ts->free_count++;", "0);"),))),
    space("take-block", "8 numbers in a row are taken",
          Defect("U", "the last number of a block is not taken", (
              ("space.c", "mask = ((UINT64_C(1) << size) - 1) << (first % 64);",
               "mask = ((UINT64_C(1) << (size - is_free)) - 1) << (first % 64);"),)), quick=False),
    space("give-block", "32 numbers in a row are given back",
          Defect("short", "orders above the first that changes are not told", (
              ("space.c", "space_flip(s, word, first, last);\n}", "space_flip(s, word, first, first);\n}"),)),
          quick=False),
    space("take-words", "256 numbers in a row are taken",
          Defect("U", "the last word of a block is not taken", (
              ("space.c", "end = word + count; word < end;", "end = word + count - is_free; word < end;"),))),
    space("give-words", "256 numbers in a row are given back",
          Defect("runs", "the summaries of longer blocks are left alone", (
              ("space.c", "less == 0)\n\t\t\ts->tops", "less == 1)\n\t\t\ts->tops"),)), quick=False),
    space("find", "the first free number of any range in 128, across two groups",
          Defect("beyond", "the search goes on beyond the range", (
              ("space.c", "if (found > search.last)\n\t\t\treturn", "if (found == NONE)\n\t\t\treturn"),)),
          quick=False),
    space("find-block", "the first free block of 16 of any range in 128",
          Defect("misaligned", "blocks of 16 begin anywhere", (
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
                 sources=("set.c", "set_reserve.c", "metrics.c", "error.c"), unwind=5, loops={"resource_key.0": 2}, bounds=QUOTA_BOUNDS,
                 stubs=("text.c",), defects=defects, quick=quick)


QUOTA = (
    quota("set-quota", "one step of any ledger of three sets of two users; numbers of 32 bits",
          letter("Q", "there is room always"), quick=False),
    quota("set-quota-shared", "the same for a set whose user has another",
          Defect("twice", "a closed set gives back what it still has", (
              ("set.c", "set_quota(set) - set_use(set));", "set_quota(set));"),))),
)

# ---------------------------------------------------------------- records


def change(name, steps, *defects, quick=True):
    return Proof(name=name, what=f"{steps} stores or ends of changes, killed before any store, taken back twice",
                 harness="prove_state.c", function="prove_state_change", sources=(), unwind=10, stubs=("text.c",),
                 defines=(f"-DSTEPS={steps}u",), defects=defects, quick=quick)


STATE = (
    change("state-change", 2,
           letter("R", "an unfinished change stays"),
           Defect("order", "a store is made before its note counts", (
               ("state.c", "\tundo->value = *word;\n\t__atomic_store_n(&file->header->changes, file->changes, "
                           "__ATOMIC_RELEASE);\n\t__atomic_store_n(word, value, __ATOMIC_RELEASE);",
                "\tundo->value = *word;\n\t__atomic_store_n(word, value, __ATOMIC_RELEASE);\n"
                "\t__atomic_store_n(&file->header->changes, file->changes, __ATOMIC_RELEASE);"),))),
    change("state-change-long", 3,
           Defect("first", "the first store is taken back first", (
               ("state_layout.c", "&file->log[i - 1];", "&file->log[changes - i];"),)), quick=False),
)



def check(name, grants, *defects, quick=True):
    return Proof(name=name, what=f"what the check lets through of {grants} slots of grants, 2 of sets, of 128 numbers",
                 harness="prove_check.c", function="prove_check_grants", sources=(), unwind=grants + 2,
                 stubs=("text.c",), defines=(f"-DGRANTS={grants}u",),
                 bounds=(("base.h", "PASID_BITS  20", "PASID_BITS  7"),),
                 defects=defects, quick=quick)


CHECK = (
    check("check-grants", 3,
          Defect("U", "a number that is granted twice is passed over", (
              ("state_check.c", "&& state_test_and_set(c->hosts, host))",
               "&& state_test_and_set(c->hosts, host) && slot == 1)"),)),
          Defect("F4", "a set may have a number of scope rids twice", (
              ("state_check.c", "used[STATE_SETS], state_rids_pair, &slot))",
               "used[STATE_SETS], state_rids_pair, &slot) && c == NULL)"),)),
          Defect("G", "guest PASIDs that do not rise are not compared", (
              ("state_check.c", "return rising || state_sort_pairs(c, table, groups, pair, ret_slot);",
               "return true;"),)),
          Defect("Q", "a set may have one more than its quota", (
              ("state_check.c", "++c->starts[set] > c->sets[set].quota", "c->starts[set]++ > c->sets[set].quota"),))),
    check("check-grants-more", 5,
          Defect("G", "the last of a group is not compared", (
              ("state_check.c", "for (; at < c->starts[g]; at++)\n\t\t\tif (state",
               "for (; at + 1 < c->starts[g]; at++)\n\t\t\tif (state"),)), quick=False),
)

# ---------------------------------------------------------------- guest maps, binds, quarantine

# Two directories of two entries, tables of four: 16 guest PASIDs.
TRANSLATE_BOUNDS = (
    ("base.h", "PASID_BITS  20", "PASID_BITS  4"),
    ("translate.h", "TRANSLATE_PAGE          4096u", "TRANSLATE_PAGE 16u"),
    ("translate.h", "TRANSLATE_DIR_ENTRIES   512u", "TRANSLATE_DIR_ENTRIES 2u"),
    ("translate.h", "TRANSLATE_TABLE_ENTRIES 1024u", "TRANSLATE_TABLE_ENTRIES 4u"),
    ("translate.h", "UINT64_C(0xfff))", "UINT64_C(0xf))"),
    ("translate.c", "return &t->roots[g.v >> 19];", "return &t->roots[g.v >> 3];"),
    ("translate.c", "(t, t->roots[g.v >> 19]);", "(t, t->roots[g.v >> 3]);"),
    ("translate.c", "if (t->roots[g.v >> 19] == 0)\n\t\treturn NULL;",
     "if (t->roots[g.v >> 3] == 0)\n\t\treturn NULL;"),
    ("translate.c", "if (t->roots[g.v >> 19] == 0)\n\t\treturn 2;",
     "if (t->roots[g.v >> 3] == 0)\n\t\treturn 2;"),
    ("translate.c", "g.v >> 10)", "g.v >> 2)"),
)
BIND_BOUNDS = SPACE_BOUNDS + (("broker.h", "BROKER_PAIRS_MAX        32", "BROKER_PAIRS_MAX        3"),
                              ("state.h", "TIE_OWNERS_MAX 32", "TIE_OWNERS_MAX 3"))


def translate(name, what, *defects, quick=True):
    return Proof(name=f"translate-{name}", what=what, harness="prove_translate.c", function=f"prove_translate_{name}",
                 sources=("translate.c",), unwind=5, bounds=TRANSLATE_BOUNDS, defects=defects, quick=quick)


def bind(name, devices, *defects, quick=True):
    return Proof(name=name, what=f"a bind over {devices} devices in any groups, and its undo; refused or lost anywhere",
                 harness="prove_bind.c", function="prove_bind", sources=("metrics.c",), stubs=("refusal.c",),
                 unwind=2 * devices + 1, loops={"memcmp.0": 57}, bounds=BIND_BOUNDS, defines=(f"-DDEVICES={devices}u",),
                 defects=defects, quick=quick)


def quarantine(name, numbers, steps, *defects, quick=True, parties=0):
    things = "one number" if numbers == 1 else f"{numbers} numbers"
    things += " of any scope that may be awaited" if parties else ""
    return Proof(name=name, what=f"{things}, {steps} steps of frees, releases, bindings and time",
                 harness="prove_quarantine.c", function="prove_quarantine", sources=("metrics.c",),
                 stubs=("refusal.c",), unwind=steps + 2, bounds=SPACE_BOUNDS,
                 defines=(f"-DGRANTS={numbers}u", f"-DSTEPS={steps}u", f"-DPARTIES={parties}u"),
                 defects=defects, quick=quick)


BROKER = (
    translate("attach", "a guest map of 16 numbers, one of them mapped: an attach of any, any page refused",
              Defect("G", "what is mapped is mapped again", (
                  ("translate.c", "if (translate_entry(t, g) != NULL)", "if (t->pages == NULL)"),)),
              Defect("Q", "the directory of a map that cannot grow is kept", (
                  ("translate.c", "if (!had_directory)\n\t\t\ttranslate_give(t, root);", "(void)had_directory;"),))),
    translate("detach", "a guest map of 16 numbers, two of them mapped: a detach of either",
              Defect("G", "a table goes while others are in it", (
                  ("translate.c", "if (translate_table_is_empty(translate_table(t, g), g.v))", "if (t->pages)"),)),
              quick=False),
    bind("bind", 2, letter("A", "what a failed bind had attached is left alone"),
         Defect("taint", "an undo that fails leaves no taint", (
             ("broker_bind.c", "\t} else {\n\t\tbinding_taint(b, binding, CHANGE_BINDING_TAINTED);", "\t} else {"),))),
    bind("bind-more", 3,
         Defect("lost", "an attach whose worker was lost counts as refused", (
             ("broker_bind.c", "if (result->status > 0)\n\t\tbind_untouched",
              "if (result->status)\n\t\tbind_untouched"),)),
         quick=False),
    quarantine("quarantine", 1, 2, letter("D", "what was freed is given back at once"),
               letter("H", "a number that is held goes into quarantine"),
               letter("Q", "nothing is given back of what was charged")),
    quarantine("quarantine-parties", 1, 2,
               letter("P", "it is given back before it is acknowledged"),
               Defect("F4", "claims outlive a number of scope rids", (
                   ("broker_quarantine.c", "\t\tscope_drop(b, grant);\n", "\t\t;\n"),)),
               quick=False, parties=1),
    quarantine("quarantine-more", 2, 2,
               Defect("D", "a number that is bound goes into quarantine", (
                   ("broker_quarantine.c", "GRANT_FREE_PENDING || grant_is_bound(b, grant))", "GRANT_FREE_PENDING)"),
                   ("broker_quarantine.c",
                    "if (slot->bindings == STATE_NONE && !grant_is_held(slot) && !grant_is_awaited(slot)) {",
                    "if (slot) {"),)),
               quick=False),
    quarantine("quarantine-longer", 1, 3, letter("D", "what was freed is given back at once"), quick=False),
)

# ---------------------------------------------------------------- models


def planted(name, what):
    return Defect(name, what, defines=(f"-DMUTANT_{name}",))


SAFETY = ("-DSAFETY", "-DCOLLAPSE")
MODEL = (
    Model("model-numbers", "two VMs, two numbers, two deaths of the daemon, one of a worker", "pasid.pml",
          options=SAFETY, search=("-m200000",), defects=(
              planted("U", "a number that is not free is granted"),
              planted("K", "a grant is acknowledged before it is recorded"),
              planted("B", "hardware is asked before the intent is recorded"),
              planted("D", "time alone ends a quarantine"),
              planted("L", "what a lost worker had attached counts as detached"),
              planted("R", "a recovery forgets unfinished binds"))),
    Model("model-numbers-long", "the same with four deaths of the daemon, and both workers", "pasid.pml",
          options=SAFETY, defines=("-DCRASHES=4", "-DLOSSES=2"), search=("-m200000",), defects=(
              planted("R", "a recovery forgets unfinished binds"),), quick=False),
    Model("model-move", "a set moves between two daemons; two deaths, two lost messages", "move.pml", options=SAFETY,
          search=("-m200000",), defects=(
              planted("A", "a set is given away while it is bound"),
              planted("BOTH", "the target takes without the source's word"),
              planted("NEITHER", "the source gives before the target has reserved"),
              planted("DROP", "the target drops what it reserved without the source's word"),
              planted("CANCEL", "the source takes back what it has given"),
              planted("FREEZE", "a set changes after the target was told what is in it"),
              planted("FORGET", "the source forgets whose the set is when its VM dies"))),
    Model("model-move-ends", "what was given is taken, and released, if deaths and losses end", "move.pml",
          defines=("-DLIVENESS",), options=("-DCOLLAPSE", "-DNFAIR=3"), search=("-m200000", "-a", "-f"), defects=(
              planted("ONCE", "a message that may be lost is sent once"),)),
)

ALL = SPACE + QUOTA + STATE + CHECK + BROKER + MODEL
