# SPDX-License-Identifier: MIT
"""The settings: several files, what is said about them, and what is in effect."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from pasid_client import PASIDD, TIMEOUT, Daemon


def run(*arguments):
    return subprocess.run([str(PASIDD), *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasidd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "p.json"
        (self.folder / "p.json.d").mkdir()

    def put(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def test_all_files_are_checked_and_what_is_ignored_is_said(self):
        self.put("p.json", "{}")
        one = self.put("p.json.d/1.json", '{"quota": {"set_max": 5000}}')
        other = self.put("p.json.d/1.json.dpkg-old", "no json")
        result = run("--check-config", "--config", str(self.path))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(
            result.stdout,
            f"{self.path}: ok\n{one}: ok\n{other}: ignored: the name does not end with .json\n",
        )
        one.write_text('{\n "quota": {"set_max": 0}}')
        result = run("--check-config", "--config", str(self.path))
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertTrue(result.stderr.startswith(f"{one}:2:12: quota.set_max: found 0, expected"), result.stderr)

    def test_what_is_in_effect_is_shown_with_the_file_that_says_so(self):
        self.put("p.json", '{"quota": {"set_max": 5000, "set_default": 5}}')
        one = self.put("p.json.d/1.json", '{"quota": {"set_max": 6000}, "roles": {"admins": {"users": ["root"]}}}')
        text = run("--show-config", "--config", str(self.path)).stdout
        self.assertIn(f"\nquota.set_max = 6000  # {one}:1:12\n", text)
        self.assertIn(f"\nquota.set_default = 5  # {self.path}:1:29\n", text)
        self.assertIn("\nquarantine.cooling_ms = 1000  # default\n", text)
        for option in ("--show-config", "--check-config"):
            result = run(option, "--json", "--config", str(self.path))
            shown = json.loads(result.stdout)
            self.assertIs(shown["ok"], True)
            self.assertEqual(shown["files"], [str(self.path), str(one)])
            self.assertEqual(shown["effective"]["roles"]["admins"]["users"], [0])
            self.assertEqual(shown["set_by"]["quota.set_max"], {"file": str(one), "line": 1, "column": 12})
            self.assertNotIn("session.grace_ms", shown["set_by"])
        # what is shown is a configuration that says the same
        self.put("again.json", json.dumps(shown["effective"]))
        again = json.loads(run("--show-config", "--json", "--config", str(self.folder / "again.json")).stdout)
        self.assertEqual(again["effective"], shown["effective"])

    def test_errors_can_be_had_as_json(self):
        self.put("p.json", '{"quota": 5}')
        result = run("--check-config", "--json", "--config", str(self.path))
        self.assertEqual(result.returncode, 2)
        self.assertEqual(
            json.loads(result.stdout),
            {"ok": False, "error": f"{self.path}:1:2: quota: found 5, expected an object"},
        )
        self.assertEqual(run("--json").returncode, 2)

    def test_a_simulation_reads_only_what_it_is_told_to(self):
        result = run("--check-config", "--simulate")
        self.assertEqual((result.returncode, result.stdout), (0, "defaults: ok\n"))

    def test_what_cannot_be_trusted_stops_the_daemon(self):
        self.put("p.json", "{}").chmod(0o666)
        result = run("--simulate", "--config", str(self.path), "--runtime-dir", str(self.folder))
        self.assertEqual(result.returncode, 2)
        self.assertIn("everybody may write to it", result.stderr)
        self.path.unlink()
        os.mkfifo(self.path)
        result = run("--check-config", "--config", str(self.path))
        self.assertIn("is no regular file", result.stderr)

    @unittest.skipIf(os.geteuid() != 0, "only root can give a file away")
    def test_a_file_of_another_user_is_refused(self):
        os.chown(self.put("p.json", "{}"), 65534, 65534)
        result = run("--check-config", "--config", str(self.path))
        self.assertEqual(result.returncode, 2)
        self.assertIn("is user 65534's, who could become an admin", result.stderr)

    def test_the_daemon_says_what_it_has_read(self):
        with Daemon({}, start=False) as daemon:
            drop_in = pathlib.Path(f"{daemon.config}.d")
            drop_in.mkdir()
            (drop_in / "1.json").write_text('{"quota": {"set_max": 2000}}')
            (drop_in / "2.json~").write_text("")
            daemon.start()
            log = daemon.log()
        self.assertIn(f"settings: read {daemon.config}\n", log)
        self.assertIn(f"settings: read {drop_in}/1.json\n", log)
        self.assertIn(f"settings: ignored {drop_in}/2.json~: a copy of an editor\n", log)


if __name__ == "__main__":
    unittest.main()
