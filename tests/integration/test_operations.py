# SPDX-License-Identifier: MIT
"""Every operation of the protocol, done right, by a client that shares no code with the daemon."""

import os
import unittest

from hostile.wild import OPERATIONS
from pasid_client import Client, Daemon, eventually, guest, host, pb, set_ref

ONE, SHARED, LATER = (f"0000:00:0{i}.0" for i in (1, 2, 3))
CONFIG = {
    "quarantine": {"cooling_ms": 1000},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address} for address in (ONE, SHARED, LATER)]},
}


class Tour(Client):
    """Writes down what was done and succeeded."""

    done = set()

    def result(self, request_id):
        reply = super().result(request_id)
        self.done.add(self.asked.pop(request_id))
        return reply

    def request(self, operation, *arguments, **fields):
        request = super().request(operation, *arguments, **fields)
        self.asked = {**getattr(self, "asked", {}), request.id: operation}
        return request


class Operations(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        Tour.done = set()
        self.admin = self.connect(role=pb.ROLE_ADMIN)
        self.vmm = self.connect()

    def connect(self, **options):
        client = Tour(self.daemon.socket, **options)
        self.addCleanup(client.close)
        return client

    def numbers(self):
        """Numbers and their guests'; what is left of them is the first one."""
        vmm = self.vmm
        first = vmm.allocate(guest_pasid=5, data=1)[0]
        block = vmm.allocate(count=8, consecutive=True)
        self.assertEqual((block, block[0] % 8), ([block[0] + i for i in range(8)], 0))
        self.assertEqual(vmm.call("guest_find", guest_pasid=5).guest_find.host_pasid, first)
        vmm.call("guest_attach", host_pasid=block[0], guest_pasid=6)
        vmm.call("guest_detach", guest_pasid=6)
        vmm.call("data_set", pasid=host(first), data=99)
        found = vmm.call("host_find", host_pasid=first).host_find
        self.assertEqual((found.guest_pasid, found.data, found.set_name), (5, 99, "vm"))
        self.assertEqual(vmm.free(*block).freed, 8)
        vmm.call("hold", host_pasid=first)
        self.assertEqual([held.times for held in vmm.pages("hold_list", "holds")], [1])
        vmm.call("release", host_pasid=first)
        request = vmm.request("set_export")
        vmm.send(request)
        self.assertEqual(vmm.result(request.id).set_export.version, 1)
        os.close(vmm.fds.pop(request.id)[0])
        grants = vmm.pages("grant_list", "grants")
        self.assertEqual([grant.host_pasid for grant in grants], [first])
        return first

    def exclusive(self, number):
        vmm = self.vmm
        device = vmm.add(self.daemon, ONE).id
        vmm.map_memory(device)
        self.assertEqual(vmm.call("extend", pasid=guest(5), devices=[device]).extend.added, 0)  # it is global
        vmm.bind(guest(5), device)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.assertEqual([b.host_pasid for b in vmm.pages("binding_list", "bindings")], [number])
        vmm.map_memory(device, space=2)
        pair = pb.BindPair(device=device, table=pb.Table(space=2))
        self.assertEqual(vmm.call("replace", pasid=guest(5), pair=pair).replace.host_pasid, number)
        vmm.unbind(guest(5), device)
        pair = pb.BindPair(device=device, table=pb.Table(space=1))
        vmm.call("rid_attach", pair=pair)
        vmm.call("rid_detach", device=device)
        vmm.call("memory_unmap", device=device, space=1, iova=0, length=1 << 16)
        self.assertEqual(self.daemon.tables(), {})
        vmm.call("device_remove", device=device)

    def shared(self, number):
        vmm, admin = self.vmm, self.admin
        own = vmm.call("device_slice", address=SHARED).device_slice
        vmm.map_memory(own.id)
        vmm.bind(host(number), own.id)
        vmm.unbind(host(number))
        self.assertEqual(len(vmm.pages("device_list", "devices")), 1)
        self.assertEqual(admin.call("device_share", address=LATER).device_share.kind, pb.DEVICE_SHARED)
        vmm.free(number)
        self.assertTrue(eventually(lambda: self.why(number) == ["undrained"]), self.why(number))
        self.assertEqual(admin.call("device_drained", device=own.shared).device_drained.released, 1)

    def why(self, number):
        return list(self.admin.call("host_find", host_pasid=number).host_find.quarantine)

    def admins(self):
        admin, vmm = self.admin, self.vmm
        admin.create("kept", pasids=10)
        self.assertEqual(admin.call("set_adjust", set=set_ref("kept"), pasids=20).set_adjust.pasids.limit, 20)
        self.assertEqual({info.name for info in admin.pages("set_list", "sets")}, {"vm", "kept"})
        request = admin.request("set_connect", set=set_ref("kept"))
        admin.send(request)
        self.assertEqual(admin.result(request.id).set_connect.name, "kept")
        with Tour(fd=admin.fds[request.id][0]) as handed:
            self.assertEqual(handed.call("set_get").set_get.name, "kept")
            number = handed.allocate()[0]
            handed.free(number)
            admin.call("quarantine_end", host_pasid=number)
            self.assertEqual(admin.call("host_find", host_pasid=number).host_find.state, pb.GRANT_IDLE)
        with self.connect(role=pb.ROLE_PARTICIPANT) as participant:
            self.assertEqual(participant.call("acknowledge", host_pasids=[number]).acknowledge.unchanged, 1)
        self.assertTrue(vmm.pages("limit_list", "limits"))
        self.assertFalse(admin.call("recover", confirm_no_devices=True).recover.was_blocked)

    def moves(self):
        """Steps of a move; that they are one is the business of test_moves.py."""
        admin = self.admin
        moving = admin.call("set_move_export", set=set_ref("kept")).set_move_export
        self.assertEqual(len(admin.call("set_move_status").set_move_status.moves), 1)
        word = admin.call("set_move_cancel", token=moving.token).set_move_cancel.word
        self.assertEqual(len(word), 16)
        with Daemon(CONFIG) as other, Tour(other.socket, role=pb.ROLE_ADMIN) as there:
            moving = admin.call("set_move_export", set=set_ref("kept")).set_move_export
            said = there.call(
                "set_move_reserve",
                token=moving.token,
                proof=moving.proof,
                name="kept",
                mode=moving.mode,
                quota=moving.quota,
                seal=True,
            ).set_move_reserve
            given = admin.call("set_move_commit", token=said.token, proof=said.proof, sum=said.sum).set_move_commit
            taken = there.call("set_move_take", token=said.token, word=given.word).set_move_take
            admin.call("set_move_release", token=said.token, word=taken.word)
            self.assertEqual(there.call("set_get", set=set_ref("kept")).set_get.move, pb.SET_MOVE_TAKEN)
        admin.create("kept")

    def test_every_operation_is_done(self):
        vmm = self.vmm
        payload = os.urandom(64)
        self.assertEqual(vmm.call("ping", payload=payload).ping.payload, payload)
        vmm.call("watch")
        self.assertEqual(vmm.create("vm").pasids.limit, 1024)
        self.assertEqual(len(vmm.call("hand_over").hand_over.secret), 16)
        vmm.call("hand_over", cancel=True)
        number = self.numbers()
        self.exclusive(number)
        self.shared(number)
        self.admins()
        self.moves()
        vmm.call("set_destroy", force=True)
        self.assertTrue(vmm.wait_event(pb.EVENT_SET_DESTROYED))
        self.assertTrue(eventually(lambda: self.admin.status().sets == 1))
        status = self.admin.status()
        self.assertEqual((status.consistent, status.bindings, status.operations), (True, 0, 0))
        self.assertEqual(set(OPERATIONS) - Tour.done, set(), "operations that nobody did")


if __name__ == "__main__":
    unittest.main()
