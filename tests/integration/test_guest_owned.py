# SPDX-License-Identifier: MIT
"""Sets whose guest owns its PASID tables (F7): the mode, and everything that it refuses."""

import unittest

from hostile.wild import OPERATIONS
from pasid_client import Daemon, Refused, guest, host, pb, set_ref

ONE, TWO = (f"0000:00:0{i}.0" for i in (1, 2))


class GuestOwned(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon({"quarantine": {"cooling_ms": 100}})
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.daemon.admin()
        self.addCleanup(self.admin.close)
        self.vmm = self.daemon.client()
        self.addCleanup(self.vmm.close)

    def attempts(self, device):
        """Whatever names a number, by its host's or its guest's."""
        pair = pb.BindPair(device=device, table=pb.Table(space=1))
        yield "allocate", {}
        yield "allocate", {"count": 8, "consecutive": True}
        yield "allocate", {"min": 2000, "max": 2010, "guest_pasid": 5}
        yield "allocate", {"devices": [device]}
        yield "guest_attach", {"host_pasid": 2000, "guest_pasid": 5}
        yield "guest_detach", {"guest_pasid": 5}
        yield "guest_find", {"guest_pasid": 5}
        yield "set_export", {}
        for number in (host(2000), guest(5)):
            yield "free", {"pasids": [number]}
            yield "data_set", {"pasid": number, "data": 1}
            yield "bind", {"pasid": number, "pairs": [pair]}
            yield "unbind", {"pasid": number}
            if "extend" in OPERATIONS:
                yield "extend", {"pasid": number, "devices": [device]}

    def refuse_all(self, client, device, **where):
        for operation, fields in self.attempts(device):
            with self.assertRaises(Refused, msg=f"{operation} {fields}") as caught:
                client.call(operation, **fields, **where)
            self.assertEqual((caught.exception.reason, caught.exception.code), ("set-mode", pb.STATE), operation)
            self.assertIn("'owned'", str(caught.exception), operation)

    # F7
    def test_every_number_is_refused_and_why(self):
        made = self.vmm.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
        self.assertEqual(made.mode, pb.SET_MODE_GUEST_OWNED)
        device = self.vmm.add(self.daemon, ONE).id
        self.vmm.map_memory(device)
        self.refuse_all(self.vmm, device)
        self.refuse_all(self.admin, device, set=set_ref("owned"))
        self.assertEqual(self.daemon.tables(), {})
        info = self.vmm.call("set_get").set_get
        self.assertEqual((info.pasids.current, info.active, info.bindings, info.devices), (0, 0, 0, 1))
        self.assertEqual(self.vmm.pages("grant_list", "grants", quarantined=True), [])
        self.assertTrue(self.admin.status().consistent)

    # F7
    def test_the_device_is_its_own_and_the_rest_of_the_host_goes_on(self):
        self.vmm.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
        device = self.vmm.add(self.daemon, ONE).id
        with self.daemon.client() as other:
            other.create("other")
            with self.assertRaises(Refused) as caught:
                other.add(self.daemon, ONE)
            self.assertEqual(caught.exception.reason, "device-taken")
            own = other.add(self.daemon, TWO).id
            other.map_memory(own)
            number = other.allocate()[0]
            other.bind(host(number), own)
            self.refuse_all(self.vmm, device)
            # neither is a number of somebody else one that the mode lets it touch
            with self.assertRaises(Refused) as caught:
                self.vmm.free(number)
            self.assertEqual(caught.exception.reason, "set-mode")
            self.assertEqual(set(self.daemon.tables()), {(TWO, number)})
        self.vmm.call("device_remove", device=device)
        self.assertEqual(self.vmm.call("free", all=True).free.freed, 0)
        self.vmm.call("set_destroy")

    # F7
    def test_a_restart_does_not_change_it(self):
        self.admin.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
        self.daemon.stop()
        self.daemon.start()
        with self.daemon.admin() as admin:
            self.assertEqual(admin.call("set_get", set=set_ref("owned")).set_get.mode, pb.SET_MODE_GUEST_OWNED)
            with self.assertRaises(Refused) as caught:
                admin.allocate(set=set_ref("owned"))
            self.assertEqual(caught.exception.reason, "set-mode")


if __name__ == "__main__":
    unittest.main()
