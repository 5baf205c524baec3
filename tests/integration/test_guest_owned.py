# SPDX-License-Identifier: MIT
"""Sets whose guest owns its PASID tables (F7): the mode, and everything that it refuses."""

import unittest

from hostile.wild import OPERATIONS
from pasid_client import Daemon, Refused, guest, host, pb, set_ref

ONE, TWO = (f"0000:00:0{i}.0" for i in (1, 2))
TRANSLATES = 5 << 1 | 1  # V, and the guest's stage


def entry(device, ste0=TRANSLATES, ste1=0, stream=8, **parent):
    return pb.BindPair(
        device=device, table=pb.Table(stream=pb.StreamTable(ste0=ste0, ste1=ste1, stream=stream, **parent))
    )


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

    def refused(self, reason, operation, client=None, **fields):
        with self.assertRaises(Refused) as caught:
            (client or self.vmm).call(operation, **fields)
        self.assertEqual(caught.exception.reason, reason, str(caught.exception))
        return caught.exception

    # F32
    def test_an_iommu_that_takes_no_guests_entry_says_so(self):
        self.vmm.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
        device = self.vmm.add(self.daemon, ONE)
        self.assertEqual(device.iommu, "vtd")
        error = self.refused("no-nesting", "rid_attach", pair=entry(device.id, parent_space=1))
        self.assertEqual(error.code, pb.UNSUPPORTED)
        self.assertIn(ONE, str(error))
        self.refused("no-nesting", "rid_attach", pair=entry(device.id, parent_hwpt=1))
        self.refused("not-bound", "replace", pair=entry(device.id, parent_space=1))
        self.refused("not-bound", "rid_detach", device=device.id)
        self.refused("bad-argument", "rid_attach", pair=entry(device.id))
        self.assertEqual((self.daemon.tables(), self.vmm.pages("binding_list", "bindings")), ({}, []))
        self.assertTrue(self.admin.status().consistent)

    # F7
    def test_an_entry_and_numbers_are_of_different_sets(self):
        self.vmm.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
        device = self.vmm.add(self.daemon, ONE).id
        self.vmm.map_memory(device)
        self.refused("set-mode", "rid_attach", pair=pb.BindPair(device=device, table=pb.Table(space=1)))
        with self.daemon.client() as other:
            other.create("other")
            own = other.add(self.daemon, TWO).id
            other.map_memory(own)
            number = other.allocate()[0]
            self.refused("set-mode", "rid_attach", other, pair=entry(own, parent_space=1))
            self.refused("set-mode", "bind", other, pasid=host(number), pairs=[entry(own, parent_space=1)])
            other.bind(host(number), own)
            self.refused("set-mode", "replace", other, pasid=host(number), pair=entry(own, parent_space=1))
            self.refused("no-device", "rid_attach", other, pair=entry(device, parent_space=1))
            self.assertEqual(set(self.daemon.tables()), {(TWO, number)})

    # F36
    def test_the_configuration_bounds_the_width(self):
        with Daemon({"namespace": {"pasid_width": 12}}) as daemon, daemon.client() as vmm:
            vmm.create("vm1")
            self.assertEqual(vmm.add(daemon, ONE).pasid_width, 12)

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
