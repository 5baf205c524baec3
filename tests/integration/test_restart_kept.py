# SPDX-License-Identifier: MIT
"""Workers, and what they attached, outlive the daemon where its descriptors are kept."""

import random
import time
import unittest

import test_vmm
from pasid_client import eventually, guest, host, pb
from restarts import ONE, OTHER, QUICK, SHARED, TWO, Restarts


class Kept:
    """With the store."""

    def machines(self):
        vm1, vm2 = self.connect("vm1"), self.connect("vm2")
        one, two, part1 = *self.exclusive(vm1, ONE, TWO), self.slice(vm1)
        part2 = self.slice(vm2)
        number = vm1.allocate(guest_pasid=7, data=5)[0]
        shared1 = vm1.allocate(guest_pasid=8)[0]
        shared2 = vm2.allocate(guest_pasid=8)[0]
        vm1.bind(guest(7), one, two)
        vm1.bind(guest(8), part1)
        vm2.bind(guest(8), part2)
        pair = pb.BindPair(device=two, table=pb.Table(space=1))
        vm1.call("rid_attach", pair=pair)
        self.assertEqual(
            set(self.daemon.tables()), {(ONE, number), (TWO, number), (SHARED, shared1), (SHARED, shared2)}
        )
        return vm1, vm2, (one, two, part1, part2)

    def test_entries_stand_and_can_be_worked_with_afterwards(self):
        self.begin()
        vm1, vm2, (one, two, part1, part2) = self.machines()
        workers = set(self.daemon.workers())
        records, tables = self.records(), self.daemon.tables()
        self.daemon.end(self.kill)
        self.assertEqual(self.daemon.tables(), tables)
        time.sleep(0.1)
        self.assertEqual(self.daemon.tables(), tables)
        self.daemon.start()
        self.assertEqual(self.daemon.tables(), tables)
        self.assertEqual(self.records(), records)
        self.assertTrue(self.consistent())
        self.assertEqual(len(self.daemon.stored()), len(workers))
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        # New work on old devices, and on a new one; memory, too.
        fresh = vm1.allocate(devices=[one, two])[0]
        vm1.map_memory(one, space=1, iova=1 << 20)
        self.refused("map-overlap", vm1.map_memory, one, space=1)
        vm1.bind(host(fresh), one, two)
        self.refused("already-bound", vm1.bind, guest(7), one)
        other = self.exclusive(vm2, OTHER)[0]
        vm2.bind(guest(8), other)
        self.assertEqual(len(self.daemon.tables()), 7)
        # And all of it goes away again.
        vm1.unbind(guest(7), two)
        vm1.unbind(guest(7))
        vm1.unbind(host(fresh))
        vm1.call("rid_detach", device=two)
        for device in (one, two):
            vm1.call("device_remove", device=device)
        vm2.unbind(guest(8))
        vm2.call("device_remove", device=other)
        self.assertEqual(len(self.daemon.tables()), 1)
        vm1.unbind(guest(8))
        self.assertEqual(self.daemon.tables(), {})
        vm1.call("device_remove", device=part1)
        vm2.call("device_remove", device=part2)
        vm1.free(all=True)
        # The functions are free for others.
        self.exclusive(vm2, ONE)

    def test_sets_end_after_a_restart_and_their_workers_with_them(self):
        self.begin()
        vm1, vm2, _ = self.machines()
        self.restart()
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        vm1.call("set_destroy", force=True)
        self.assertEqual({address for address, _ in self.daemon.tables()}, {SHARED})
        vm2.call("set_destroy", force=True)
        self.assertEqual(self.daemon.tables(), {})
        self.assertTrue(eventually(lambda: len(self.daemon.stored()) == 1), self.daemon.stored())
        self.restart()
        self.assertEqual(self.daemon.tables(), {})
        self.assertEqual(len(self.daemon.stored()), 1)

    def test_two_restarts_leave_entries_alone(self):
        self.begin()
        vm1, vm2, _ = self.machines()
        records, tables = self.records(), self.daemon.tables()
        for _ in range(3):
            self.daemon.restart(self.kill)
        self.assertEqual((self.records(), self.daemon.tables()), (records, tables))
        self.resume(vm1).unbind(guest(7))
        self.resume(vm2).unbind(guest(8))
        self.assertEqual(len(self.daemon.tables()), 1)

    def test_a_stop_drops_the_store_and_numbers_are_kept(self):
        self.begin()
        vm1, vm2, _ = self.machines()
        before = {self.found(n).host_pasid: self.found(n).data for n in self.numbers(vm1)}
        if self.kill:
            self.daemon.kill_daemon()
            self.daemon.drop()
        else:
            self.assertEqual(self.daemon.stop(), 0)
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.daemon.start()
        self.assertTrue(self.consistent())
        vm1 = self.resume(vm1)
        self.assertEqual({n: self.found(n).data for n in self.numbers(vm1)}, before)
        self.assertEqual({b.state for b in vm1.pages("binding_list", "bindings")}, {pb.BINDING_TAINTED})
        self.assertEqual(self.resume(vm2).pages("binding_list", "bindings"), [])

    @staticmethod
    def numbers(client):
        return sorted(info.host_pasid for info in client.pages("grant_list", "grants"))

    def test_a_worker_that_died_meanwhile_is_lost_and_the_others_go_on(self):
        self.begin()
        vm1, vm2, (one, _, _, _) = self.machines()
        shared = self.daemon.stored()[0]
        worker = [int(name.rsplit("-", 1)[1]) for name in self.daemon.stored() if name != shared][0]
        tables = self.daemon.tables()
        self.daemon.end(self.kill)
        self.daemon.kill_worker(worker)
        self.assertTrue(eventually(lambda: len(self.daemon.tables()) == len(tables) - 2))
        self.daemon.start()
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        self.assertTrue(eventually(lambda: self.daemon.stored() == [shared]), self.daemon.stored())
        states = {b.state for b in vm1.pages("binding_list", "bindings") if b.device == one}
        self.assertEqual(states, {pb.BINDING_TAINTED})
        vm2.unbind(guest(8))
        vm1.unbind(guest(8))
        self.assertEqual(self.daemon.tables(), {})

    def test_workers_that_no_record_knows_are_ended(self):
        self.begin()
        self.machines()
        self.daemon.end(self.kill)
        (self.daemon.folder / "state-simulated").unlink()
        self.daemon.start()
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}), self.daemon.stored())
        self.assertTrue(eventually(lambda: len(self.daemon.stored()) <= 1), self.daemon.stored())

    # -- requests under way

    def send_and_end(self, client, call, request):
        """The daemon ends while its worker is in a call for the request."""
        self.daemon.sim("latency", "600000", "--call", call)
        client.send(request)
        time.sleep(0.2)
        self.daemon.end(self.kill)

    def test_a_bind_in_hardware_is_taken_back_or_done_and_can_be_sent_again(self):
        self.begin()
        vm1 = self.connect("vm1")
        one = self.exclusive(vm1, ONE)[0]
        number = vm1.allocate()[0]
        request = vm1.request(
            "bind", pasid=host(number), pairs=[pb.BindPair(device=one, table=pb.Table(space=1))]
        )
        self.send_and_end(vm1, "attach", request)
        self.daemon.start()
        self.assertTrue(self.consistent())
        self.daemon.sim("clear")
        if self.kill:
            self.assertTrue(eventually(lambda: not self.bindings()), f"the intent is still there: {self.bindings()}")
            self.assertEqual(self.daemon.tables(), {})
        else:  # who is told to end waits a little for what is under way
            self.assertEqual([binding.state for binding in self.bindings()], [pb.BINDING_BOUND])
        vm1 = self.resume(vm1)
        vm1.send(request)
        self.assertEqual(vm1.result(request.id).bind.host_pasid, number)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        vm1.send(request)
        self.assertEqual(vm1.result(request.id).bind.host_pasid, number)
        vm1.unbind(host(number))
        self.assertEqual(self.daemon.tables(), {})

    def bindings(self):
        with self.daemon.admin() as admin:
            return admin.pages("binding_list", "bindings")

    def test_an_unbind_in_hardware_is_done_and_says_so_when_sent_again(self):
        self.begin()
        vm1 = self.connect("vm1")
        one, two = self.exclusive(vm1, ONE, TWO)
        number = vm1.allocate()[0]
        vm1.bind(host(number), one, two)
        request = vm1.request("unbind", pasid=host(number), devices=[one, two])
        self.send_and_end(vm1, "detach", request)
        self.daemon.start()
        vm1 = self.resume(vm1)
        vm1.send(request)
        vm1.result(request.id)
        self.assertEqual(self.daemon.tables(), {})
        self.assertEqual(self.bindings(), [])
        vm1.send(request)
        vm1.result(request.id)
        self.refused("not-bound", vm1.unbind, host(number), one)
        self.daemon.sim("clear")
        vm1.bind(host(number), one)

    def test_a_device_in_registration_is_closed_and_can_be_registered_again(self):
        self.begin()
        vm1 = self.connect("vm1")
        with self.daemon.open_iommu() as iommufd, self.daemon.open_device(ONE) as device:
            request = vm1.request("device_add", fds=[iommufd, device])
            self.daemon.sim("latency", "600000", "--call", "bind")
            vm1.send(request, fds=[iommufd, device])
        time.sleep(0.2)
        self.daemon.end(self.kill)
        self.daemon.start()
        self.daemon.sim("clear")
        vm1 = self.resume(vm1)
        with self.daemon.open_iommu() as iommufd, self.daemon.open_device(ONE) as device:
            vm1.send(request, fds=[iommufd, device])
            added = vm1.result(request.id).device_add
        vm1.map_memory(added.id)
        number = vm1.allocate()[0]
        vm1.bind(host(number), added.id)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})

    def test_a_removal_and_an_end_of_a_set_in_hardware_are_brought_to_their_end(self):
        self.begin()
        vm1, vm2 = self.connect("vm1"), self.connect("vm2")
        one, two = self.exclusive(vm1, ONE)[0], self.exclusive(vm2, TWO)[0]
        number = vm2.allocate()[0]
        vm2.bind(host(number), two)
        self.daemon.sim("latency", "600000", "--call", "close")
        self.daemon.sim("latency", "600000", "--call", "detach")
        remove, destroy = vm1.request("device_remove", device=one), vm2.request("set_destroy", force=True)
        vm1.send(remove)
        vm2.send(destroy)
        time.sleep(0.2)
        self.daemon.end(self.kill)
        self.daemon.start()
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        vm1.send(remove)
        vm1.result(remove.id)
        vm2.send(destroy)
        vm2.result(destroy.id)
        self.daemon.sim("clear")
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.assertEqual(vm1.pages("device_list", "devices"), [])
        self.assertTrue(eventually(lambda: "vm2" not in self.names()))
        self.exclusive(vm1, ONE, TWO)

    def test_a_daemon_that_ends_while_a_device_hangs_is_there_again_at_once(self):
        self.begin()
        vm1, vm2 = self.connect("vm1"), self.connect("vm2")
        one, two = self.exclusive(vm1, OTHER)[0], self.exclusive(vm2, TWO)[0]
        number, second, other = *vm1.allocate(count=2), vm2.allocate()[0]
        vm1.bind(host(number), one)
        tables = self.daemon.tables()
        self.daemon.sim("hang", OTHER, "60000", "--call", "attach")
        pairs = [pb.BindPair(device=one, table=pb.Table(space=1))]
        hanging = vm1.request("bind", pasid=host(second), pairs=pairs, deadline_ms=300)
        vm1.send(hanging)
        time.sleep(0.2)
        started = time.monotonic()
        self.daemon.end(self.kill)
        self.daemon.start()
        self.assertLess(time.monotonic() - started, 1)
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        vm2.bind(host(other), two)
        self.assertEqual(set(self.daemon.tables()), {*tables, (TWO, other)})
        # What needs no hardware is done; what needs it waits, and says so when its time has passed.
        self.assertEqual(len(vm1.allocate(count=3, data=8)), 3)
        self.assertEqual(vm1.free(vm1.allocate()[0]).freed, 1)
        self.assertEqual(vm1.call("set_get").set_get.bindings, 2)
        for _ in range(2):
            vm1.send(hanging)
            self.assertEqual(vm1.wait(hanging.id).status.code, pb.PENDING)
        self.assertTrue(self.consistent())
        self.daemon.sim("clear")
        hanging.ClearField("deadline_ms")
        vm1.send(hanging)
        vm1.result(hanging.id)
        self.assertEqual(set(self.daemon.tables()), {*tables, (TWO, other), (OTHER, second)})
        vm1.unbind(host(number))
        vm1.unbind(host(second))
        vm2.unbind(host(other))
        self.assertEqual(self.daemon.tables(), {})


    # -- libpasid

    # F40
    def test_a_program_with_libpasid_notices_nothing(self):
        self.begin(session={"grace_ms": 20000})
        vmm = test_vmm.Vmm(self.daemon.socket)
        self.addCleanup(vmm.close)

        def done(command):
            answer = vmm.ask(command)
            self.assertTrue(answer["ok"], answer)
            return answer

        done("set vm1")
        done(f"add {self.daemon.simulation}/iommu {self.daemon.simulation}/devices/{ONE}")
        done("map dev1 0 0x10000")
        number = done("alloc guest 5")["pasids"][0]
        done("bind guest 5 dev1")
        tables = self.daemon.tables()
        self.daemon.restart(self.kill)
        self.assertEqual(done("find guest 5")["pasid"], number)
        second = done("alloc guest 6")["pasids"][0]
        self.daemon.restart(self.kill)
        done("bind guest 6 dev1")
        self.assertEqual(self.daemon.tables().keys(), {*tables, (ONE, second)})
        # One that is asked while no daemon runs answers when there is one again.
        self.daemon.end(self.kill)
        vmm.process.stdin.write(b"unbind guest 5\n")
        vmm.process.stdin.flush()
        time.sleep(0.1)
        self.daemon.start()
        self.assertTrue(vmm.line()["ok"])
        done("unbind guest 6")
        self.assertEqual(self.daemon.tables(), {})
        done("remove dev1")
        self.assertEqual(done("free all")["freed"], 2)
        done("quit")
        self.assertEqual(vmm.process.wait(20), 0)


if not QUICK:

    class BySigterm(Kept, Restarts):
        pass


class BySigkill(Kept, Restarts):
    kill = True

    def test_kills_during_the_start_change_nothing(self):
        self.begin()
        vm1, vm2, _ = self.machines()
        records, tables = self.records(), self.daemon.tables()
        began = time.monotonic()
        self.daemon.restart(kill=True)
        took = time.monotonic() - began
        stored = self.daemon.stored()
        self.daemon.kill_daemon()
        chance = random.Random(1)
        for _ in range(10):
            self.daemon.start_only()
            time.sleep(chance.uniform(0, took))
            self.daemon.kill_daemon()
            self.assertEqual(self.daemon.tables(), tables)
        self.daemon.start()
        self.assertEqual((self.records(), self.daemon.tables()), (records, tables))
        self.assertEqual(self.daemon.stored(), stored)
        self.resume(vm1).unbind(guest(7))
        self.resume(vm2).unbind(guest(8))
        self.assertEqual(len(self.daemon.tables()), 1)


if __name__ == "__main__":
    unittest.main()
