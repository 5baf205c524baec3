# SPDX-License-Identifier: MIT
"""F42: a set moves from one daemon to another, by a client that shares no code with them, and by pasidctl."""

import json
import unittest

from pasid_client import Client, Daemon, Refused, Vmm, eventually, guest, pb, set_ref
from test_pasidctl import pasidctl

ONE = "0000:00:01.0"
CONFIG = {"quarantine": {"cooling_ms": 1}, "simulate": {"devices": [{"address": ONE}]}}
STEPS = ("export", "reserve", "commit", "take", "release")


class Mover:
    """Carries the messages. Knows nothing between two steps but what daemons say, if it is asked to forget."""

    def __init__(self, source, target, name="vm"):
        self.source, self.target, self.name = source, target, name
        self.exported = self.reserved = self.given = self.taken = None

    def export(self):
        with self.source.admin() as admin:
            self.exported = admin.call("set_move_export", set=set_ref(self.name)).set_move_export
            grants = admin.pages("grant_list", "grants", set=set_ref(self.name))
        self.grants = [
            pb.SetMoveGrant(data=grant.data, **({"guest_pasid": grant.guest_pasid} if grant.WhichOneof("guest") else {}))
            for grant in grants
        ]

    def reserve(self, first=0, count=None, **fields):
        page = self.grants[first:][:count]
        values = {
            "token": self.exported.token,
            "proof": self.exported.proof,
            "name": self.name,
            "mode": self.exported.mode,
            "quota": self.exported.quota,
            "total": len(self.grants),
            "first": first,
            "grants": page,
            "seal": first + len(page) == len(self.grants),
        }
        with self.target.admin() as admin:
            self.reserved = admin.call("set_move_reserve", **{**values, **fields}).set_move_reserve

    def commit(self):
        said = self.reserved
        with self.source.admin() as admin:
            self.given = admin.call(
                "set_move_commit", token=said.token, proof=said.proof, pasids=said.pasids, sum=said.sum
            ).set_move_commit

    def take(self):
        with self.target.admin() as admin:
            self.taken = admin.call(
                "set_move_take", token=self.exported.token, word=self.given.word
            ).set_move_take

    def release(self):
        with self.source.admin() as admin:
            admin.call("set_move_release", token=self.exported.token, word=self.taken.word)

    def cancel(self, word=b"", **fields):
        """Of both, or of the target with this word."""
        if not word and not fields:
            with self.source.admin() as admin:
                word = admin.call("set_move_cancel", token=self.exported.token).set_move_cancel.word
        with self.target.admin() as admin:
            admin.call("set_move_cancel", token=self.exported.token, word=word, **fields)

    def until(self, step):
        for each in STEPS[: STEPS.index(step)]:
            getattr(self, each)()


