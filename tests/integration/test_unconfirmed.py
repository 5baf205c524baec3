# SPDX-License-Identifier: MIT
"""The records of a boot that has granted are gone: nothing is granted until an admin confirms that no VMM is left."""

import itertools
import json
import os
import pathlib
import subprocess
import tempfile
import unittest
from unittest import mock

from pasid_client import BUILD, TIMEOUT, Daemon, Refused, pb, set_ref

PASIDCTL = BUILD / "pasidctl"
DEVICE, SHARED = "0000:00:01.0", "0000:00:02.0"
CONFIG = {
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": DEVICE}, {"address": SHARED}]},
}
CONFIRM = "pasidctl recover --confirm-no-devices"


def boot_id():
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


class Unconfirmed(unittest.TestCase):
    # Sets of clients that have left are there for a while.
    names = (f"vm{i}" for i in itertools.count())

    def started(self, *arguments, **options):
        daemon = Daemon(CONFIG, *arguments, **options)
        self.addCleanup(daemon.cleanup)
        return daemon

    def granted(self, daemon):
        """A set is made and gets a number."""
        with daemon.client() as vmm:
            vmm.create(next(self.names))
            return vmm.allocate()[0]

    def lose_records(self, daemon):
        self.assertEqual(daemon.stop(), 0)
        (daemon.folder / "state-simulated").unlink()
        daemon.start()

    def lost(self):
        """A daemon that has granted, whose records were lost then."""
        daemon = self.started()
        self.granted(daemon)
        self.lose_records(daemon)
        return daemon

    def refused(self, act, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            act(*arguments, **fields)
        self.assertEqual((caught.exception.code, caught.exception.reason), (pb.STATE, "unconfirmed"))
        self.assertIn("records of this boot are missing", caught.exception.status.message)
        self.assertIn(CONFIRM, caught.exception.status.message)

    def notes(self, daemon):
        with daemon.client(role=pb.ROLE_OBSERVER) as observer:
            return [note for note in observer.status().notes if CONFIRM in note]

    def ctl(self, daemon, *words):
        return subprocess.run(
            [PASIDCTL, "--socket", str(daemon.socket), *words], text=True, capture_output=True, timeout=TIMEOUT
        )

    def blocked(self, daemon):
        """Everything that would grant or attach is refused; all else is served."""
        with daemon.client() as vmm:
            vmm.create(next(self.names))
            self.refused(vmm.allocate)
            self.refused(vmm.allocate, guest_pasid=5)
            self.refused(vmm.add, daemon, DEVICE)
            self.refused(vmm.call, "device_slice", address=SHARED)
            self.refused(vmm.bind, pb.PasidRef(host=1024), 1)
            self.refused(vmm.call, "rid_attach", pair=pb.BindPair(device=1, table=pb.Table(space=1)))
            self.assertEqual(vmm.pages("grant_list", "grants"), [])
            self.assertEqual(len(vmm.pages("set_list", "sets")), 1)
            with self.assertRaises(Refused) as caught:
                vmm.call("recover", confirm_no_devices=True)
            self.assertEqual(caught.exception.reason, "role-not-allowed")
        with daemon.admin() as admin:
            other = set_ref(admin.create(next(self.names)).id)
            self.refused(admin.allocate, set=other)
            admin.call("set_destroy", set=other)
            self.assertTrue(admin.status().consistent)
        self.assertEqual(len(self.notes(daemon)), 1)

    # -- the rule

    def test_lost_records_block_until_an_admin_confirms(self):
        daemon = self.lost()
        self.blocked(daemon)
        self.assertIn("records of this boot are missing", daemon.log())
        self.assertEqual(daemon.stop(), 0)
        daemon.start()
        self.blocked(daemon)
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        self.blocked(daemon)

        ended = self.ctl(daemon, "recover")
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertIn("--confirm-no-devices", ended.stderr)
        self.assertIn("VMM", ended.stderr)
        self.blocked(daemon)

        ended = self.ctl(daemon, "--json", "recover", "--confirm-no-devices")
        self.assertEqual((ended.returncode, json.loads(ended.stdout)), (0, {"ok": True, "was_blocked": True}))
        self.assertIn("confirms that no VMM holds a device", daemon.log())
        self.granted(daemon)
        self.assertEqual(self.notes(daemon), [])
        ended = self.ctl(daemon, "recover", "--confirm-no-devices")
        self.assertEqual(ended.returncode, 0)
        self.assertIn("nothing was blocked", ended.stdout)

    def test_a_confirmation_lasts(self):
        daemon = self.lost()
        with daemon.admin() as admin:
            self.assertTrue(admin.call("recover", confirm_no_devices=True).recover.was_blocked)
            self.assertFalse(admin.call("recover", confirm_no_devices=True).recover.was_blocked)
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        self.granted(daemon)

    def test_asked_again_it_is_answered_the_same(self):
        daemon = self.lost()
        with daemon.admin() as admin:
            request = admin.request("recover", confirm_no_devices=True)
            for _ in range(2):
                admin.send(request)
                self.assertTrue(admin.result(request.id).recover.was_blocked)

    def test_without_the_flag_nothing_is_confirmed(self):
        daemon = self.lost()
        with daemon.admin() as admin, self.assertRaises(Refused) as caught:
            admin.call("recover")
        self.assertEqual(caught.exception.reason, "bad-argument")
        self.blocked(daemon)

    def test_a_daemon_of_a_user_without_privileges_keeps_the_rule(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user; without root all tests are of this kind")
        with mock.patch.dict(os.environ, PASIDD_TEST_USER=os.environ.get("PASIDD_TEST_USER") or "nobody"):
            daemon = self.lost()
            self.blocked(daemon)
            with daemon.admin() as admin:
                admin.call("recover", confirm_no_devices=True)
            self.granted(daemon)

    # -- when it does not apply

    def test_records_that_are_there_block_nothing(self):
        daemon = self.started()
        self.granted(daemon)
        self.assertEqual(daemon.stop(), 0)
        daemon.start()
        self.granted(daemon)
        self.assertEqual(self.notes(daemon), [])

    def test_a_marker_of_another_boot_blocks_nothing_and_is_replaced(self):
        daemon = self.started()
        marker = daemon.simulation / "granted"
        self.assertEqual(marker.read_text(), boot_id() + "\n")
        self.assertEqual(marker.stat().st_mode & 0o777, 0o600)
        self.assertEqual(daemon.stop(), 0)
        (daemon.folder / "state-simulated").unlink()
        marker.write_text("0123456789abcdef0123456789abcdef\n")
        daemon.start()
        self.granted(daemon)
        self.assertEqual(marker.read_text(), boot_id() + "\n")

    def test_a_start_that_failed_before_it_served_blocks_nothing(self):
        """It may have made the file, without anything in it, but could grant nothing."""
        daemon = self.started(start=False)
        daemon.socket.mkdir()
        ended = subprocess.run(
            daemon.unprivileged(daemon.command()), capture_output=True, text=True, timeout=TIMEOUT
        )
        self.assertNotEqual(ended.returncode, 0)
        daemon.socket.rmdir()
        daemon.start()
        self.granted(daemon)

    # -- the marker

    def test_a_damaged_state_file_that_was_moved_away_is_a_missing_one(self):
        daemon = self.started()
        self.granted(daemon)
        self.assertEqual(daemon.stop(), 0)
        state = daemon.folder / "state-simulated"
        with open(state, "r+b") as file:
            file.seek(8)
            file.write(b"\xff" * 64)
        ended = subprocess.run(
            daemon.unprivileged(daemon.command()), capture_output=True, text=True, timeout=TIMEOUT
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn("pasidctl recover --confirm-no-devices", ended.stderr)
        state.rename(daemon.folder / "damaged")
        daemon.start()
        self.blocked(daemon)

    def test_what_cannot_be_understood_is_taken_for_this_boot(self):
        daemon = self.started()
        self.assertEqual(daemon.stop(), 0)
        (daemon.simulation / "granted").write_text("")
        (daemon.folder / "state-simulated").unlink()
        daemon.start()
        self.blocked(daemon)
        self.assertEqual((daemon.simulation / "granted").read_text(), boot_id() + "\n")

    def test_a_simulation_whose_marker_cannot_be_had_is_served_with_a_note(self):
        daemon = self.started()
        self.assertEqual(daemon.stop(), 0)
        marker = daemon.simulation / "granted"
        marker.unlink()
        marker.symlink_to("/dev/null")
        daemon.start()
        self.granted(daemon)
        with daemon.admin() as admin:
            self.assertTrue([note for note in admin.status().notes if "symbolic link" in note])

    def test_the_marker_goes_where_it_is_told(self):
        with tempfile.TemporaryDirectory(prefix="pasidd-test-") as folder:
            os.chmod(folder, 0o755)
            daemon = self.started(arguments=["--state-dir", f"{folder}/a/b"], start=False)
            if os.environ.get("PASIDD_TEST_USER"):
                daemon.unprivileged([])
                os.chmod(folder, 0o1777)
            daemon.start()
            self.assertFalse((daemon.simulation / "granted").exists())
            self.assertEqual(pathlib.Path(folder, "a/b/granted-simulated").read_text(), boot_id() + "\n")


if __name__ == "__main__":
    unittest.main()
