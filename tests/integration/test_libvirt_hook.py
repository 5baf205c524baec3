# SPDX-License-Identifier: MIT
"""The hook of libvirt, called as libvirt does: words, and the domain's XML on standard input. The daemon is real."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from pasid_client import BUILD, TIMEOUT, Daemon

PASIDCTL = BUILD / "pasidctl"
HOOK = pathlib.Path(__file__).resolve().parents[2] / "libvirt"
UUID = "6f2a9c1e-8d34-4b7a-9c55-0a1b2c3d4e5f"
OTHER = "00000000-0000-4000-8000-000000000001"
CONFIG = {"quarantine": {"cooling_ms": 1}}


def domain(attributes=None, name="guest1", uuid=UUID, more="", element="set"):
    """As libvirt writes it: the prefix of the namespace is whoever's who defined the domain."""
    metadata = "" if attributes is None else f'<p:{element} xmlns:p="urn:pasidd:domain:1" {attributes}/>'
    return f"""<domain type='kvm' id='7'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"/>
    {metadata}{more}
  </metadata>
  <memory unit='KiB'>1048576</memory>
  <seclabel type='static' model='dac' relabel='yes'><label>+0:+0</label></seclabel>
</domain>
"""


class WithFolder(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pasidd-hook-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.records = self.folder / "records"
        self.socket = self.folder / "no-daemon"
        self.path = f"{BUILD}:{os.environ['PATH']}"
        self.script = HOOK / "qemu.py"

    def hook(self, operation, step, xml, name="guest1"):
        environment = {
            **os.environ,
            "PATH": self.path,
            "PASIDD_SOCKET": str(self.socket),
            "PASIDD_LIBVIRT_SCRIPT": str(self.script),
            "PASIDD_LIBVIRT_RECORDS": str(self.records),
        }
        ended = subprocess.run([HOOK / "qemu", name, operation, step, "-"], input=xml, text=True, capture_output=True,
                               timeout=TIMEOUT, env=environment, check=False)  # fmt: skip
        # What it writes there would replace the domain in some steps.
        self.assertEqual(ended.stdout, "")
        return ended

    def done(self, operation, step, xml):
        ended = self.hook(operation, step, xml)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def refused(self, text, xml):
        ended = self.hook("prepare", "begin", xml)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(text, ended.stderr)
        self.assertIn("pasidd: domain guest1", ended.stderr)


class Daemonless(WithFolder):
    def test_domain_that_asks_for_nothing_starts_whatever_is_missing(self):
        self.path, self.script = "/usr/bin:/bin", self.folder / "none"
        for operation, step in (("prepare", "begin"), ("start", "begin"), ("stopped", "end"), ("release", "end")):
            self.done(operation, step, domain())

    def test_domain_that_asks_does_not_start(self):
        self.refused("pasidd", domain(""))
        self.path = "/usr/bin:/bin"
        self.refused("pasidctl cannot be run", domain(""))
        self.script = self.folder / "none"
        ended = self.hook("prepare", "begin", domain(""))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("is pasidd installed", ended.stderr)

    def test_other_steps_do_nothing(self):
        for operation in ("start", "started", "stopped", "migrate", "restore", "reconnect", "attach"):
            self.done(operation, "begin", domain(""))

    def test_nonsense_is_refused(self):
        for text, attributes in (
            ("no attribute qouta", 'qouta="5"'),
            ("name of <pasidd:set>", 'name=""'),
            ("name of <pasidd:set>", 'name="a b"'),
            ("name of <pasidd:set>", 'name="../b"'),
            ("name of <pasidd:set>", 'name="--force"'),
            ("adopt", 'adopt="maybe"'),
        ):
            self.refused(text, domain(attributes))
        self.refused("one empty <set>", domain("", element="sets"))
        self.refused("one empty <set>", domain("", more='<p:set xmlns:p="urn:pasidd:domain:1"/>'))
        self.refused("cannot be read", domain("")[:-12])
        self.refused("no domain with a UUID", domain("", uuid="../../etc/passwd"))
        self.refused("document type", '<!DOCTYPE d [<!ENTITY a "b">]>' + domain(""))


class Made(WithFolder):
    def setUp(self):
        super().setUp()
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.socket = self.daemon.socket

    def ctl(self, *words):
        command = [PASIDCTL, "--socket", self.socket, "--json", *words]
        return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout)

    def sets(self):
        return {entry["name"]: entry for entry in self.ctl("sets")}

    # F10
    def test_set_lives_as_long_as_the_guest(self):
        xml = domain('name="vm-a" quota="7" mode="identity" scope="global" owner="1234"')
        self.done("prepare", "begin", xml)
        made = self.sets()
        self.assertEqual(list(made), ["vm-a"])
        made = made["vm-a"]
        got = (made["pasids"]["limit"], made["mode"], made["scopes"], made["uid"])
        self.assertEqual(got, (7, "identity", ["global"], 1234))
        self.ctl("alloc", "--set", "vm-a", "--count", "3")
        for step in (("start", "begin"), ("started", "begin"), ("stopped", "end")):
            self.done(*step, xml)
        self.assertEqual(self.sets()["vm-a"]["active"], 3)
        self.done("release", "end", xml)
        self.assertEqual(self.sets(), {})
        self.done("release", "end", xml)

    def test_name_and_owner_come_from_the_domain(self):
        self.done("prepare", "begin", domain(""))
        self.assertEqual(self.sets()["guest1"]["uid"], 0)
        self.done("release", "end", domain(""))
        self.done("prepare", "begin", domain("", name="--force", uuid=OTHER))
        self.assertEqual(set(self.sets()), {OTHER})
        self.done("release", "end", domain("", uuid=OTHER))
        odd = domain("", name="guest ü").replace("+0:+0", "+4711:+4711")
        self.done("prepare", "begin", odd)
        self.assertEqual(self.sets()[UUID]["uid"], 4711)

    def test_what_the_daemon_refuses_stops_the_guest(self):
        self.refused("quota", domain('quota="2000000"'))
        self.refused("no number", domain('quota="-1"'))
        self.refused("--mode is", domain('mode="theirs"'))
        self.refused("no user", domain('owner="nobody-here"'))
        self.assertEqual(self.sets(), {})

    def test_what_an_end_that_nobody_saw_left_is_replaced(self):
        self.done("prepare", "begin", domain(""))
        before = self.sets()["guest1"]["id"]
        self.ctl("alloc", "--set", "guest1", "--count", "3")
        self.done("prepare", "begin", domain(""))
        after = self.sets()["guest1"]
        self.assertNotEqual(after["id"], before)
        self.assertEqual(after["active"], 0)

    def test_guest_that_gave_its_set_back_while_it_ran_loses_it(self):
        self.done("prepare", "begin", domain('name="vm-a"'))
        self.done("release", "end", domain())
        self.assertEqual(self.sets(), {})
        self.assertEqual(list(self.records.iterdir()), [])

    def test_guest_that_asks_for_nonsense_when_it_ends_loses_its_set(self):
        self.done("prepare", "begin", domain(""))
        self.done("release", "end", domain('nonsense="1" adopt="perhaps"'))
        self.assertEqual((self.sets(), list(self.records.iterdir())), ({}, []))

    def test_set_of_somebody_else_is_left_alone(self):
        self.ctl("set", "create", "guest1")
        before = self.sets()
        self.refused("not made for this domain", domain(""))
        # libvirt releases what did not start
        self.done("release", "end", domain(""))
        self.assertEqual(self.sets(), before)
        # one domain's set is another's no more than anybody's
        self.done("prepare", "begin", domain('name="shared"'))
        self.refused("not made for this domain", domain('name="shared"', uuid=OTHER))
        self.done("release", "end", domain('name="shared"', uuid=OTHER))
        self.assertEqual(set(self.sets()), {"guest1", "shared"})

    def test_record_of_a_set_that_is_gone_takes_nothing_away(self):
        self.done("prepare", "begin", domain(""))
        self.ctl("set", "destroy", "guest1")
        self.ctl("set", "create", "guest1", "--quota", "5")
        self.refused("not made for this domain", domain(""))
        self.assertEqual(self.sets()["guest1"]["pasids"]["limit"], 5)
        # an id that is somebody else's now, as after records were lost
        self.records.mkdir(exist_ok=True)
        (self.records / UUID).write_text(json.dumps({"id": self.sets()["guest1"]["id"], "name": "another"}))
        self.done("release", "end", domain(""))
        self.assertEqual(list(self.sets()), ["guest1"])

    def test_end_between_making_and_recording_leaves_nothing(self):
        real, there = PASIDCTL, self.path
        folder = self.folder / "bin"
        folder.mkdir()
        (folder / "pasidctl").write_text(
            f'#!/bin/sh\n"{real}" "$@" || exit\ncase "$*" in *"set create"*) kill -9 $PPID ;; esac\n')
        (folder / "pasidctl").chmod(0o755)
        for ends in ("prepare", "release"):
            self.path = f"{folder}:{os.environ['PATH']}"
            self.assertNotEqual(self.hook("prepare", "begin", domain('quota="3"')).returncode, 0)
            self.assertEqual(self.sets()["guest1"]["pasids"]["limit"], 3)
            self.path = there
            if ends == "prepare":
                self.done("prepare", "begin", domain('quota="4"'))
                self.assertEqual(self.sets()["guest1"]["pasids"]["limit"], 4)
            self.done("release", "end", domain(""))
            self.assertEqual((self.sets(), list(self.records.iterdir())), ({}, []))

    def test_set_that_another_made_in_between_goes_only_when_it_is_empty(self):
        self.ctl("set", "create", "guest1")
        self.ctl("alloc", "--set", "guest1")
        self.records.mkdir()
        (self.records / UUID).write_text(json.dumps({"id": None, "name": "guest1"}))
        self.refused("guest1", domain(""))
        self.assertEqual(list(self.sets()), ["guest1"])

    def test_refused_set_leaves_no_record(self):
        self.refused("quota", domain('quota="99999999"'))
        self.assertEqual(list(self.records.iterdir()), [])

    def test_set_without_a_record_is_said(self):
        self.done("prepare", "begin", domain(""))
        (self.records / UUID).unlink()
        self.refused("pasidctl set destroy", domain(""))
        (self.records / UUID).write_text('{"id": 1')
        self.refused("pasidctl set destroy", domain(""))

    def test_set_that_was_moved_here_is_adopted_when_that_is_asked(self):
        self.ctl("set", "create", "guest1", "--mode", "identity")
        self.refused("not made for this domain", domain('adopt="yes"'))
        self.done("prepare", "begin", domain('adopt="yes" mode="identity"'))
        self.done("release", "end", domain('adopt="yes" mode="identity"'))
        self.assertEqual(self.sets(), {})

    def test_set_of_another_domain_is_never_adopted(self):
        self.done("prepare", "begin", domain('name="shared"'))
        other = UUID[:-1] + ("0" if UUID[-1] != "0" else "1")
        self.refused("Another domain has it", domain('name="shared" adopt="yes"', uuid=other))
        self.done("release", "end", domain('name="shared" adopt="yes"', uuid=other))
        self.assertEqual(list(self.sets()), ["shared"])

    def test_record_outlives_a_daemon_that_is_away(self):
        self.done("prepare", "begin", domain(""))
        there, self.socket = self.socket, self.folder / "away"
        ended = self.hook("release", "end", domain(""))
        self.assertEqual(ended.returncode, 1)
        self.assertTrue((self.records / UUID).exists())
        self.socket = there
        self.daemon.stop()
        self.daemon.start()
        self.done("prepare", "begin", domain(""))
        self.done("release", "end", domain(""))
        self.assertEqual((self.sets(), list(self.records.iterdir())), ({}, []))


if __name__ == "__main__":
    unittest.main()
