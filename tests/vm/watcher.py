# SPDX-License-Identifier: MIT
"""Looks at chosen PASID entries without a pause, from outside the guest, while other things go on.

A process of its own samples the present bit of each entry as fast as it can: an entry that goes away
for a moment while the daemon is restarted would be seen neither before nor after.
"""

import ctypes
import multiprocessing
import time

import table_reader

CONTEXT = multiprocessing.get_context("fork")


class Absence:
    """One time that an entry was not there: from when to when, in seconds since the watch began."""

    def __init__(self, key, begin):
        self.key, self.begin, self.end = key, begin, None

    def __str__(self):
        rid, pasid = self.key
        name = f"{table_reader.function_name(rid)} PASID {pasid:#x}"
        end = "until the end" if self.end is None else f"for {1000 * (self.end - self.begin):.1f} ms"
        return f"{name}: absent at {self.begin:.3f} s {end}"


class Watcher:
    """A context; what it saw is there when it ends: samples, longest_gap (seconds), absences, pages()."""

    def __init__(self, memory, tables, keys):
        self._memory = memory
        self._places = [(key, tables.place(*key)) for key in sorted(keys)]
        lost = [key for key, place in self._places if place is None]
        if lost:
            raise table_reader.TableError(f"no table for {lost}")
        self._stop = CONTEXT.RawValue(ctypes.c_bool, False)
        self._ours, self._theirs = CONTEXT.Pipe()
        self.samples, self.longest_gap, self.absences, self._pages = 0, 0.0, [], {}

    def __enter__(self):
        self._child = CONTEXT.Process(target=self._sample, daemon=True)
        self._child.start()
        if self._ours.recv() != "ready":
            raise table_reader.TableError("the watcher did not start")
        return self

    def __exit__(self, *_):
        self._stop.value = True
        if self._ours.poll(10):
            self.samples, self.longest_gap, self.absences, self._pages = self._ours.recv()
        self._child.join()

    def absent(self, key):
        return [absence for absence in self.absences if absence.key == key]

    def pages(self, key):
        """The page tables that were seen in an entry that was present before and after it was read."""
        return self._pages.get(key, set())

    def _sample(self):
        self._theirs.send("ready")
        self._theirs.send(self._watch())

    def _watch(self):
        """Rounds over all entries; what is absent and was present begins an absence. The last one is after the end."""
        pages = {key: set() for key, _ in self._places}
        byte, stop, clock = self._memory.byte, self._stop, time.perf_counter
        begin = last = clock()
        samples, longest, absences, open_ = 0, 0.0, [], {}
        ending = False
        while not ending:
            ending = stop.value
            for key, place in self._places:
                if byte(place) & table_reader.PRESENT:
                    if key in open_:
                        open_.pop(key).end = clock() - begin
                    words = self._memory.words(place, 3)
                    if self._memory.word(place) == words[0] and words[0] & table_reader.PRESENT:
                        pages[key].add(table_reader.Entry(*key, words).page_table)
                elif key not in open_:
                    open_[key] = Absence(key, clock() - begin)
                    absences.append(open_[key])
            now = clock()
            longest, last = max(longest, now - last), now
            samples += 1
        return samples, longest, absences, pages
