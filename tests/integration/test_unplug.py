# SPDX-License-Identifier: MIT
"""A function that is unplugged: it goes at once, and takes along what was bound there and nothing else."""

import signal
import subprocess
import unittest

from pasid_client import PASID_SIM, Refused, eventually, host, pb
from restarts import ONE, SHARED, TWO, Restarts


class Unplug(Restarts):
    def setUp(self):
        self.begin()

    def soon(self, condition):
        self.assertTrue(eventually(condition))

    def device(self, address):
        with self.daemon.admin() as admin:
            return [info for info in admin.pages("device_list", "devices")
                    if info.address == address and info.kind != pb.DEVICE_SLICE]

    # -- a shared device: the kernel asks the daemon's worker

    def two_on_the_shared_one(self):
        machines = [self.connect(name) for name in ("vm1", "vm2")]
        numbers = [vm.allocate()[0] for vm in machines]
        for vm, number in zip(machines, numbers):
            vm.bind(host(number), self.slice(vm))
        return machines, numbers

    # F38
    def test_a_shared_one_goes_at_once_whoever_is_bound_there(self):
        machines, numbers = self.two_on_the_shared_one()
        one = self.exclusive(machines[0], ONE)[0]
        machines[0].bind(host(numbers[0]), one)
        self.assertEqual(len(self.daemon.tables()), 3)
        self.daemon.sim("unplug", SHARED)
        self.assertEqual(set(self.daemon.tables()), {(ONE, numbers[0])})
        self.soon(lambda: [info.tainted for info in self.device(SHARED)] == [True])
        self.assertEqual([info.device for info in machines[0].pages("binding_list", "bindings")], [one])
        self.assertEqual(machines[1].pages("binding_list", "bindings"), [])

    def test_numbers_that_may_be_queued_there_wait(self):
        machines, numbers = self.two_on_the_shared_one()
        self.daemon.sim("unplug", SHARED)
        self.soon(lambda: not machines[1].pages("binding_list", "bindings"))
        machines[1].call("free", pasids=[host(numbers[1])])
        self.assertEqual(self.found(numbers[1]).state, pb.GRANT_QUARANTINED)
        with self.daemon.admin() as admin:
            admin.call("device_drained", device=self.device(SHARED)[0].id)
        self.soon(lambda: self.found(numbers[1]).state == pb.GRANT_IDLE)

    def test_it_can_be_shared_again_when_it_is_back(self):
        machines, numbers = self.two_on_the_shared_one()
        self.daemon.sim("unplug", SHARED)
        self.soon(lambda: not machines[0].pages("binding_list", "bindings"))
        for vm in machines:
            vm.call("device_remove", device=vm.pages("device_list", "devices")[0].id)
        with self.daemon.admin() as admin:
            old = self.device(SHARED)[0].id
            admin.call("device_drained", device=old)
            admin.call("device_remove", device=old)
            self.refused("no-device", admin.call, "device_share", address=SHARED)
            self.daemon.sim("plug", SHARED)
            admin.call("device_share", address=SHARED)
        machines[0].bind(host(numbers[0]), self.slice(machines[0]))
        self.assertEqual(set(self.daemon.tables()), {(SHARED, numbers[0])})

    def test_it_goes_while_no_daemon_is_there(self):
        machines, numbers = self.two_on_the_shared_one()
        self.daemon.end(kill=True)
        self.assertEqual(len(self.daemon.tables()), 2)
        self.daemon.sim("unplug", SHARED)
        self.assertEqual(self.daemon.tables(), {})
        self.daemon.start()
        vm1 = self.resume(machines[0])
        self.assertEqual(vm1.pages("binding_list", "bindings"), [])
        self.assertEqual(self.found(numbers[0]).state, pb.GRANT_ACTIVE)

    # -- an exclusive one: the kernel asks the VMM, and that us

    def test_a_vmm_lets_go_of_its_own_in_one_request(self):
        vm = self.connect("vm1")
        one, two = self.exclusive(vm, ONE, TWO)
        numbers = vm.allocate(count=2)
        for number in numbers:
            vm.bind(host(number), one, two)
        waiting = subprocess.Popen([str(PASID_SIM), str(self.daemon.simulation), "unplug", ONE])
        self.addCleanup(waiting.wait)
        self.soon(lambda: self.is_going(ONE))
        self.refused("device-busy", vm.call, "device_remove", device=one)
        self.assertIsNone(waiting.poll())
        vm.call("device_remove", device=one, going=True)
        self.assertEqual(waiting.wait(10), 0)
        self.assertEqual(set(self.daemon.tables()), {(TWO, number) for number in numbers})
        self.assertEqual({info.device for info in vm.pages("binding_list", "bindings")}, {two})
        vm.bind(host(vm.allocate()[0]), two)

    def is_going(self, address):
        """Nobody can open it any more."""
        try:
            self.daemon.sim("unplug", address, "--wait", "0")
        except subprocess.CalledProcessError as error:
            return "still in use" in error.stderr
        return False

    def test_a_device_that_hangs_is_pending_and_others_go_on(self):
        vm, other = self.connect("vm1"), self.connect("vm2")
        one, two = self.exclusive(vm, ONE)[0], self.exclusive(other, TWO)[0]
        vm.bind(host(vm.allocate()[0]), one)
        self.daemon.sim("hang", ONE, "60000", "--call", "detach")
        request = vm.request("device_remove", deadline_ms=50, device=one, going=True)
        vm.send(request)
        with self.assertRaises(Refused) as caught:
            vm.result(request.id)
        self.assertEqual(caught.exception.code, pb.PENDING)
        number = other.allocate()[0]
        self.daemon.sim("clear")
        other.bind(host(number), two)
        self.soon(lambda: set(self.daemon.tables()) == {(TWO, number)})

    def test_it_is_no_way_to_take_anothers(self):
        vm, other = self.connect("vm1"), self.connect("vm2")
        one = self.exclusive(vm, ONE)[0]
        number = vm.allocate()[0]
        vm.bind(host(number), one)
        self.refused("no-device", other.call, "device_remove", device=one, going=True)
        slice_ = self.slice(vm)
        (shared,) = [info.shared for info in vm.pages("device_list", "devices") if info.id == slice_]
        refused = self.refused("device-shared", vm.call, "device_remove", device=slice_, going=True)
        self.assertIn(f"pasidctl unbind --set SET PASID {SHARED}", refused.message)
        with self.daemon.admin() as admin:
            refused = self.refused("device-shared", admin.call, "device_remove", device=shared, going=True)
            self.assertIn("let its slices end", refused.message)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})

    def test_a_worker_that_is_told_says_why_it_ended(self):
        self.two_on_the_shared_one()
        self.daemon.sim("unplug", SHARED)
        self.soon(lambda: "to be unplugged" in self.daemon.log())
        self.assertIsNone(self.daemon.process.poll())
        self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(10), 0)


if __name__ == "__main__":
    unittest.main()
