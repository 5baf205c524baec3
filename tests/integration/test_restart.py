# SPDX-License-Identifier: MIT
"""The daemon is started anew, after SIGTERM and after SIGKILL, with and without a manager that keeps its descriptors."""

import os
import signal
import threading
import time
import unittest

from pasid_client import Refused, Vmm, eventually, host, pb, set_ref
from restarts import ONE, QUICK, SHARED, Restarts


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


class Sessions:
    """What hardware has no part in, and so is tried with one kind of end for each kind of restart only."""

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

    def test_a_worker_that_lets_go_of_the_shared_device_late_is_waited_for(self):
        self.begin()
        workers = self.daemon.workers()
        self.assertTrue(workers)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        self.daemon.kill_daemon()
        late = [threading.Timer(0.4, os.kill, (worker, signal.SIGCONT)) for worker in workers]
        for timer in late:
            timer.start()
        self.daemon.start()
        for timer in late:
            timer.join()
        with self.daemon.admin() as admin:
            self.assertFalse([note for note in admin.status().notes if "is not served" in note])
        self.slice(self.connect("vm"))


class WithStoreBySigterm(Records, Sessions, Restarts):
    pass


class WithoutStoreBySigkill(Records, Sessions, Lost, Restarts):
    kill = True


if not QUICK:

    class WithStoreBySigkill(Records, Restarts):
        kill = True

    class WithoutStoreBySigterm(Records, Lost, Restarts):
        pass


if __name__ == "__main__":
    unittest.main()
