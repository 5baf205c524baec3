# SPDX-License-Identifier: MIT
"""pasidctl demo: the whole story, as programs read it, and what is left of it whatever happens: nothing."""

import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from pasid_client import BUILD, GONE, TIMEOUT, eventually, need_everybody

PATIENCE = 5 * TIMEOUT  # it starts programs all the time
TITLES = ("two devices", "One shared device", "VM 2 tries", "leaves no entry on either", "VM 1 is killed", "Limits")


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o777)

    def environment(self, **more):
        return {**os.environ, "TMPDIR": str(self.folder), "LD_LIBRARY_PATH": str(BUILD), **more}

    def run_it(self, *words, program=BUILD / "pasidctl", **options):
        options.setdefault("env", self.environment())
        return subprocess.run([program, *words], text=True, capture_output=True, timeout=PATIENCE, check=False, **options)

    def processes(self):
        """Those that have the folder in their command line or environment."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if not entry.name.isdigit():
                    continue
                if any(str(self.folder).encode() in (entry / name).read_bytes() for name in ("cmdline", "environ")):
                    found.append(int(entry.name))
            except (*GONE, PermissionError):
                pass
        return found

    def folders(self):
        return [path.name for path in self.folder.iterdir() if path.name.startswith("pasidd-demo-")]

    def nothing_is_left(self):
        self.assertEqual(self.folders(), [])
        self.assertTrue(eventually(lambda: not self.processes()), self.processes())

    def installed(self, folder="bin", **scripts):
        """pasidctl in a folder of its own, with scripts in the place of other programs."""
        bin_folder = self.folder / folder
        bin_folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUILD / "pasidctl", bin_folder)
        for name, text in scripts.items():
            file = bin_folder / name.replace("_", "-")
            file.write_text("#!/bin/sh\n" + text)
            file.chmod(0o755)
        return bin_folder / "pasidctl"

    # F47
    def test_it_shows_the_story_to_people(self):
        ended = self.run_it("demo")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        self.assertEqual(ended.stdout.splitlines()[-1], "demo: ok")
        for number, title in enumerate(TITLES, 1):
            self.assertRegex(ended.stdout, rf"(?m)^{number}\. .*{title}")
        for text in ("   ok  host PASID 1024 stands in the table of 0000:00:01.0\n", "0000:00:03.0      3    0    1026",
                     "refused: set 'vm2' has no PASID 1024 (no-pasid)", "undrained"):
            self.assertIn(text, ended.stdout)
        self.nothing_is_left()

    def test_programs_get_the_steps(self):
        ended = self.run_it("--json", "demo")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        answer = json.loads(ended.stdout)
        self.assertEqual((answer["ok"], answer["failed"]), (True, None))
        self.assertEqual([step["step"] for step in answer["steps"]], [1, 2, 3, 4, 5, 6])
        self.assertEqual([len(step["proved"]) for step in answer["steps"]], [5, 5, 6, 2, 6, 5])
        for step in answer["steps"]:
            self.assertTrue(step["did"])
        self.nothing_is_left()

    def test_it_needs_no_root(self):
        if os.geteuid() != 0:
            self.skipTest("is not root anyway")
        need_everybody(BUILD / "pasidctl")
        nobody = pwd.getpwnam("nobody")
        ended = self.run_it("demo", user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        self.nothing_is_left()

    def test_a_service_managers_variables_mean_nothing_to_it(self):
        ended = self.run_it("demo", env=self.environment(
            NOTIFY_SOCKET="/no/such/socket", LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), PASIDD_SOCKET="/no/such"))
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)

    # -- the end of it

    def test_signals_leave_nothing(self):
        for number, seconds in ((signal.SIGINT, 0), (signal.SIGTERM, 0.3), (signal.SIGHUP, 1), (signal.SIGINT, 2)):
            with subprocess.Popen([BUILD / "pasidctl", "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env=self.environment()) as process:
                eventually(self.folders)
                time.sleep(seconds)
                process.send_signal(number)
                error = process.communicate(timeout=PATIENCE)[1].decode()
            self.assertIn(process.returncode, (-number, 0), error)
            self.assertNotIn("Sanitizer", error)
            self.nothing_is_left()

    def test_killed_it_leaves_no_process(self):
        with subprocess.Popen([BUILD / "pasidctl", "demo"], stdout=subprocess.PIPE, text=True,
                              env=self.environment()) as process:
            for line in process.stdout:
                if line.startswith("2. "):
                    break
            self.assertTrue(self.processes())
            process.kill()
        self.assertTrue(eventually(lambda: not self.processes()), self.processes())

    def test_a_reader_that_goes_is_no_success(self):
        with subprocess.Popen([BUILD / "pasidctl", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=self.environment()) as process:
            process.stdout.readline()
            process.stdout.close()
            process.wait(PATIENCE)
            self.assertNotEqual(process.returncode, 0)
            self.assertNotIn("Sanitizer", process.stderr.read())
        self.nothing_is_left()

    # -- what is missing, or lies

    def test_what_is_not_installed_is_named(self):
        if any(pathlib.Path(folder, "pasidd").exists() for folder in ("/usr/sbin", "/usr/local/sbin")):
            self.skipTest("pasidd is installed")
        program = self.installed()
        ended = self.run_it("demo", program=program, env=self.environment(PATH="/usr/bin:/bin"))
        self.assertEqual((ended.returncode, ended.stdout), (4, ""))
        self.assertIn("install it (package pasidd)", ended.stderr)
        self.nothing_is_left()

    def test_the_daemon_is_found_where_it_is_installed(self):
        program = self.installed()
        shutil.copy(BUILD / "pasid-sim", program.parent)
        (self.folder / "sbin").mkdir()
        shutil.copy(BUILD / "pasidd", self.folder / "sbin")
        ended = self.run_it("demo", program=program, env=self.environment(PATH="/usr/bin:/bin"))
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)

    def test_a_daemon_that_ends_at_once(self):
        program = self.installed(pasidd="echo no luck >&2\nexit 3\n", pasid_sim="exit 0\n")
        ended = self.run_it("--json", "demo", program=program)
        self.assertEqual(ended.returncode, 4)
        self.assertIn("expected that the daemon runs", ended.stderr)
        self.assertIn("no luck", ended.stderr)
        answer = json.loads(ended.stdout)
        self.assertEqual((answer["ok"], answer["steps"][-1]["proved"] if answer["steps"] else []), (False, []))
        self.nothing_is_left()

    def test_what_is_not_as_expected_ends_it(self):
        for says, expected in (("echo '[]'", "host PASID 1024 stands in the table"), ("echo nonsense", "JSON"),
                               ("exit 1", "pasid-sim")):
            program = self.installed(pasid_sim=says + "\n")
            if not (program.parent / "pasidd").exists():
                shutil.copy(BUILD / "pasidd", program.parent)
            ended = self.run_it("demo", program=program)
            self.assertEqual(ended.returncode, 4, ended.stdout)
            self.assertIn("expected that", ended.stderr)
            self.assertIn(expected, ended.stderr)
            self.assertNotIn("demo: ok", ended.stdout)
            self.nothing_is_left()


if __name__ == "__main__":
    unittest.main()
