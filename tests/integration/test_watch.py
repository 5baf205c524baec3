# SPDX-License-Identifier: MIT
"""pasidctl watch goes on where it was: over restarts of the daemon, and its own."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

import unittest

from pasid_client import TIMEOUT, eventually
from test_pasidctl import PASIDCTL, WithDaemon


class Watch:
    """pasidctl watch as a process whose lines are collected."""

    def __init__(self, path, *words):
        self.lines = []
        self.process = subprocess.Popen(
            [PASIDCTL, "--socket", str(path), "--json", "watch", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # the end of one that was killed
                self.lines.append(json.loads(line))

    def granted(self):
        """The numbers whose grants it has told, in that order."""
        return [line["pasid"] for line in list(self.lines) if line["event"] == "grant-allocated"]

    def gaps(self):
        return [line for line in list(self.lines) if line["event"] == "gap" or line["lost"]]

    def end(self, number=signal.SIGTERM):
        """Its exit code and what it said at last."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        said = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return self.process.returncode, said


class Watching(WithDaemon):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pasid-watch-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.state = self.folder / "state"
        self.done("set", "create", "vm", "--quota", "1024")

    def watch(self, *words):
        watch = Watch(self.daemon.socket, *words)
        self.addCleanup(lambda: watch.process.stderr.closed or watch.end(signal.SIGKILL))
        return watch

    def watching(self, *words):
        """One that has begun."""
        sessions = self.done("status")["sessions"]
        watch = self.watch(*words)
        self.assertTrue(eventually(lambda: self.done("status")["sessions"] > sessions))
        # It has begun when it tells of something.
        self.assertTrue(eventually(lambda: self.grant() and watch.lines))
        return watch

    def grant(self, count=1):
        return self.done("alloc", "--set", "vm", "--count", str(count))["pasids"]

    def restart(self, kill):
        if kill:
            self.daemon.process.kill()
            self.daemon.process.wait(TIMEOUT)
        else:
            self.daemon.stop()
        self.daemon.start()

    def told(self, watch, numbers):
        self.assertTrue(eventually(lambda: set(numbers) <= set(watch.granted())), (numbers, watch.lines))

    def test_it_goes_on_when_the_daemon_is_restarted_or_killed(self):
        watch = self.watching()
        for kill in (False, True):
            before = self.grant(3)
            self.told(watch, before)
            self.restart(kill)
            after = []
            self.assertTrue(eventually(lambda: after.extend(self.grant()) or set(after) & set(watch.granted())))
            after += self.grant(3)
            self.told(watch, after[-3:])
        code, said = watch.end()
        self.assertEqual(code, 0)
        self.assertEqual(said.count("the connection to pasidd was lost"), 2)
        granted = watch.granted()
        self.assertEqual(len(granted), len(set(granted)))
        self.assertEqual(granted, sorted(granted))

    def test_at_its_end_it_says_where_to_go_on(self):
        watch = self.watching()
        self.told(watch, self.grant(2))
        code, said = watch.end(signal.SIGINT)
        self.assertEqual(code, 0)
        where = str(watch.lines[-1]["sequence"] + 1)
        self.assertIn(f"watch --from {where} goes on", said)
        missed = self.grant(5)
        again = self.watch("--from", where, "--events", "5")
        self.told(again, missed)
        self.assertEqual(again.process.wait(TIMEOUT), 0)
        self.assertEqual((again.granted(), again.gaps()), (missed, []))

    def test_events_that_were_not_shown_are_not_passed_over(self):
        first = self.watch("--from", "1", "--events", "1")
        self.assertEqual(first.process.wait(TIMEOUT), 0)
        said = first.end()[1]
        self.grant(4)
        self.assertIn(f"--from {first.lines[0]['sequence'] + 1} ", said)

    # F21
    def test_a_killed_service_goes_on_from_its_file(self):
        granted, told, shown = [], set(), []
        for _ in range(3):
            watch = self.watch("--state", str(self.state))
            # Before anything happens it is known where to go on.
            self.assertTrue(eventually(self.state.exists))
            granted += self.grant(4)
            self.told(watch, granted[-4:])
            watch.end(signal.SIGKILL)
            told |= set(watch.granted())
            shown += watch.gaps()
            granted += self.grant(3)  # nobody watches
        watch = self.watch("--state", str(self.state))
        self.told(watch, granted[-3:])
        told |= set(watch.granted())
        self.assertEqual(watch.end(), (0, ""))
        self.assertEqual((told, shown + watch.gaps()), (set(granted), []))
        # What a killed one had half written was the next one's.
        self.assertEqual(sorted(os.listdir(self.folder)), ["state"])
        # Ended in order, it repeats nothing.
        again = self.watch("--state", str(self.state))
        last = self.grant(1)
        self.told(again, last)
        self.assertEqual(again.granted(), last)

    # F21
    def test_what_a_daemon_took_along_is_said_to_be_lost(self):
        watch = self.watch("--state", str(self.state))
        self.assertTrue(eventually(self.state.exists))
        self.told(watch, self.grant(2))
        watch.end()
        missed = self.grant(5)
        self.restart(kill=True)
        again = self.watch("--state", str(self.state))
        # Its place is behind the gap when it begins.
        self.assertTrue(eventually(lambda: again.gaps() and self.grant() and again.granted()))
        (gap,) = again.gaps()
        self.assertGreaterEqual(gap["lost"], len(missed))
        self.assertFalse(set(missed) & set(again.granted()))

    def test_the_daemon_and_the_service_may_both_be_away(self):
        watch = self.watch("--state", str(self.state))
        self.assertTrue(eventually(self.state.exists))
        self.daemon.stop()
        self.assertIn("was lost", watch.process.stderr.readline())
        self.daemon.start()
        numbers = []
        self.assertTrue(eventually(lambda: numbers.extend(self.grant()) or watch.granted()))
        self.assertEqual(watch.end()[0], 0)

    def test_numbers_of_another_boot_are_a_gap(self):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for why, content in (
            ("booted", json.dumps({"next": 1, "session": 0, "boot": "another"})),
            ("records-lost", json.dumps({"next": 1, "session": 1 << 40, "boot": boot})),
            ("records-lost", json.dumps({"next": 1 << 40, "session": 0, "boot": boot})),
            ("state-lost", ""),
        ):
            self.state.write_text(content)
            watch = self.watch("--state", str(self.state))
            self.assertTrue(eventually(watch.gaps))
            self.assertEqual(watch.gaps(), [{"event": "gap", "reason": why, "lost": None}])
            self.assertTrue(eventually(lambda: '"next": 1,' not in self.state.read_text() and self.state.read_text()))
            self.told(watch, self.grant(1))
            self.assertEqual(watch.end()[0], 0)
            self.assertEqual(json.loads(self.state.read_text())["boot"], boot)

    def test_records_that_are_lost_meanwhile_are_a_gap(self):
        watch = self.watch("--state", str(self.state))
        self.assertTrue(eventually(self.state.exists))
        self.told(watch, self.grant(1))
        self.daemon.stop()
        (self.daemon.folder / "state-simulated").unlink()
        self.daemon.start()
        self.assertTrue(eventually(watch.gaps))
        self.assertEqual([gap["reason"] for gap in watch.gaps()], ["records-lost"])
        self.ctl("recover", "--confirm-no-devices")
        self.done("set", "create", "vm")
        self.told(watch, self.grant(1))

    def test_a_file_that_is_none_of_its_is_left_alone(self):
        self.state.write_text("important")
        for path in (self.state, self.folder, self.folder / "missing" / "state"):
            ended = self.watch("--state", str(path))
            self.assertEqual(ended.process.wait(TIMEOUT), 4, path)
            ended.end()
        self.assertEqual(self.state.read_text(), "important")
        self.assertEqual(self.ctl("watch", "--state", "x", "--from", "1").returncode, 2)

    def test_without_a_file_it_waits_as_long_as_a_call_may(self):
        watch = self.watching("--timeout", "0.5")
        self.daemon.stop()
        self.assertEqual(watch.process.wait(TIMEOUT), 3)
        code, said = watch.end()
        self.assertEqual((code, "is pasidd running?" in said), (3, True))

    def test_its_reader_may_go_while_the_daemon_is_away(self):
        process = subprocess.Popen(
            [PASIDCTL, "--socket", self.daemon.socket, "watch", "--state", str(self.state)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        self.assertTrue(eventually(self.state.exists))
        self.daemon.stop()
        self.assertIn("was lost", process.stderr.readline())
        process.stdout.close()
        self.assertEqual(process.wait(TIMEOUT), 0)


if __name__ == "__main__":
    unittest.main()