class WithTwo(unittest.TestCase):
    def setUp(self):
        self.source, self.target = Daemon(CONFIG), Daemon(CONFIG)
        for daemon in (self.source, self.target):
            self.addCleanup(daemon.cleanup)
        self.mover = Mover(self.source, self.target)

    def vmm(self, mode=pb.SET_MODE_TRANSLATED):
        """At the source, with four numbers, of which one has no guest PASID when it is translated."""
        vmm = self.source.client()
        self.addCleanup(vmm.close)
        vmm.create("vm", mode=mode, pasids=20)
        if mode == pb.SET_MODE_IDENTITY:
            self.numbers = vmm.allocate(count=4, data=7)
        else:
            self.numbers = [vmm.allocate(guest_pasid=100 + i, data=i)[0] for i in range(3)]
            self.numbers += vmm.allocate(data=9)
        return vmm

    def content(self, daemon):
        """Guest PASIDs and data of the set there; None: it is not there, or goes."""
        with daemon.admin() as admin:
            try:
                info = admin.call("set_get", set=set_ref("vm")).set_get
            except Refused:
                return None
            grants = admin.pages("grant_list", "grants", set=pb.SetRef(id=info.id))
        return None if info.dying else sorted((grant.guest_pasid, grant.data) for grant in grants)

    def has_moved(self, content):
        self.assertEqual(self.content(self.target), content)
        self.assertIsNone(self.content(self.source))
        with self.source.admin() as admin:
            self.assertTrue(eventually(lambda: admin.status().pasids.current == 0))
            self.assertTrue(admin.status().consistent)
            self.assertEqual(len(admin.call("set_move_status").set_move_status.moves), 0)
        with self.target.admin() as admin:
            self.assertTrue(admin.status().consistent)
            self.assertEqual(len(admin.call("set_move_status").set_move_status.moves), 0)

    def refuses(self, reason, function, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            function(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception


class Moves(WithTwo):
    # F42
    def test_a_set_is_served_where_it_went(self):
        vmm, mover = self.vmm(), self.mover
        vmm.call("watch")
        content = self.content(self.source)
        mover.export()
        vmm.wait_event(pb.EVENT_SET_LEAVING)
        self.refuses("set-moving", vmm.allocate)
        mover.reserve(0, 3)
        mover.reserve(3)
        self.assertEqual((mover.reserved.state, mover.reserved.pasids), (pb.SET_MOVE_RESERVED, 4))
        with self.target.admin() as admin:
            self.refuses("set-moving", admin.call, "set_connect", set=set_ref("vm"))
            self.refuses("set-moving", admin.allocate, set=set_ref("vm"))
        mover.commit()
        vmm.wait_event(pb.EVENT_SET_GIVEN)
        self.assertEqual(self.refuses("set-moved", vmm.allocate).code, pb.STATE)
        mover.take()
        mover.release()
        self.has_moved(content)
        # its VMM there gets a connection of the admin's, registers its own device, and goes on
        with self.target.admin() as admin:
            request = admin.request("set_connect", set=set_ref("vm"))
            admin.send(request)
            self.assertEqual(admin.result(request.id).set_connect.name, "vm")
            with Client(fd=admin.fds.pop(request.id)[0]) as there:
                host = there.call("guest_find", guest_pasid=101).guest_find.host_pasid
                device = there.add(self.target, ONE).id
                there.map_memory(device)
                there.bind(guest(101), device)
                self.assertEqual(set(self.target.tables()), {(ONE, host)})
                there.allocate(guest_pasid=200)

    def test_every_message_may_come_again_after_a_death_of_either(self):
        self.vmm()
        content = self.content(self.source)
        for step in STEPS:
            for daemon in (self.source, self.target):
                getattr(self.mover, step)()
                daemon.process.kill()
                daemon.process.wait()
                daemon.start()
            getattr(self.mover, step)()
        self.has_moved(content)

    def test_a_set_does_not_move_while_it_is_bound(self):
        vmm, mover = self.vmm(), self.mover
        device = vmm.add(self.source, ONE).id
        vmm.map_memory(device)
        vmm.bind(guest(100), device)
        mover.until("commit")
        self.refuses("set-bound", mover.commit)
        vmm.unbind(guest(100))
        mover.commit()
        mover.take()
        mover.release()
        self.assertTrue(eventually(lambda: self.content(self.source) is None))
        self.assertEqual(self.source.tables(), {})

    def test_words_are_of_one_move_and_of_one_side(self):
        self.vmm()
        mover = self.mover
        mover.until("take")
        given = mover.given.word
        for word in (bytes(16), given[8:] + given[:8], mover.exported.token):
            self.refuses("move-word", mover.cancel, word=word)
            mover.given.word = word
            self.refuses("move-word", mover.take)
        mover.given.word = given
        self.refuses("move-word", mover.cancel, word=given)
        self.refuses("move-step", mover.cancel)  # at the source
        mover.take()
        self.refuses("move-step", mover.cancel, word=given)
        taken = mover.taken.word
        mover.taken.word = given
        self.refuses("move-word", mover.release)
        mover.taken.word = taken
        mover.release()
        for field, bad in (("token", b"short"), ("proof", bytes(9))):
            self.refuses("bad-argument", mover.reserve, **{field: bad})
        self.refuses("bad-argument", mover.cancel, word=b"short")

    def test_a_move_is_called_off(self):
        vmm = self.vmm()
        content = self.content(self.source)
        self.mover.until("commit")
        self.mover.cancel()
        self.mover.cancel()
        self.assertEqual(self.content(self.source), content)
        self.assertTrue(eventually(lambda: self.content(self.target) is None))
        vmm.allocate()
        self.refuses("no-move", self.mover.commit)

    def test_a_set_that_was_kept_is_said_to_be_kept_when_it_is_gone(self):
        self.vmm()
        self.mover.until("commit")
        with self.source.admin() as admin:
            word = admin.call("set_move_cancel", token=self.mover.exported.token).set_move_cancel.word
            admin.call("set_destroy", set=set_ref("vm"), force=True)
            again = admin.call("set_move_cancel", token=self.mover.exported.token).set_move_cancel.word
        self.assertEqual(word, again)
        self.mover.cancel(word=again)
        self.assertTrue(eventually(lambda: self.content(self.target) is None))

    def test_a_vmm_that_dies_when_its_set_is_given_does_not_take_it_along(self):
        vmm = Vmm(self.source, lambda client: (client.create("vm", pasids=9), client.allocate(guest_pasid=5))[1])
        self.addCleanup(vmm.kill)
        self.mover.until("take")
        vmm.kill()
        with self.source.admin() as admin:
            self.assertTrue(eventually(lambda: admin.call("set_get", set=set_ref("vm")).set_get.active == 0))
        self.source.process.kill()
        self.source.process.wait()
        self.source.start()
        with self.source.admin() as admin:
            (move,) = admin.call("set_move_status").set_move_status.moves
            self.assertEqual((move.state, move.ending), (pb.SET_MOVE_GIVEN, False))
        self.mover.take()
        self.mover.release()
        self.has_moved([(5, 0)])

    def test_a_host_does_not_move_sets_to_itself(self):
        self.vmm()
        self.mover.export()
        self.mover.target = self.source
        self.refuses("bad-argument", self.mover.reserve)
        self.mover.target = self.target

    def test_numbers_that_cannot_be_had_are_told(self):
        self.vmm(pb.SET_MODE_IDENTITY)
        with self.target.client() as other:
            other.create("other")
            taken = other.allocate(min=self.numbers[1], max=self.numbers[2], count=2)
            self.mover.export()
            for only_check in (True, False):
                self.mover.reserve(only_check=only_check)
                found = [run.first + i for run in self.mover.reserved.conflicts for i in range(run.count)]
                self.assertEqual(sorted(found), taken)
            self.assertIsNone(self.content(self.target))
            other.free(*taken)
            with self.target.admin() as admin:
                self.assertTrue(eventually(lambda: admin.status().pasids.current == 0))
        self.mover.reserve()
        self.mover.commit()
        self.mover.take()
        self.mover.release()
        with self.target.admin() as admin:
            grants = admin.pages("grant_list", "grants", set=set_ref("vm"))
        self.assertEqual(sorted(grant.host_pasid for grant in grants), sorted(self.numbers))


class Commands(WithTwo):
    def ctl(self, *words, daemon=None, code=0):
        ended = pasidctl("--json", *words, socket=(daemon or self.source).socket)
        self.assertEqual(ended.returncode, code, ended.stderr)
        return json.loads(ended.stdout) if ended.stdout else {}

    def move(self, *words, code=0):
        return self.ctl("move", "vm", "--to", str(self.target.socket), *words, code=code)

    def test_one_command_moves_a_set(self):
        self.vmm()
        content = self.content(self.source)
        self.assertEqual(self.move()["result"], "moved")
        self.has_moved(content)
        self.assertEqual(self.move()["result"], "moved")  # again: nothing left to do
        shown = pasidctl("move", "vm", "--to", str(self.target.socket), socket=self.source.socket)
        self.assertEqual(shown.stdout, "moved: vm\n")

    # F42
    def test_it_goes_on_wherever_it_was_interrupted(self):
        for step in STEPS[1:]:
            with self.subTest(step):
                vmm = self.vmm()
                content = self.content(self.source)
                self.mover.until(step)
                states = [move["state"] for move in self.ctl("moves")]
                self.assertEqual(len(states), 1)
                self.move()
                self.has_moved(content)
                vmm.close()
                with self.target.admin() as admin:
                    admin.call("set_destroy", set=set_ref("vm"), force=True)
                    self.assertTrue(eventually(lambda: admin.status().sets == 0))
                with self.source.admin() as admin:
                    self.assertTrue(eventually(lambda: admin.status().sets == 0))

    def test_cancel_ends_it_at_both(self):
        vmm = self.vmm()
        content = self.content(self.source)
        for step in ("reserve", "commit"):
            self.mover.until(step)
            self.assertEqual(self.move("--cancel")["result"], "cancelled")
            self.assertEqual(self.content(self.source), content)
            self.assertTrue(eventually(lambda: self.content(self.target) is None))
        vmm.allocate()
        self.mover.until("commit")
        with self.source.admin() as admin:  # who cancelled died before the target heard of it
            admin.call("set_move_cancel", token=self.mover.exported.token)
        self.move("--cancel")
        self.assertTrue(eventually(lambda: self.content(self.target) is None))
        self.mover.until("take")
        self.assertEqual(self.move("--cancel", code=1)["reason"], "move-step")
        self.move()

    def test_what_is_not_moving_is_not_called_off(self):
        vmm = self.vmm()
        self.assertEqual(self.move("--cancel", code=1)["reason"], "no-move")
        for name in ("vm", "nobody"):
            refused = self.ctl("move", name, "--cancel", code=1)
            self.assertEqual(refused["reason"], "no-move")
            self.assertIn(f"'{name}' is not moving", refused["message"])
        self.mover.until("reserve")
        self.ctl("move", "vm", "--cancel")
        self.move("--cancel", code=1)
        vmm.allocate()

    def test_a_refusal_leaves_the_set_where_it_was(self):
        vmm = self.vmm(pb.SET_MODE_IDENTITY)
        with self.target.client() as other:
            other.create("other")
            other.allocate(min=self.numbers[0], max=self.numbers[0])
            self.assertEqual(self.move(code=1)["reason"], "none-free")
            vmm.allocate()
        with self.target.admin() as admin:
            admin.create("vm")
        self.assertIn(self.move(code=1)["reason"], ("set-exists", "none-free"))
        vmm.allocate()
        self.assertEqual(self.ctl("moves"), [])
        self.assertEqual(self.ctl("moves", daemon=self.target), [])

    def test_it_waits_for_the_vmm_to_unbind_only_so_long(self):
        vmm = self.vmm()
        device = vmm.add(self.source, ONE).id
        vmm.map_memory(device)
        vmm.bind(guest(100), device)
        ended = self.ctl("--timeout", "1", "move", "vm", "--to", str(self.target.socket), code=1)
        self.assertEqual(ended["reason"], "set-bound")
        vmm.allocate()
        self.assertTrue(eventually(lambda: self.content(self.target) is None))

    def test_force_ends_what_the_other_host_will_never_answer_for(self):
        self.vmm()
        self.mover.until("take")
        self.assertEqual(self.ctl("move", "vm", "--force")["result"], "forced")
        self.assertEqual(self.ctl("move", "vm", "--force", daemon=self.target)["result"], "forced")
        for daemon in (self.source, self.target):
            self.assertTrue(eventually(lambda daemon=daemon: self.content(daemon) is None))
        self.assertEqual(self.ctl("move", "vm", "--force", code=1)["reason"], "no-move")

    def test_what_is_not_said_right_is_not_done(self):
        for words in (("vm",), ("vm", "--to", "/x", "--force"), ()):
            self.assertEqual(pasidctl("move", *words, socket=self.source.socket).returncode, 2, words)
        self.assertEqual(self.move(code=1)["reason"], "no-set")
        self.vmm()
        self.ctl("move", "vm", "--to", "/nonexistent", code=3)
        self.assertEqual(self.content(self.source)[-1], (102, 2))

    def test_a_large_set_moves_in_pages(self):
        vmm = self.source.client()
        self.addCleanup(vmm.close)
        vmm.create("vm", pasids=3000)
        vmm.allocate(count=2500, data=3)
        self.move("--owner", "4711", "--max", "9000")
        with self.target.admin() as admin:
            info = admin.call("set_get", set=set_ref("vm")).set_get
            self.assertEqual((info.active, info.uid, info.move), (2500, 4711, pb.SET_MOVE_TAKEN))
            grants = admin.pages("grant_list", "grants", set=set_ref("vm"))
        self.assertLessEqual(max(grant.host_pasid for grant in grants), 9000)


if __name__ == "__main__":
    unittest.main()
