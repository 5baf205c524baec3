# SPDX-License-Identifier: MIT
"""The daemon is started anew, after SIGTERM and after SIGKILL, with and without a manager that keeps its descriptors."""

import random
import time
import unittest

import test_vmm
from manager import Manager
from pasid_client import Refused, Vmm, eventually, guest, host, pb, set_ref

ONE, TWO, SHARED, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address, "unit": int(address == OTHER)} for address in (ONE, TWO, SHARED, OTHER)]},
}
# What is used by connections, and by who looks.
FLEETING = ("connections", "sessions", "operations", "unread-bytes", "remembered-bytes", "received-descriptors", "watches")


class Restarts(unittest.TestCase):
    """What all of them need; how the daemon ends and whether its descriptors are kept is told by the subclass."""

    kill = False
    keeps = True

    def begin(self, **config):
        self.daemon = Manager({**CONFIG, **config}, keeps=self.keeps)
        self.addCleanup(self.after)

    def after(self):
        """Whatever happened, a recount agrees with the counters, and the daemon ends well."""
        try:
            if self.daemon.process.poll() is None:
                self.assertTrue(self.consistent())
        finally:
            self.daemon.cleanup()

    def consistent(self):
        with self.daemon.admin() as admin:
            return admin.status().consistent

    def restart(self):
        self.daemon.restart(self.kill)
        self.assertTrue(self.consistent())

    def connect(self, name, **fields):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.create(name, **fields)
        return client

    def resume(self, client):
        client.close()
        again = self.daemon.client(hello=False)
        self.addCleanup(again.close)
        again.say_hello(resume_token=client.welcome.resume_token)
        self.assertTrue(again.welcome.resumed)
        self.assertEqual(again.welcome.session, client.welcome.session)
        again.next_id = max(again.next_id, client.next_id)
        return again

    def refused(self, reason, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception.status

    def exclusive(self, client, *addresses):
        devices = [client.add(self.daemon, address).id for address in addresses]
        for device in devices:
            client.map_memory(device)
        return devices

    def slice(self, client):
        device = client.call("device_slice", address=SHARED).device_slice.id
        client.map_memory(device)
        return device

    def found(self, number):
        with self.daemon.admin() as admin:
            return admin.call("host_find", host_pasid=number).host_find

    def names(self):
        with self.daemon.admin() as admin:
            return {info.name for info in admin.pages("set_list", "sets")}

    def records(self):
        """All that the daemon says of what it has, but for what passes with time and with connections."""
        with self.daemon.admin() as admin:
            grants = admin.pages("grant_list", "grants", quarantined=True)
            for grant in grants:
                grant.ClearField("cooling_ms")
            sets = admin.pages("set_list", "sets")
            for info in sets:
                info.pasids.ClearField("peak")
                info.pasids.ClearField("hits")
            limits = {
                (info.resource, info.level, info.uid, info.set): (info.use.limit, info.use.current)
                for info in admin.pages("limit_list", "limits")
                if info.resource not in FLEETING
            }
            devices = admin.pages("device_list", "devices")
            if not self.keeps:  # it is opened anew by the next one
                devices = [device for device in devices if device.kind != pb.DEVICE_SHARED]
            found = (sets, grants, devices, admin.pages("binding_list", "bindings"))
            lists = [sorted(str(each) for each in listed) for listed in found]
        return lists, {key: use for key, use in limits.items() if use[1] or use[0]}


class Records:
    """What is the same after a restart of any kind."""

    def test_sets_numbers_guest_numbers_data_and_quotas_are_what_they_were(self):
        self.begin(quarantine={"cooling_ms": 60000})
        vm1, vm2 = self.connect("vm1", pasids=40), self.connect("vm2", mode=pb.SET_MODE_IDENTITY, pasids=7)
        with self.daemon.admin() as admin:
            of_admin = admin.create("kept", pasids=3, uid=4711)
            admin.allocate(set=set_ref("kept"), count=2, data=9)
        mapped = vm1.allocate(guest_pasid=7, data=1 << 63)[0]
        numbers = vm1.allocate(count=8, consecutive=True, data=0xDEADBEEF)
        vm1.call("guest_attach", host_pasid=numbers[3], guest_pasid=0xFFFFF)
        vm1.call("data_set", pasid=host(numbers[4]), data=77)
        vm1.free(*numbers[:2])
        other = vm2.allocate(count=3)
        vm1.call("set_adjust", pasids=30)
        before = self.records()
        self.restart()
        self.assertEqual(self.records(), before)
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        self.assertEqual(vm1.call("guest_find", guest_pasid=7).guest_find.host_pasid, mapped)
        self.assertEqual(vm1.call("guest_find", guest_pasid=0xFFFFF).guest_find.host_pasid, numbers[3])
        self.refused("guest-pasid-taken", vm1.allocate, guest_pasid=7)
        self.refused("no-pasid", vm2.free, mapped)
        # Quarantine goes on, the quota counts it, and nothing is granted twice.
        self.assertEqual(list(self.found(numbers[0]).quarantine), ["cooling"])
        self.refused("none-free", vm1.allocate, min=numbers[0], max=numbers[4])
        self.refused("set-quota", vm1.allocate, count=22)
        fresh = vm1.allocate(count=21)
        self.assertFalse(set(fresh) & {mapped, *numbers, *other})
        self.refused("set-quota", vm2.allocate, count=5)
        self.assertEqual(vm2.free(all=True).freed, 3)
        with self.daemon.admin() as admin:
            self.assertEqual(admin.call("set_get", set=set_ref("kept")).set_get.id, of_admin.id)
            admin.call("set_destroy", set=set_ref("kept"), force=True)

    def test_a_quarantine_goes_on_and_ends(self):
        self.begin(quarantine={"cooling_ms": 1500})
        vm1 = self.connect("vm1")
        number = vm1.allocate()[0]
        vm1.free(number)
        started = time.monotonic()
        self.restart()
        vm1 = self.resume(vm1)
        if time.monotonic() - started < 1:
            self.refused("none-free", vm1.allocate, min=number, max=number)
        self.assertTrue(eventually(lambda: self.found(number).state == pb.GRANT_IDLE))
        self.assertGreater(time.monotonic() - started, 1.4)
        self.assertEqual(vm1.allocate(min=number, max=number), [number])

    def test_a_request_sent_again_is_answered_as_before_and_done_once(self):
        self.begin()
        vm1 = self.connect("vm1")
        many = [vm1.request("allocate", count=1 + i % 3) for i in range(20)]
        vm1.send(*many)
        replies = [vm1.result(request.id) for request in many]
        refusal = vm1.request("allocate", guest_pasid=1 << 21)
        vm1.send(refusal)
        refused = vm1.wait(refusal.id)
        unread = vm1.request("allocate", count=5, data=3)
        vm1.send(unread)
        active = sum(run.count for reply in replies for run in reply.allocate.runs) + 5
        with self.daemon.admin() as admin:
            self.assertTrue(
                eventually(lambda: admin.call("set_get", set=set_ref("vm1")).set_get.active == active),
                "it was never done",
            )
        self.restart()
        vm1 = self.resume(vm1)
        self.assertGreaterEqual(vm1.welcome.last_id, unread.id)
        vm1.send(*many, refusal, unread)
        self.assertEqual([vm1.result(request.id) for request in many], replies)
        self.assertEqual(vm1.wait(refusal.id), refused)
        numbers = [run.first + i for run in vm1.result(unread.id).allocate.runs for i in range(run.count)]
        self.assertEqual(len(numbers), 5)
        self.assertEqual({self.found(number).data for number in numbers}, {3})
        self.assertEqual(vm1.call("set_get").set_get.active, active)
        # The same id with other content is somebody's mistake.
        for request_id, fields in ((unread.id, {"count": 6, "data": 3}), (many[0].id, {"count": 2})):
            self.refused("request-id-reused", vm1.call, "allocate", request_id=request_id, **fields)
        self.refused("request-id-reused", vm1.call, "free", request_id=unread.id, all=True)
        # What the client has seen is forgotten, then and now.
        vm1.seen_below = many[10].id
        vm1.call("ping")
        self.assertEqual(vm1.call("set_get").set_get.active, active)
        self.restart()
        vm1 = self.resume(vm1)
        vm1.send(many[3], many[15])
        self.assertEqual(vm1.wait(many[3].id).status.reason, "request-id-below-window")
        self.assertEqual(vm1.result(many[15].id), replies[15])
        self.assertEqual(vm1.call("set_get").set_get.active, active)

    def test_a_token_is_good_for_its_own_session_only(self):
        self.begin()
        vm1, vm2 = self.connect("vm1"), self.connect("vm2")
        number = vm1.allocate()[0]
        self.restart()
        with self.daemon.client(hello=False) as client:
            for token in (b"", b"\0" * 16, bytes(reversed(vm1.welcome.resume_token))):
                with self.assertRaises(Refused):
                    client.call("hello", version_min=1, version_max=1, resume_token=token)
        vm2 = self.resume(vm2)
        self.refused("no-pasid", vm2.free, number)
        with self.daemon.client() as other:
            self.refused("set-exists", other.create, "vm1")
        vm1 = self.resume(vm1)
        self.assertEqual(vm1.free(number).freed, 1)
        # New sessions never have the id of an old one.
        with self.daemon.client() as new:
            self.assertGreater(new.welcome.session, vm2.welcome.session)

    def test_a_vmm_that_died_meanwhile_is_torn_down_at_the_start(self):
        self.begin()

        def machine(client):
            client.create("vm1")
            device = client.add(self.daemon, ONE).id
            shared = client.call("device_slice", address=SHARED).device_slice.id
            client.map_memory(device)
            client.map_memory(shared)
            first, second = client.allocate(count=2)
            client.bind(host(first), device)
            client.bind(host(second), shared)
            return first, second

        vm1 = Vmm(self.daemon, machine)
        self.addCleanup(vm1.kill)
        vm2 = self.connect("vm2")
        number = vm2.allocate()[0]
        self.daemon.end(self.kill)
        vm1.kill()
        started = time.monotonic()
        self.daemon.start()
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.assertTrue(eventually(lambda: self.found(vm1.result[1]).state == pb.GRANT_QUARANTINED))
        self.assertLess(time.monotonic() - started, 5, "it waited for the grace period")
        self.assertEqual(self.resume(vm2).free(number).freed, 1)

    def test_a_vmm_that_does_not_come_back_is_torn_down_after_the_grace_period(self):
        self.begin(session={"grace_ms": 1200})
        vm1, vm2 = self.connect("vm1"), self.connect("vm2")
        number = vm1.allocate()[0]
        self.daemon.end(self.kill)
        time.sleep(1.3)  # the period runs from when it can come back
        started = time.monotonic()
        self.daemon.start()
        vm2 = self.resume(vm2)
        self.assertLessEqual({"vm1", "vm2"}, self.names())
        self.assertTrue(eventually(lambda: "vm1" not in self.names()))
        self.assertGreater(time.monotonic() - started, 1.1)
        self.assertNotEqual(self.found(number).state, pb.GRANT_ACTIVE)
        self.refused("resume-token-unknown", self.resume, vm1)
        self.assertEqual(vm2.call("set_get").set_get.name, "vm2")

    def test_two_restarts_in_a_row_are_like_one(self):
        self.begin(quarantine={"cooling_ms": 60000})
        vm1 = self.connect("vm1")
        numbers = vm1.allocate(count=5, data=4)
        vm1.free(numbers[0])
        before = self.records()
        for _ in range(2):
            self.daemon.restart(self.kill)
        self.assertEqual(self.records(), before)
        self.assertEqual(self.resume(vm1).free(all=True).freed, 4)

    def test_a_set_whose_handed_connection_ended_with_the_daemon_is_emptied_and_connected_again(self):
        self.begin()
        with self.daemon.admin() as admin:
            admin.create("vm1")
            request = admin.request("set_connect", set=set_ref("vm1"))
            admin.send(request)
            admin.result(request.id)
            vm1 = self.daemon.client(fd=admin.fds[request.id][0])
        self.addCleanup(vm1.close)
        number = vm1.allocate()[0]
        self.restart()
        self.assertTrue(vm1.closed())
        self.assertTrue(eventually(lambda: self.found(number).state in (pb.GRANT_IDLE, pb.GRANT_QUARANTINED)))
        with self.daemon.admin() as admin:
            self.assertEqual(admin.call("set_get", set=set_ref("vm1")).set_get.active, 0)
            request = admin.request("set_connect", set=set_ref("vm1"))
            admin.send(request)
            admin.result(request.id)
            with self.daemon.client(fd=admin.fds[request.id][0]) as again:
                self.assertEqual(len(again.allocate()), 1)


class Lost:
    """Without the store: the workers end with the daemon, and nobody can say what is still attached."""

    keeps = False

    def test_exclusive_numbers_are_tainted_and_shared_ones_wait_to_be_drained(self):
        self.begin()
        vm1, vm2 = self.connect("vm1"), self.connect("vm2")
        one, part = *self.exclusive(vm1, ONE), self.slice(vm1)
        bound, shared, free = vm1.allocate(count=3)
        vm1.bind(host(bound), one)
        vm1.bind(host(shared), part)
        self.restart()
        # The workers detached all of it as they ended; what stands in the records is what is known for sure.
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        vm1, vm2 = self.resume(vm1), self.resume(vm2)
        bindings = {b.host_pasid: b.state for b in vm1.pages("binding_list", "bindings")}
        self.assertEqual(bindings, {bound: pb.BINDING_TAINTED})
        self.refused("device-tainted", vm1.bind, host(free), one)
        vm1.call("set_destroy", force=True)
        time.sleep(0.1)
        self.assertEqual(list(self.found(bound).quarantine), ["tainted"])
        self.assertEqual(list(self.found(shared).quarantine), ["undrained"])
        self.restart()
        vm2 = self.resume(vm2)
        self.assertEqual(list(self.found(bound).quarantine), ["tainted"])
        self.assertEqual(list(self.found(shared).quarantine), ["undrained"])
        for number in (bound, shared):
            self.refused("none-free", vm2.allocate, min=number, max=number)
        with self.daemon.admin() as admin:
            self.refused("device-tainted", admin.call, "quarantine_end", host_pasid=bound)
            for device in admin.pages("device_list", "devices"):
                if device.kind == pb.DEVICE_SHARED:
                    admin.call("device_drained", device=device.id)
        self.assertTrue(eventually(lambda: self.found(shared).state == pb.GRANT_IDLE))
        # A new registration of the function proves that nothing of the old one is left.
        two = self.exclusive(vm2, ONE)[0]
        self.assertTrue(eventually(lambda: self.found(bound).state == pb.GRANT_IDLE))
        vm2.bind(host(vm2.allocate(min=bound, max=bound)[0]), two)
        self.assertEqual(set(self.daemon.tables()), {(ONE, bound)})

    def test_the_shared_device_is_served_again(self):
        self.begin()
        vm1 = self.connect("vm1")
        part = self.slice(vm1)
        number = vm1.allocate()[0]
        vm1.bind(host(number), part)
        self.restart()
        with self.daemon.admin() as admin:
            self.assertFalse([note for note in admin.status().notes if "is not served" in note])
        vm2 = self.connect("vm2")
        other = vm2.allocate()[0]
        vm2.bind(host(other), self.slice(vm2))
        self.assertEqual(set(self.daemon.tables()), {(SHARED, other)})


class Kept:
    """With the store: the workers, and what they attached, outlive the daemon."""

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
        states = {b.state for b in vm1.pages("binding_list", "bindings") if b.device == one}
        self.assertEqual(states, {pb.BINDING_TAINTED})
        vm2.unbind(guest(8))
        vm1.unbind(guest(8))
        self.assertEqual(self.daemon.tables(), {})

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
        self.assertEqual(self.daemon.tables(), {})
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
        self.daemon.end(self.kill)
        started = time.monotonic()
        self.daemon.start()
        self.assertLess(time.monotonic() - started, 5)
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


class WithStoreBySigterm(Records, Kept, Restarts):
    pass


class WithStoreBySigkill(Records, Kept, Restarts):
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


class WithoutStoreBySigterm(Records, Lost, Restarts):
    pass


class WithoutStoreBySigkill(Records, Lost, Restarts):
    kill = True


if __name__ == "__main__":
    unittest.main()
