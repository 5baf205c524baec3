# SPDX-License-Identifier: MIT
"""Tables that the host keeps on a simulated SMMUv3 (F33), and what pasid-sim shows of them (F47)."""

import json
import unittest

from pasid_client import Daemon, Refused, host
from test_pasid_sim import run

WIDE, NARROW, NONE = (f"0000:00:0{i}.0" for i in (1, 2, 3))
CONFIG = {
    "simulate": {
        "iommu": "smmuv3",
        "pasid_width": 16,
        "devices": [{"address": WIDE}, {"address": NARROW, "width": 4}, {"address": NONE, "width": 0}],
    },
    "quarantine": {"cooling_ms": 100},
}


class HostOwned(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.vmm = self.daemon.client()
        self.addCleanup(self.vmm.close)
        self.vmm.create("vm")

    def walk(self, *words):
        status, text, _ = run(self.daemon.simulation, "walk", *words, "--json")
        return status, json.loads(text)

    # F33
    def test_a_pasid_reaches_its_memory_and_nothing_after(self):
        device = self.vmm.add(self.daemon, WIDE).id
        self.vmm.map_memory(device)
        number = self.vmm.allocate()[0]
        self.assertEqual(self.walk(WIDE, number, "0x2008")[1]["result"], "aborted")
        self.vmm.bind(host(number), device)
        self.assertEqual(set(self.daemon.tables()), {(WIDE, number)})
        status, found = self.walk(WIDE, number, "0x2008")
        self.assertEqual((status, found["result"], int(found["offset"], 16)), (0, "reached", 0x2008))
        self.assertEqual([step["kind"] for step in found["steps"][:4]],
                         ["stream-l1", "stream-entry", "context-l1", "context"])
        self.assertEqual(self.walk(WIDE, number + 1, "0x2008")[1]["result"], "C_BAD_CD")
        self.assertEqual(self.walk(WIDE, 1 << 16, "0x2008")[1]["result"], "C_BAD_SUBSTREAMID")
        self.assertEqual(self.walk(WIDE, "0x2008")[1]["result"], "F_STREAM_DISABLED")
        self.assertEqual(self.walk(NARROW, number, "0x2008")[1]["result"], "aborted")
        self.assertIn("stage-1", run(self.daemon.simulation, "tables")[1])
        self.vmm.call("unbind", pasid=host(number))
        self.assertEqual(self.daemon.tables(), {})
        self.assertEqual(self.walk(WIDE, number, "0x2008")[1]["result"], "aborted")

    # F33
    def test_without_substreams_a_bind_is_refused_and_not_lost(self):
        number = self.vmm.allocate()[0]
        for address, reason in ((NARROW, "pasid-width"), (NONE, "device-without-pasid")):
            device = self.vmm.add(self.daemon, address).id
            self.vmm.map_memory(device)
            with self.assertRaises(Refused) as caught:
                self.vmm.bind(host(number), device)
            self.assertEqual(caught.exception.reason, reason)
        self.assertEqual(self.daemon.tables(), {})


if __name__ == "__main__":
    unittest.main()
