# SPDX-License-Identifier: MIT
"""F34: a page table in the place of a bound one, watched from outside in the simulated tables."""

import json
import subprocess
import threading
import time
import unittest

from pasid_client import BUILD, Daemon, Refused, eventually, guest, host, pb
from restarts import Restarts

ONE, TWO, SHARED = (f"0000:00:0{i}.0" for i in (1, 2, 3))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": ONE}, {"address": TWO}, {"address": SHARED}]},
}


def space(device, number):
    return pb.BindPair(device=device, table=pb.Table(space=number))


class Replacement(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.vm = self.connect("vm")

    def connect(self, name):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.create(name)
        return client

    def refused(self, reason, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            self.vm.call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception.status

    def bound(self, address=ONE):
        """A device with memory in spaces 1 and 2, and a number that is bound to the first."""
        device = self.vm.add(self.daemon, address).id
        self.vm.map_memory(device)
        self.vm.map_memory(device, space=2)
        number = self.vm.allocate(guest_pasid=5)[0]
        self.vm.bind(guest(5), device)
        return device, number

    def root(self, address, number):
        return self.daemon.tables()[(address, number)]

    # F34
    def test_a_number_stays_bound_and_its_table_is_another(self):
        device, number = self.bound()
        before = self.root(ONE, number)
        self.vm.call("watch")
        result = self.vm.call("replace", pasid=guest(5), pair=space(device, 2)).replace
        self.assertEqual((result.host_pasid, [t.device for t in result.tables]), (number, [device]))
        self.assertNotEqual(self.root(ONE, number), before)
        event = self.vm.wait_event(pb.EVENT_BINDING_REPLACED)
        self.assertEqual((event.host_pasid, event.device), (number, device))
        (binding,) = self.vm.pages("binding_list", "bindings")
        self.assertEqual(binding.table.hwpt, result.tables[0].hwpt)
        self.vm.call("replace", pasid=host(number), pair=space(device, 1))
        self.vm.unbind(guest(5))
        self.assertEqual(self.daemon.tables(), {})

    def test_the_table_of_the_rid(self):
        device, _ = self.bound()
        self.refused("not-bound", "replace", pair=space(device, 2))
        self.vm.call("rid_attach", pair=space(device, 1))
        self.assertTrue(self.vm.call("replace", pair=space(device, 2)).replace.tables[0].made)
        self.vm.call("rid_detach", device=device)

    def test_the_table_of_a_slice(self):
        slice_ = self.vm.call("device_slice", address=SHARED).device_slice.id
        self.vm.map_memory(slice_)
        self.vm.map_memory(slice_, space=2)
        number = self.vm.allocate()[0]
        self.vm.bind(host(number), slice_)
        before = self.root(SHARED, number)
        result = self.vm.call("replace", pasid=host(number), pair=space(slice_, 2)).replace
        self.assertEqual(result.tables[0].hwpt, 0)
        self.assertNotEqual(self.root(SHARED, number), before)
        self.refused("device-shared", "replace", pair=space(slice_, 2))

    # F34
    def test_there_is_never_a_foreign_entry(self):
        """Another set's number and table beside it; whoever looks sees one of the two tables, or none for a moment."""
        device, number = self.bound()
        known = {json.dumps(self.root(ONE, number), sort_keys=True)}
        self.vm.call("replace", pasid=host(number), pair=space(device, 2))
        known.add(json.dumps(self.root(ONE, number), sort_keys=True))
        self.assertEqual(len(known), 2)
        seen, over = [], threading.Event()

        def watch():
            while not over.is_set():
                entry = self.daemon.tables().get((ONE, number))
                seen.append(entry and json.dumps(entry, sort_keys=True))

        watcher = threading.Thread(target=watch)
        watcher.start()
        end = time.monotonic() + 2
        count = 0
        while time.monotonic() < end or len(seen) < 10:
            self.vm.call("replace", pasid=host(number), pair=space(device, 1 + count % 2))
            count += 1
        over.set()
        watcher.join()
        self.assertLessEqual(set(seen) - {None}, known)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.assertGreater(count, 10)

    # F26
    def test_lists_are_narrowed_to_a_device_and_to_private_data(self):
        device, number = self.bound()
        two = self.vm.add(self.daemon, TWO).id
        self.vm.map_memory(two)
        other, third = self.vm.allocate(data=7)[0], self.vm.allocate()[0]
        self.vm.bind(host(other), two)

        def grants(**fields):
            return [grant.host_pasid for grant in self.vm.pages("grant_list", "grants", **fields)]

        def bindings(**fields):
            return [binding.host_pasid for binding in self.vm.pages("binding_list", "bindings", **fields)]

        self.assertEqual(grants(data=7), [other])
        self.assertEqual(sorted(grants(data=0)), sorted([number, third]))
        self.assertEqual(grants(data=8), [])
        for found in (grants, bindings):
            self.assertEqual(found(device=pb.DeviceRef(id=device)), [number])
            self.assertEqual(found(device=pb.DeviceRef(address=TWO)), [other])
            self.assertEqual(found(device=pb.DeviceRef(address=SHARED)), [])
            self.assertEqual(found(device=pb.DeviceRef(id=4711)), [])
            for wrong in (pb.DeviceRef(), pb.DeviceRef(address="nowhere"), pb.DeviceRef(id=0)):
                with self.assertRaisesRegex(Refused, "bad-argument"):
                    found(device=wrong)
        self.assertEqual(grants(data=7, device=pb.DeviceRef(id=device)), [])
        self.vm.free(other)  # it is bound still, and has its data
        self.assertEqual(grants(data=7), [other])

    def test_pasidctl_replaces_and_narrows_its_lists(self):
        device, number = self.bound()
        before = self.root(ONE, number)

        def ctl(*words):
            command = [BUILD / "pasidctl", "--socket", self.daemon.socket, "--json", *words]
            return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

        shown = ctl("replace", "--set", "vm", "guest:5", f"{ONE}=space:2")
        self.assertEqual((shown["device"], shown["made"]), (device, True))
        self.assertNotEqual(self.root(ONE, number), before)
        self.assertEqual([entry["pasid"] for entry in ctl("bindings", "--device", ONE)], [number])
        self.assertEqual(ctl("bindings", "--device", TWO), [])
        self.assertEqual(len(ctl("pasids", "--device", str(device), "--data", "0")), 1)
        self.assertEqual(ctl("pasids", "--data", "1"), [])
        self.vm.call("rid_attach", pair=space(device, 1))
        self.assertTrue(ctl("replace", "--set", "vm", "rid", f"{device}=space:2")["made"])

    def test_what_the_kernel_refuses_leaves_the_earlier_table(self):
        device, number = self.bound()
        before = self.root(ONE, number)
        self.daemon.sim("fail", "attach", "EINVAL")
        status = self.refused("table-without-pasid", "replace", pasid=host(number), pair=space(device, 2))
        self.assertIn("attached again", status.message)
        self.assertEqual(self.root(ONE, number), before)
        self.vm.call("replace", pasid=host(number), pair=space(device, 2))

    def test_what_cannot_be_put_back_is_told_as_gone(self):
        device, number = self.bound()
        self.daemon.sim("fail", "attach", "EIO", "--times", "2")
        self.refused("binding-lost", "replace", pasid=host(number), pair=space(device, 2))
        self.assertEqual(self.daemon.tables(), {})
        self.assertEqual(self.vm.pages("binding_list", "bindings"), [])
        self.vm.bind(host(number), device)

    def test_what_cannot_be_detached_is_told_as_tainted(self):
        device, number = self.bound()
        self.daemon.sim("fail", "attach", "EIO")
        self.daemon.sim("fail", "detach", "EIO")
        self.refused("undo-failed", "replace", pasid=host(number), pair=space(device, 2))
        self.refused("device-tainted", "replace", pasid=host(number), pair=space(device, 2))
        (binding,) = self.vm.pages("binding_list", "bindings")
        self.assertEqual(binding.state, pb.BINDING_TAINTED)
        self.vm.unbind(host(number))
        self.assertEqual(self.daemon.tables(), {})

    def test_trap_17_a_replacement_waits_for_the_end_of_a_reset(self):
        device, number = self.bound()
        self.daemon.sim("reset", ONE, "300")
        self.vm.call("replace", pasid=host(number), pair=space(device, 2))
        self.daemon.sim("reset", ONE, "60000")
        request = self.vm.request("replace", deadline_ms=100, pasid=host(number), pair=space(device, 1))
        self.vm.send(request)
        with self.assertRaises(Refused) as caught:
            self.vm.result(request.id)
        self.assertIn(caught.exception.reason, ("reset-running", "deadline-passed"))
        self.assertEqual([b.state for b in self.vm.pages("binding_list", "bindings")], [pb.BINDING_BOUND])


class AcrossRestarts(Restarts):
    """The daemon is killed while its worker replaces a table; the worker goes on."""

    kill = True

    def interrupted(self, *faults):
        self.begin()
        self.vm = self.connect("vm")
        self.device = self.exclusive(self.vm, ONE)[0]
        self.vm.map_memory(self.device, space=2)
        self.number = self.vm.allocate()[0]
        self.vm.bind(host(self.number), self.device)
        self.before = self.daemon.tables()
        for fault in faults:
            self.daemon.sim(*fault)
        self.daemon.sim("latency", "600000", "--call", "attach")
        request = self.vm.request("replace", pasid=host(self.number), pair=space(self.device, 2))
        self.vm.send(request)
        time.sleep(0.2)
        self.daemon.end(kill=True)
        self.daemon.start()
        return request

    def bindings(self):
        with self.daemon.admin() as admin:
            return admin.pages("binding_list", "bindings")

    def settled(self):
        self.assertTrue(eventually(lambda: self.recovered()), self.bindings())
        self.assertTrue(self.consistent())

    def recovered(self):
        """Requests of the set wait behind its recovery."""
        with self.daemon.admin() as admin:
            return admin.status().operations == 0

    def test_what_was_done_unheard_is_recorded_and_can_be_asked_for_again(self):
        request = self.interrupted()
        self.settled()
        entry = self.daemon.tables()[(ONE, self.number)]
        self.assertNotEqual(entry, self.before[(ONE, self.number)])
        (binding,) = self.bindings()
        self.assertEqual(binding.state, pb.BINDING_BOUND)
        self.daemon.sim("clear")
        vm = self.resume(self.vm)
        vm.send(request)
        self.assertEqual(vm.result(request.id).replace.host_pasid, self.number)
        self.assertEqual(self.daemon.tables()[(ONE, self.number)], entry)
        vm.unbind(host(self.number))
        self.assertEqual(self.daemon.tables(), {})

    def test_what_failed_unheard_is_as_before(self):
        self.interrupted(("fail", "attach", "EIO"))
        self.settled()
        self.assertEqual(self.daemon.tables(), self.before)
        self.assertEqual([binding.state for binding in self.bindings()], [pb.BINDING_BOUND])

    def test_what_was_lost_unheard_is_gone(self):
        self.interrupted(("fail", "attach", "EIO", "--times", "2"))
        self.settled()
        self.assertEqual(self.daemon.tables(), {})
        self.assertEqual(self.bindings(), [])
        vm = self.resume(self.vm)
        self.daemon.sim("clear")
        vm.bind(host(self.number), self.device)


if __name__ == "__main__":
    unittest.main()
