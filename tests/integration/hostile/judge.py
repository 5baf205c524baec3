# SPDX-License-Identifier: MIT
"""What must be true after every attack: all is counted right, and everything is back where it was."""

import contextlib
import os
import pathlib
import time

from pasid_client import PASIDD, Refused

JANITORS = 8  # processes that close what nobody wants stay
PASIDS = 200  # what the honest have in quarantine comes and goes

# Memory that was freed is given back, so that what is measured is what is in use.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "131072"}


def has_sanitizer():
    """With AddressSanitizer freed memory is kept for a while; leaks are found at the end."""
    return b"__asan_init" in PASIDD.read_bytes()


def files(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return 0


def memory_kib(pid):
    """Anonymous memory that a process has for itself."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1])
    raise AssertionError("no Pss_Anon in smaps_rollup")


class Judge:
    """Looks at the daemon from outside, and as an admin from inside."""

    def __init__(self, daemon, memory=16384):
        self.daemon = daemon
        self.admin = daemon.admin()
        self.memory = None if has_sanitizer() else memory  # KiB that it may grow by
        self.before = None

    def close(self):
        self.admin.close()

    def look(self):
        status = self.admin.status()
        workers = self.daemon.workers()
        return {
            "consistent": status.consistent,
            "sessions": status.sessions, "sets": status.sets, "devices": status.devices,
            "operations": status.operations, "bindings": status.bindings, "pasids": status.pasids.current,
            "files": files(self.daemon.process.pid),
            "workers": len(workers),
            "worker files": sum(files(worker) for worker in workers),
            "most files": max((files(worker) for worker in workers), default=0),
            "memory": memory_kib(self.daemon.process.pid),
        }

    def remember(self):
        """From now on this is how it was."""
        self.before = self.look()
        return self.before

    def drain(self):
        """Says of every shared device that it is drained: nothing runs in a simulation."""
        for device in self.admin.pages("device_list", "devices"):
            with contextlib.suppress(Refused):
                self.admin.call("device_drained", device=device.id)

    def complaints(self):
        """What is not as it was, in words; and how it is."""
        before, now, found = self.before, self.look(), []

        def expect(holds, text):
            if not holds:
                found.append(text)

        expect(now["consistent"], "a recount contradicts the counters")
        for what in ("sessions", "sets", "devices"):
            expect(now[what] == before[what], f"{now[what]} {what}, were {before[what]}")
        expect(now["operations"] <= before["operations"] + 8, f"{now['operations']} operations under way")
        expect(abs(now["bindings"] - before["bindings"]) <= 8, f"{now['bindings']} bindings, were {before['bindings']}")
        expect(now["pasids"] <= before["pasids"] + PASIDS, f"{now['pasids']} PASIDs out, were {before['pasids']}")
        more = max(0, now["workers"] - before["workers"])
        expect(more <= JANITORS, f"{now['workers']} worker processes, were {before['workers']}")
        # A worker costs the daemon a socket and a pidfd; of its own it has the nodes of the simulation.
        expect(now["files"] <= before["files"] + 2 * more + 2, f"{now['files']} descriptors, were {before['files']}")
        own = before["most files"] + 4
        expect(now["worker files"] <= before["worker files"] + own * more + 4,
               f"{now['worker files']} descriptors in workers, were {before['worker files']}")
        if self.memory is not None:
            expect(now["memory"] <= before["memory"] + self.memory,
                   f"{now['memory']} KiB of memory, were {before['memory']}")
        return found, now

    def settle(self, seconds):
        """Waits until all is back where it was; returns what is not after that time, and how it is."""
        end = time.monotonic() + seconds
        while True:
            assert self.daemon.process.poll() is None, f"pasidd has ended:\n{self.daemon.log()[-4000:]}"
            found, now = self.complaints()
            if not found or time.monotonic() > end:
                return found, now
            self.drain()
            time.sleep(0.05)
