# SPDX-License-Identifier: MIT
"""What pasidctl says of requests that cannot be done: the reason, and what can be done instead."""

import json
import unittest

from pasid_client import Daemon, eventually
from test_pasidctl import CONFIG, SHARED, WithDaemon, pasidctl

ONE, OTHER_SEGMENT = "0000:00:01.0", "0001:00:04.0"


class Devices(WithDaemon):
    def test_a_slice_is_not_unplugged_and_what_is_said_instead_works(self):
        number = self.vm1()
        self.done("bind", "--set", "vm1", "guest:5", f"{SHARED}=space:0")
        refused = self.refused("device-shared", "remove", "--set", "vm1", SHARED, "--force")
        self.assertIn(f"unbind its numbers (pasidctl unbind --set SET PASID {SHARED})", refused["message"])
        self.done("unbind", "--set", "vm1", str(number), SHARED)
        self.done("remove", "--set", "vm1", SHARED)
        self.assertEqual(self.done("devices", "--set", "vm1"), [])

    def test_an_address_of_several_devices_says_how_to_name_one(self):
        self.vm1()
        refused = self.refused("bad-argument", "remove", SHARED)
        self.assertIn("--set NAME names that set's slice", refused["message"])
        self.done("remove", "--set", "vm1", SHARED)

    def test_drained_of_what_is_not_shared_says_so(self):
        self.assertEqual(self.done("drained", SHARED)["released"], 0)
        for address in (ONE, "0000:7f:00.0"):
            said = self.refused("no-device", "drained", address)["message"]
            self.assertEqual(said, f"no shared device {address} is registered there; see pasidctl devices")


class Segments(WithDaemon):
    config = {
        "devices": [{"address": OTHER_SEGMENT, "use": "shared", "everyone": True}],
        "simulate": {"devices": [{"address": OTHER_SEGMENT}]},
    }

    def test_an_address_without_a_segment_is_of_segment_0(self):
        self.done("drained", OTHER_SEGMENT)
        self.refused("no-device", "drained", OTHER_SEGMENT.removeprefix("0001:"))


if __name__ == "__main__":
    unittest.main()
