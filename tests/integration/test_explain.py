# SPDX-License-Identifier: MIT
"""pasidctl explain (F45): fault lines of each format, on a host with two VMs, shared and exclusive functions."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

from pasid_client import BUILD, PASID_SIM, TIMEOUT, Daemon, host, pb, set_ref

PASIDCTL = BUILD / "pasidctl"
FAULTS = pathlib.Path(__file__).resolve().parents[1] / "data/faults"
ONE, SHARED, OWNED, NEAR, FAR, NOBODYS = (
    "0000:3b:00.0", "0000:5e:00.0", "0000:5f:00.0", "0000:81:00.0", "0001:81:00.0", "0000:3b:00.1")
CONFIG = {
    "quarantine": {"cooling_ms": 3600000},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address} for address in (ONE, SHARED, OWNED, NEAR, FAR, NOBODYS)]},
}
NOT_BOUND = "DMAR: [DMA Write PASID 0x%x] Request device [%s] fault addr 0x1000 [fault reason 0x59] SM: Present bit"


def explain(*words, lines="", socket="/nonexistent/pasidd.socket", environment=None):
    """The program, with these lines on standard input."""
    return subprocess.run(
        [PASIDCTL, "--socket", str(socket), *words], input=lines, text=True, capture_output=True, timeout=TIMEOUT,
        check=False, env={**os.environ, **(environment or {})})


def flat(finding):
    """A finding with all that the table may name in one place."""
    last = finding["happened_last"] or {"event": None}
    return {**finding["fault"], **{key: value for key, value in finding.items() if key != "fault"},
            "happened_last": last["event"]}


class Host:
    """What the lines of tests/data/faults/ are about."""

    def __init__(self, config=None):
        self.daemon = Daemon(config or CONFIG)
        self.clients = []
        try:
            self.fill()
        except BaseException:
            self.close()
            raise

    def close(self):
        for client in self.clients:
            client.close()
        self.daemon.cleanup()

    def client(self, name, **fields):
        client = self.daemon.client()
        self.clients.append(client)
        client.create(name, **fields)
        return client

    def number(self, client, number, guest=None):
        fields = {} if guest is None else {"guest_pasid": guest}
        assert client.allocate(min=number, max=number, **fields) == [number]

    def bound(self, client, number, guest, device):
        self.number(client, number, guest)
        client.bind(host(number), device)

    def fill(self):
        vm1, vm2, vm3 = (self.client(name) for name in ("vm1", "vm2", "vm3"))
        owned = self.client("owned", mode=pb.SET_MODE_GUEST_OWNED)
        one, part1, part2 = vm1.add(self.daemon, ONE).id, self.slice(vm1), self.slice(vm2)
        vm1.add(self.daemon, NEAR)
        vm2.add(self.daemon, FAR)
        owned.add(self.daemon, OWNED)
        for client, device in ((vm1, one), (vm1, part1), (vm2, part2)):
            client.map_memory(device)
        self.bound(vm1, 0x400, 5, one)
        self.bound(vm1, 0x401, 6, part1)
        self.bound(vm2, 0x500, 5, part2)
        self.number(vm2, 0x501, 9)
        self.number(vm2, 0x600)
        self.number(vm1, 0x601)
        self.number(vm3, 0x700)
        vm2.free(0x600)
        vm1.free(0x601)
        with self.daemon.admin() as admin:
            admin.call("quarantine_end", host_pasid=0x600)
        self.vm1, self.vm2 = vm1, vm2

    def slice(self, client):
        return client.call("device_slice", address=SHARED).device_slice.id


class OnAHost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)

    def explain(self, *words, lines="", **more):
        return explain(*words, lines=lines, socket=self.host.daemon.socket, **more)

    def answer(self, *words, lines="", status=0):
        ended = self.explain("--json", "explain", *words, lines=lines)
        self.assertEqual((ended.returncode, ended.stderr), (status, ""), ended.stdout)
        return json.loads(ended.stdout)

    def check(self, entry):
        refused = any(not finding["attributed"] for finding in entry["findings"])
        answer = self.answer(lines=(FAULTS / f"{entry['file']}.log").read_text(), status=int(refused))
        found = [flat(finding) for finding in answer["findings"]]
        wanted = entry["findings"]
        if entry.get("any_order"):
            found.sort(key=lambda finding: finding["verdict"])
            wanted = sorted(wanted, key=lambda finding: finding["verdict"])
            found.sort(key=lambda finding: str(finding["pasid"]))
            wanted = sorted(wanted, key=lambda finding: str(finding.get("pasid")))
        self.assertEqual([{key: one[key] for key in want} for one, want in zip(found, wanted)], wanted, found)
        self.assertEqual(len(found), len(wanted), found)
        if "not_faults" in entry:
            self.assertEqual(answer["not_faults"], entry["not_faults"])

    # F45
    def test_each_line_is_attributed_or_refused_as_the_table_says(self):
        table = json.loads((FAULTS / "expected.json").read_text())
        self.assertEqual(sorted(f"{entry['file']}.log" for entry in table),
                         sorted(path.name for path in FAULTS.glob("*.log")))
        self.assertGreaterEqual(len(table), 20)
        for entry in table:
            with self.subTest(entry["file"]):
                self.check(entry)

    # F45
    def test_a_whole_log_at_once_says_the_same(self):
        """All files behind each other, as one log: what is alike is counted together, and nothing is lost."""
        table = json.loads((FAULTS / "expected.json").read_text())
        whole = [entry["file"] for entry in table if not {"damaged"} & {f["verdict"] for f in entry["findings"]}]
        alone = [self.answer_of(name) for name in whole]
        answer = self.answer(lines="".join((FAULTS / f"{name}.log").read_text() for name in whole), status=1)
        for key in ("lines", "faults", "attributed", "refused", "not_faults"):
            self.assertEqual(answer[key], sum(one[key] for one in alone), key)

    def answer_of(self, name):
        ended = self.explain("--json", "explain", lines=(FAULTS / f"{name}.log").read_text())
        return json.loads(ended.stdout)

    def test_people_are_told_whose_and_why_and_what_was_last(self):
        ended = self.explain("explain", lines=(FAULTS / "vtd-repeated.log").read_text())
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        for part in ("DMA write refused, of 0000:3b:00.0, PASID 1024, at 0x1000 to 0xc000", "set vm1, guest PASID 5",
                     "nothing is attached under this PASID", "binding-bound", "and 11 more like it",
                     "12 faults in 13 lines: 12 attributed, 0 refused; 1 line of something else"):
            self.assertIn(part, ended.stdout)
        ended = self.explain("explain", lines=(FAULTS / "vtd-kernel-pasid.log").read_text())
        self.assertEqual(ended.returncode, 1)
        self.assertIn("the kernel's own range", ended.stdout)
        self.assertIn("kernel-pasid", ended.stdout)

    def test_lines_are_taken_from_words(self):
        line = NOT_BOUND % (0x500, "5e:00.0")
        for words in ((line,), line.split(" "), (f"{line}\nnothing of importance",)):
            (finding,) = self.answer(*words)["findings"]
            self.assertEqual((finding["set"], finding["guest"]), ("vm2", 5))
        answer = self.answer(line, NOT_BOUND % (0x400, "3b:00.0"))
        self.assertEqual([finding["set"] for finding in answer["findings"]], ["vm2", "vm1"])

    def test_a_log_without_faults_is_no_failure(self):
        for lines in ("", "\n\n", "[    1.0] DMAR: IOMMU enabled\n", "\0\0\n\xff\n"):
            answer = self.answer(lines=lines)
            self.assertEqual((answer["faults"], answer["findings"]), (0, []))

    def test_a_line_without_end_takes_no_memory(self):
        command = [PASIDCTL, "explain", "--offline"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
            for _ in range(128):
                program.stdin.write(b"x" * (1 << 20))
            status = pathlib.Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
            program.stdin.write(f"\n{NOT_BOUND % (0x400, '3b:00.0')}".encode())
            program.stdin.close()
            self.assertIn("3b:00.0", program.stdout.read().decode())
        self.assertLess(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]), 100 << 10)

    def test_what_is_shown_of_a_line_cannot_drive_a_terminal(self):
        line = (NOT_BOUND % (0x400, "3b:00.0")).replace("SM:", "\x1b]0;owned\x07")
        ended = self.explain("explain", lines=f"\x1b[2J\x1b[H[ 1.0] {line}\n")
        self.assertEqual(ended.returncode, 0)
        self.assertNotIn("\x1b", ended.stdout)
        self.assertNotIn("\x07", ended.stdout)

    def test_more_different_faults_than_are_shown_are_counted(self):
        lines = "\n".join(NOT_BOUND % (0x800 + i, "3b:00.0") for i in range(1030))
        answer = self.answer("--offline", lines=lines, status=1)
        self.assertEqual((len(answer["findings"]), answer["faults"], answer["left_out"]), (1024, 1030, 6))

    def test_a_vmm_hears_of_its_own_functions_only(self):
        with VmmOnly() as vmm:
            for pasid, address, verdict in ((0x400, "3b:00.0", "unknown-device"),):
                ended = explain("--json", "explain", NOT_BOUND % (pasid, address), socket=vmm.socket)
                self.assertEqual(ended.returncode, 1, ended.stderr)
                (finding,) = json.loads(ended.stdout)["findings"]
                self.assertEqual((finding["verdict"], finding["set"]), (verdict, None))

    # F45
    def test_the_simulators_line_leads_back_to_whose_dma_it_was(self):
        for pasid, address, verdict, name in (
                (0x400, ONE, "number", "vm1"), (0x500, SHARED, "number", "vm2"), (0x401, SHARED, "number", "vm1"),
                (0x501, SHARED, "number", "vm2"), (0x500, ONE, "stranger", "vm1"), (0x7ff, SHARED, "unknown-pasid", None),
                (None, SHARED, "daemon", None), (0x400, NOBODYS, "unknown-device", None)):
            for access, words in (("write", ("--write",)), ("read", ())):
                number = () if pasid is None else (str(pasid),)
                walked = subprocess.run(
                    [PASID_SIM, self.host.daemon.simulation, "walk", address, *number, "0x7f0000003000", "--kernel-line", *words],
                    text=True, capture_output=True, check=False)
                self.assertEqual(walked.returncode, 3, walked.stderr)
                ended = self.explain("--json", "explain", lines=walked.stdout)
                (finding,) = json.loads(ended.stdout)["findings"]
                self.assertEqual((finding["verdict"], finding["set"], finding["pasid"], finding["iova"]),
                                 (verdict, name, pasid, "0x7f0000003000"), walked.stdout)
                self.assertEqual(finding["fault"]["access"], access)
                self.assertTrue(finding["fault"]["text"].startswith("SM: "), finding)


class VmmOnly(Daemon):
    """A daemon whose caller, whoever runs the tests, may only be a VMM; nobody has a device."""

    def __init__(self):
        super().__init__({**CONFIG, "roles": {"admins": {"users": [4242]}, "observers": {"users": [4242]}}})


class OnSmmuv3(unittest.TestCase):
    # F45
    def test_the_simulators_lines_lead_back_to_whose_dma_it_was(self):
        config = {**CONFIG, "simulate": {**CONFIG["simulate"], "iommu": "smmuv3"}}
        here = Host(config)
        self.addCleanup(here.close)
        for pasid, address, verdict, name in (
                (0x400, ONE, "number", "vm1"), (0x500, SHARED, "number", "vm2"), (0x501, SHARED, "number", "vm2"),
                (0x500, ONE, "stranger", "vm1")):
            walked = subprocess.run(
                [PASID_SIM, here.daemon.simulation, "walk", address, str(pasid), "0x7f0000003000", "--kernel-line", "--write"],
                text=True, capture_output=True, check=False)
            self.assertEqual(walked.returncode, 3, walked.stderr)
            self.assertIn("event 0x", walked.stdout)
            ended = explain("--json", "explain", lines=walked.stdout, socket=here.daemon.socket)
            (finding,) = json.loads(ended.stdout)["findings"]
            self.assertEqual((finding["verdict"], finding["set"], finding["pasid"]), (verdict, name, pasid), walked.stdout)


class Restarted(unittest.TestCase):
    def test_numbers_are_still_whose_they_were_and_what_was_lost_is_said(self):
        """The daemon dies where no store keeps its workers: what an exclusive function has may still be attached, a
        slice is gone with what was bound there."""
        here = Host()
        self.addCleanup(here.close)
        here.daemon.process.kill()
        here.daemon.process.wait()
        here.daemon.start()
        lines = "\n".join((NOT_BOUND % (0x400, "3b:00.0"), NOT_BOUND % (0x500, "5e:00.0")))
        ended = explain("--json", "explain", lines=lines, socket=here.daemon.socket)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        one, two = (flat(finding) for finding in json.loads(ended.stdout)["findings"])
        self.assertEqual((one["verdict"], one["set"], one["guest"], one["binding"]), ("number", "vm1", 5, "tainted"))
        self.assertEqual((two["verdict"], two["set"], two["happened_last"]), ("not-here", "vm2", "binding-lost"))


class Trail(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.trail = self.host.daemon.folder / "audit-simulated"
        self.assertTrue(self.trail.exists())

    def last(self, pasid, address="5e:00.0"):
        ended = explain("--json", "explain", NOT_BOUND % (pasid, address), socket=self.host.daemon.socket)
        (finding,) = json.loads(ended.stdout)["findings"]
        return finding, finding["happened_last"]

    def test_the_trail_says_when_it_was_and_of_a_set_that_is_gone_its_name(self):
        finding, last = self.last(0x500)
        self.assertEqual((finding["verdict"], last["event"], last["set"]), ("number", "binding-bound", "vm2"))
        self.assertRegex(last["when"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")
        with self.host.daemon.admin() as admin:
            admin.call("set_destroy", set=set_ref("vm3"), force=True)
            admin.call("quarantine_end", host_pasid=0x700)
        finding, last = self.last(0x700)
        self.assertEqual((finding["verdict"], finding["set"], last["event"]), ("freed-pasid", "vm3", "grant-released"))

    def test_a_trail_that_is_none_or_of_another_boot_says_nothing(self):
        content = self.trail.read_bytes()
        for changed in (b"", b"nonsense" * 4096, content[: len(content) // 3], bytes(len(content))):
            self.trail.unlink()
            self.trail.write_bytes(changed)
            finding, last = self.last(0x500)
            self.assertEqual((finding["verdict"], last["event"], last["when"]), ("number", "binding-bound", None))


class WithoutADaemon(unittest.TestCase):
    LINE = NOT_BOUND % (0x400, "3b:00.0")

    def test_what_the_line_says_is_shown_and_the_exit_code_says_that_nobody_was_asked(self):
        ended = explain("--json", "explain", self.LINE)
        self.assertEqual(ended.returncode, 3)
        self.assertIn("no-daemon", ended.stderr)
        (finding,) = json.loads(ended.stdout)["findings"]
        self.assertEqual((finding["verdict"], finding["address"], finding["pasid"]), ("not-asked", "3b:00.0", 1024))

    def test_offline_asks_nobody(self):
        ended = explain("--json", "explain", "--offline", self.LINE)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        answer = json.loads(ended.stdout)
        self.assertEqual((answer["not_asked"], answer["refused"]), (1, 0))
        ended = explain("--json", "explain", "--offline", self.LINE[:60])
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(json.loads(ended.stdout)["findings"][0]["verdict"], "damaged")

    def test_the_example_of_the_help_is_a_whole_line(self):
        (example,) = re.findall(r"  pasidctl explain ('[^']*')", explain("explain", "--help").stdout)
        ended = explain("--json", "explain", "--offline", example.strip("'"))
        self.assertEqual([finding["verdict"] for finding in json.loads(ended.stdout)["findings"]], ["not-asked"])

    def test_wrong_lines(self):
        for words in (("--since", "today"), ("--lines", "5"), ("--journal", self.LINE), ("--journal", "--lines", "many")):
            ended = explain("explain", *words)
            self.assertEqual((ended.returncode, ended.stdout), (2, ""), words)
            self.assertIn("pasidctl", ended.stderr)

    def test_a_terminal_is_not_read(self):
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        with os.fdopen(theirs) as terminal:
            ended = subprocess.run([PASIDCTL, "explain", "--offline"], stdin=terminal, capture_output=True, text=True,
                                   timeout=TIMEOUT, check=False)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("--journal", ended.stderr)


class Journal(unittest.TestCase):
    """With a journalctl that notes how it was called."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasidd-journal-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def journalctl(self, body):
        program = self.folder / "journalctl"
        program.write_text(f'#!/bin/sh\necho "$@" >{self.folder}/called\n{body}\n')
        program.chmod(0o755)
        return {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def test_the_kernels_lines_of_this_boot_are_read(self):
        log = FAULTS / "vtd-pasid-5.10.log"
        ended = explain("--json", "explain", "--offline", "--journal", "--since", "-1h", "--lines", "77",
                        environment=self.journalctl(f"cat {log}"))
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        (finding,) = json.loads(ended.stdout)["findings"]
        self.assertEqual((finding["pasid"], finding["first"]), (1024, "Nov 30 15:04:05 host"))
        called = (self.folder / "called").read_text().split()
        for word in ("--dmesg", "--boot=0", "--lines=77", "--since=-1h"):
            self.assertIn(word, called)
        explain("explain", "--offline", "--journal", "--since", "1h", environment=self.journalctl(f"cat {log}"))
        (since,) = re.findall(r"--since=@(\d+)", (self.folder / "called").read_text())
        self.assertLess(abs(time.time() - 3600 - int(since)), 60)

    def test_a_journalctl_that_fails_or_is_not_there_is_a_failure(self):
        ended = explain("explain", "--offline", "--journal", environment=self.journalctl("echo no journal >&2; exit 1"))
        self.assertEqual((ended.returncode, ended.stdout), (4, ""))
        self.assertIn("no journal", ended.stderr)
        ended = explain("explain", "--offline", "--journal", environment={"PATH": str(self.folder / "none")})
        self.assertEqual((ended.returncode, ended.stdout), (4, ""))
        self.assertIn("journalctl", ended.stderr)


if __name__ == "__main__":
    unittest.main()
