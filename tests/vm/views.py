# SPDX-License-Identifier: MIT
"""Looks at the PASID tables through two readers at once, and compares them with each other and with
what is claimed.

A claim says which entries there are, {(requester ID, PASID): name of a page table}: the names are
the claimant's own, so that what is compared is which entries share a page table and which do not.
"""

import collections
import time

import debugfs_reader
import machine as vm
import table_reader


class View:
    """The tables at one moment, as both readers saw them."""

    def __init__(self, tables, outside, debugfs_roots, debugfs):
        self.tables = tables
        self.outside = outside  # {(rid, pasid): table_reader.Entry}
        self.debugfs_roots = debugfs_roots
        self.debugfs = debugfs  # {(rid, pasid): three words}

    def disagreements(self):
        """Where the two readers differ, a line each."""
        if self.debugfs_roots != [self.tables.root]:
            roots = [hex(root) for root in self.debugfs_roots]
            yield f"root table: register {self.tables.root:#x}, debugfs {roots}"
        for key in sorted(self.outside.keys() | self.debugfs.keys()):
            outside = self.outside[key].words[:3] if key in self.outside else None
            debugfs = self.debugfs.get(key)
            if outside != debugfs:
                both = f"outside {name_words(outside)}, debugfs {name_words(debugfs)}"
                yield f"{name_key(key)}: {both}"

    def violations(self, claim, rids):
        """Where the tables of `rids` differ from a claim, a line each; PASID 0 is the kernel's."""
        present = {key for key in self.outside if key[0] in rids and key[1] != 0}
        for key in sorted(present - claim.keys()):
            yield f"{name_key(key)}: there is an entry that nobody claims"
        for key in sorted(claim.keys() - present):
            yield f"{name_key(key)}: the claimed entry is not there"
        addresses, names = collections.defaultdict(set), collections.defaultdict(set)
        for key in present & claim.keys():
            addresses[claim[key]].add(self.outside[key].page_table)
            names[self.outside[key].page_table].add(claim[key])
        for name, several in sorted(addresses.items()):
            if len(several) > 1:
                yield f"{name} stands for several page tables: {sorted(map(hex, several))}"
        for address, several in sorted(names.items()):
            if len(several) > 1:
                yield f"one page table, {address:#x}, goes by several names: {sorted(several)}"

    def reached(self, key, address, text):
        """Whether a DMA with an entry's requester ID and PASID would read `text` at `address`."""
        entry = self.outside.get(key)
        found = self.tables.read_through(entry, address, len(text) + 1) if entry else None
        return found == text.encode() + b"\0"

    def describe(self, rids):
        """Both readers' entries for people; PASIDs with equal entries share a line."""
        rows = collections.defaultdict(list)
        for key in sorted(self.outside.keys() | self.debugfs.keys()):
            if key[0] in rids and key[1] != 0:
                row = (
                    table_reader.function_name(key[0]),
                    self._outside_text(key),
                    name_words(self.debugfs.get(key)),
                )
                rows[row].append(f"{key[1]:#x}")
        if not rows:
            return "both readers: no entry with a PASID in any table"
        lines = [f"{'function':12}  {'from outside the guest':41}  {'debugfs':20}  PASIDs"]
        for (function, outside, debugfs), pasids in rows.items():
            lines.append(f"{function:12}  {outside:41}  {debugfs:20}  {' '.join(pasids)}")
        return "\n".join(lines)

    def _outside_text(self, key):
        entry = self.outside.get(key)
        if entry is None:
            return "absent"
        stage = entry.stage.name.lower()
        return f"{stage} stage, domain {entry.domain}, table {entry.page_table:#x}"


class Observer:
    """Takes views of a machine, whose guest is at rest between two commands to it."""

    def __init__(self, machine):
        self.machine = machine
        self.memory = table_reader.Memory(machine.open_memory())
        self.rids = {endpoint.rid for endpoint in machine.endpoints}

    def look(self):
        """Both readers' views of one moment: nothing changed while the second one read."""
        for _ in range(50):
            tables = self.tables()
            before = tables.entries()
            roots, debugfs = debugfs_reader.parse(self.machine.output(f"cat {debugfs_reader.PATH}"))
            if _words(before) == _words(tables.entries()):
                return View(tables, before, roots, debugfs)
            time.sleep(0.1)  # something that the test did not start: a process that just ended
        raise vm.MachineError("the tables do not come to rest")

    def tables(self):
        root = self.machine.monitor.physical_word(vm.ROOT_TABLE_REGISTER)
        return table_reader.Tables(self.memory, root)

    def compare(self, report, claim, when):
        """Prints both readers' entries; checks that they agree with each other and the claim."""
        view = self.look()
        report.note(view.describe(self.rids))
        report.none(view.disagreements(), f"{when}: debugfs and the walk from outside agree")
        report.none(
            view.violations(claim, self.rids),
            f"{when}: {len(claim)} entries, as claimed, and no other",
        )
        return view


def _words(entries):
    return {key: entry.words for key, entry in entries.items()}


def name_key(key):
    return f"{table_reader.function_name(key[0])} PASID {key[1]:#x}"


def name_words(words):
    return "absent" if words is None else ":".join(f"{word:#x}" for word in reversed(words))
