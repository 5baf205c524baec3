# SPDX-License-Identifier: MIT
"""The views of pasidctl on a real daemon: tree, map and colour."""

import os
import pty
import subprocess
import time
import unittest

from pasid_client import TIMEOUT, Daemon
from test_pasidctl import PASIDCTL, SHARED, WithDaemon, pasidctl

EXCLUSIVE = "0000:00:01.0"
COLOUR = "\033["


def terminal(*words, environment=None):
    """What a command shows on a terminal."""
    shown, child = pty.openpty()
    process = subprocess.Popen(
        [PASIDCTL, *words],
        stdout=child,
        stderr=child,
        stdin=child,
        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "80", "NO_COLOR": "", **(environment or {})},
    )
    os.close(child)
    text = b""
    try:
        while piece := os.read(shown, 65536):
            text += piece
    except OSError:  # EIO: the other end is closed
        pass
    os.close(shown)
    assert process.wait(TIMEOUT) == 0, text
    return text.decode().replace("\r\n", "\n")


class Views(WithDaemon):
    config = {**WithDaemon.config, "quarantine": {"cooling_ms": 600000}}

    def filled(self):
        """vm1 with a slice, four numbers and one of them bound; the third one rests."""
        self.vm1()
        numbers = [self.done("alloc", "--set", "vm1")["pasids"][0] for _ in range(3)]
        self.done("bind", "--set", "vm1", "guest:5", f"{SHARED}=space:0")
        self.done("free", "--set", "vm1", str(numbers[1]))
        return numbers[0] - 1

    def test_the_tree_has_users_sets_numbers_and_devices(self):
        first = self.filled()
        self.done("set", "create", "vm2", "--owner", "65533")
        shown = self.ctl("tree").stdout
        for line in (
            "set vm1 ",
            f"|- PASID {first}-{first + 1} (2), 1 bound\n",
            f"|- PASID {first + 2} quarantined\n",
            f"`- PASID {first} bound\n",
            "user 65533: 1 set, 0 PASIDs",
            "`- shared devices\n",
            "1 slice, 1 bound",
        ):
            self.assertIn(line, shown)
        self.assertTrue(shown.isascii())
        one = self.ctl("tree", "--set", "vm1", "--all").stdout
        self.assertIn(f"- PASID {first} guest 5, 1 bound\n", one)
        self.assertNotIn("vm2", one)
        tree = self.done("tree")
        (mine,) = [user for user in tree["users"] if user["uid"] == os.getuid()]
        (vm1,) = mine["sets"]
        self.assertEqual([run["count"] for run in vm1["pasids"]], [2, 1, 1])
        self.assertEqual(vm1["devices"][0]["bound"], [{"first": first, "last": first, "count": 1, "state": "bound"}])
        self.assertEqual([device["address"] for device in tree["shared_devices"]], [SHARED])
        self.refused("no-set", "tree", "--set", "nobody")

    def test_the_map_has_what_is_reserved_in_use_and_resting(self):
        first = self.filled()
        shown = self.ctl("map").stdout.splitlines()
        self.assertEqual((len(shown), shown[1][:12]), (21, "       0 kq."))
        self.assertEqual(shown[-1], f"1024 the kernel's, {2**20 - 1024 - 4} free")
        near = self.ctl("map", "--range", f"{first}-{first + 63}").stdout.splitlines()
        self.assertEqual(near[1], f"{first:8d} ##q#" + 60 * ".")
        runs = self.done("map")["runs"]
        self.assertEqual(
            [(run["first"], run["count"], run["state"], run["bound"]) for run in runs],
            [(0, 1024, "reserved", False), (first, 1, "used", True), (first + 1, 1, "used", False),
             (first + 2, 1, "quarantined", False), (first + 3, 1, "used", False)],
        )  # fmt: skip
        there = self.done("map", "--device", SHARED[5:])
        self.assertEqual([run["first"] for run in there["runs"]], [0, first])
        self.refused("no-device", "map", "--device", "0000:00:1f.0")
        for range_ in ("5-4", "x", "0-1048576"):
            self.assertEqual(self.ctl("map", "--range", range_).returncode, 2)

    def test_the_map_of_a_device_has_the_numbers_of_scope_rids_that_are_somebodys_there(self):
        vmm = self.daemon.client()
        self.addCleanup(vmm.close)
        vmm.create("rids")
        device = vmm.add(self.daemon, EXCLUSIVE)
        (number,) = self.done("alloc", "--set", "rids", "--scope", "rids", str(device.id))["pasids"]
        for name, used in ((EXCLUSIVE, 1), (str(device.id), 1)):
            self.assertEqual(self.done("map", "--device", name)["totals"]["used"], used)
        self.assertEqual(self.done("map", "--device", str(device.id))["runs"][1]["first"], number)

    def test_only_a_terminal_gets_boxes_and_colour(self):
        self.filled()
        words = ("--socket", str(self.daemon.socket), "tree")
        shown = terminal(*words)
        self.assertIn("└─", shown)
        self.assertIn(f"{COLOUR}33mquarantined{COLOUR}0m", shown)
        self.assertNotIn("└─", terminal(*words, environment={"LC_ALL": "C"}))
        self.assertNotIn(COLOUR, terminal(*words, environment={"NO_COLOR": "1"}))
        self.assertNotIn(COLOUR, terminal(*words, "--colour=never"))
        self.assertNotIn(COLOUR, self.ctl("tree").stdout)
        self.assertIn(COLOUR, self.ctl("--color", "always", "pasids", "--quarantined").stdout)
        self.assertEqual(self.ctl("--colour=sometimes", "tree").returncode, 2)
        narrow = terminal("--socket", str(self.daemon.socket), "--colour=never", "map", environment={"COLUMNS": "50"})
        self.assertTrue(all(len(line) <= 50 for line in narrow.splitlines()[1:17]), narrow)

    def test_who_may_not_observe_sees_its_own(self):
        with self.daemon.client() as vmm:
            vmm.create("own")
            (number,) = vmm.allocate()
            self.assertIn(f"PASID {number}\n", self.ctl("tree", "--set", "own").stdout)
            vmm.free(number)


class Many(unittest.TestCase):
    """A host that has granted 100000 numbers: what is shown stays short, and comes soon."""

    def test_many_numbers_are_shown_soon_and_in_little_memory(self):
        daemon = Daemon({"quota": {"set_default": 120000, "set_max": 120000}})
        self.addCleanup(daemon.cleanup)
        with daemon.client() as vmm:
            vmm.create("many", pasids=102400)
            for _ in range(25):
                vmm.allocate(count=4096)
            begun = time.monotonic()
            shown = pasidctl("tree", socket=daemon.socket).stdout
            took = time.monotonic() - begun
        self.assertIn("(102400)\n", shown)
        self.assertLess(len(shown), 1000)
        self.assertLess(took, TIMEOUT / 2)


if __name__ == "__main__":
    unittest.main()
