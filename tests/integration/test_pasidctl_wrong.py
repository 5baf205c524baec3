# SPDX-License-Identifier: MIT
"""What pasidctl says of requests that cannot be done: the reason, and what can be done instead."""

import json
import unittest

from test_pasidctl import SHARED, WithDaemon, pasidctl

ONE, OTHER_SEGMENT = "0000:00:01.0", "0001:00:04.0"


class Devices(WithDaemon):
    def test_a_slice_is_not_unplugged_and_what_is_said_instead_works(self):
        number = self.vm1()
        self.done("bind", "--set", "vm1", "guest:5", f"{SHARED}=space:0")
        refused = self.refused("device-shared", "remove", "--set", "vm1", SHARED, "--force")
        self.assertIn(f"unbind its numbers (pasidctl unbind --set SET PASID {SHARED})", refused["message"])
        self.done("unbind", "--set", "vm1", str(number), SHARED)
        self.done("remove", "--set", "vm1", SHARED)
        self.assertEqual(self.done("devices", "--set", "vm1"), [])

    def test_an_address_of_several_devices_says_how_to_name_one(self):
        self.vm1()
        refused = self.refused("bad-argument", "remove", SHARED)
        self.assertIn("--set NAME names that set's slice", refused["message"])
        self.done("remove", "--set", "vm1", SHARED)

    def test_drained_of_what_is_not_shared_says_so(self):
        self.assertEqual(self.done("drained", SHARED)["released"], 0)
        for address in (ONE, "0000:7f:00.0"):
            said = self.refused("no-device", "drained", address)["message"]
            self.assertEqual(said, f"no shared device {address} is registered there; see pasidctl devices")


class Segments(WithDaemon):
    config = {
        "devices": [{"address": OTHER_SEGMENT, "use": "shared", "everyone": True}],
        "simulate": {"devices": [{"address": OTHER_SEGMENT}]},
    }

    def test_an_address_without_a_segment_is_of_segment_0(self):
        self.done("drained", OTHER_SEGMENT)
        self.refused("no-device", "drained", OTHER_SEGMENT.removeprefix("0001:"))


class Json(WithDaemon):
    """What --json promises holds for failures of pasidctl's own, too."""

    def fails(self, code, *words, socket=None):
        ended = pasidctl("--json", *words, socket=socket or self.daemon.socket)
        self.assertEqual(ended.returncode, code, ended.stderr)
        answer = json.loads(ended.stdout)
        self.assertFalse(answer["ok"])
        self.assertEqual(ended.stderr, f"pasidctl: {answer['message']} ({answer['reason']})\n")
        return answer

    def test_guest_numbers_that_stand_for_nothing(self):
        number = self.vm1()
        refused = self.fails(1, "translate", "vm1", "5", "6", "7")
        self.assertEqual((refused["reason"], refused["status"]), ("guest-pasid-unknown", "not-found"))
        self.assertEqual(refused["message"], "guest PASIDs 6 7 stand for no number of vm1")
        refused = self.fails(1, "translate", "vm1", *map(str, range(100, 111)))
        self.assertIn(" 107 and 3 more stand", refused["message"])
        self.assertEqual(self.done("translate", "vm1", "5"), [{"guest": 5, "pasid": number}])

    def test_no_daemon_is_the_same_for_all_commands(self):
        run, sets = (
            self.fails(3, *words, socket="/nosuch/socket") for words in (("run", "--", "true"), ("sets",))
        )
        self.assertEqual(run, sets)
        self.assertEqual((run["code"], run["reason"]), (-2, "no-daemon"))

    def test_a_program_that_is_not_there(self):
        number = self.vm1()
        for code, words in (
            (127, ("run",)),
            (4, ("hold", "--set", "vm1", str(number))),
            (4, ("connect", "vm1")),
        ):
            self.assertIn("cannot run nosuch: No such", self.fails(code, *words, "--", "nosuch")["message"])

    def test_files_that_are_not_there(self):
        self.assertIn("no such folder", self.fails(4, "doctor", "--root", "/nosuch")["message"])
        self.assertIn("cannot go on from", self.fails(4, "watch", "--state", "/")["message"])

    def test_a_wrong_command_line_is_text(self):
        for words in (("recover",), ("who", "many")):
            ended = pasidctl("--json", *words, socket=self.daemon.socket)
            self.assertEqual((ended.returncode, ended.stdout), (2, ""))


class Words(unittest.TestCase):
    def test_the_first_word_of_commands_names_them(self):
        for words, said in (
            (("set",), '"set" is no whole command: set create, set adjust, set destroy;'),
            (("stream", "foo"), 'there is no command "stream foo": stream install, stream replace, stream remove;'),
            (("foo", "bar"), 'there is no command "foo";'),
        ):
            ended = pasidctl(*words)
            self.assertEqual(ended.returncode, 2)
            self.assertEqual(ended.stderr, f"pasidctl: {said} see pasidctl --help\n")


if __name__ == "__main__":
    unittest.main()
