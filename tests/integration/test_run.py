# SPDX-License-Identifier: MIT
"""pasidctl run: a VMM that finds its set, devices and connection in place, and what is left when it goes."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

from pasid_client import BUILD, TIMEOUT, Client, Daemon, Refused, daemon_user, eventually, host, set_ref

ONE, TWO, SHARED, ROOTS = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "session": {"grace_ms": 500},
    "devices": [
        {"address": SHARED, "use": "shared", "everyone": True},
        {"address": ROOTS, "use": "exclusive", "users": [1]},
    ],
}
HERE = pathlib.Path(__file__).resolve().parent


def say(**fields):
    print(json.dumps(fields), flush=True)


def environment():
    return {name: value for name, value in os.environ.items() if name.startswith("PASIDD_") and name[7:] not in (
        "BUILD", "TEST_TIMEOUT", "TEST_USER")}


def connect():
    """As a VMM that pasidctl started: over the connection it was handed, or taking the session over."""
    with os.fdopen(int(os.environ["PASIDD_TAKE_OVER_FD"]), "rb") as pipe:
        secret = pipe.read()
    if "PASIDD_FD" in os.environ:
        client = Client(fd=int(os.environ["PASIDD_FD"]), hello=False)
    else:
        client = Client(os.environ["PASIDD_SOCKET"], hello=False)
    client.say_hello(take_over=secret)
    return client


def vmm():
    """What the tests have run: binds a number on all that it has, says so, and waits to be killed."""
    with connect() as client:
        devices = [device.id for device in client.pages("device_list", "devices")]
        for device in devices:
            client.map_memory(device)
        number = client.allocate(guest_pasid=5)[0]
        client.bind(host(number), *devices)
        fds = [int(pair.rpartition("=")[2]) for pair in os.environ.get("PASIDD_DEVICE_FDS", "").split(",") if pair]
        say(
            pid=os.getpid(),
            arguments=sys.argv[2:],
            environment=environment(),
            session=client.welcome.session,
            number=number,
            files=[os.readlink(f"/proc/self/fd/{fd}") for fd in fds],
        )
        signal.pause()


class Run(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.daemon.admin()
        self.addCleanup(self.admin.close)

    def line(self, *words):
        return [str(BUILD / "pasidctl"), "--socket", str(self.daemon.socket), *map(str, words)]

    def iommu(self):
        return ("--iommu", str(self.daemon.simulation / "iommu"))

    def run_it(self, *words, **options):
        return subprocess.run(self.line(*words), text=True, capture_output=True, timeout=TIMEOUT, check=False, **options)

    def start(self, *words):
        """(the process, what it says of itself)."""
        process = subprocess.Popen(self.line(*words), stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        return process, json.loads(process.stdout.readline() or '{"pid": "it said nothing"}')

    def start_vmm(self, *words, arguments=()):
        return self.start("run", *self.iommu(), *words, "--", sys.executable, "-B", str(HERE / "test_run.py"), "vmm",
                          *arguments)

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        process.stdout.close()

    def sets(self):
        return [info.name for info in self.admin.pages("set_list", "sets") if not info.dying]

    def registered(self):
        """The functions that sets have."""
        return [device.address for device in self.admin.pages("device_list", "devices") if device.set]

    def is_emptied(self, name):
        info = self.admin.call("set_get", set=set_ref(name)).set_get
        return not info.dying and not info.devices and not info.active

    def nothing_is_left(self):
        eventually(lambda: not self.admin.pages("set_list", "sets") and not self.daemon.tables())
        self.assertEqual(self.admin.pages("set_list", "sets"), [])
        self.assertEqual(self.daemon.tables(), {})
        self.assertTrue(eventually(lambda: not self.registered()))
        self.assertTrue(self.admin.status().consistent)

    # -- what works

    # F37
    def test_a_vmm_has_its_set_and_its_devices_and_they_go_with_it(self):
        process, told = self.start_vmm(
            "--set", "vm1", "--quota", "4", "--device", ONE, "--device", "00:02.0", "--share", SHARED,
            arguments=["-object", "iommufd,id=i0,fd={iommufd}", "fd={device:00:01.0}", "id={dev-id:0000:00:02.0}",
                       '{"set":"{set}"}'],
        )  # fmt: skip
        said = told["environment"]
        self.assertEqual(told["pid"], process.pid, "it has pasidctl's place")
        fds = dict(pair.split("=") for pair in said["PASIDD_DEVICE_FDS"].split(","))
        ids = dict(pair.split("=") for pair in said["PASIDD_DEVICE_IDS"].split(","))
        self.assertEqual(list(fds), [ONE, TWO])
        self.assertEqual(told["arguments"], [
            "-object", f"iommufd,id=i0,fd={said['PASIDD_IOMMUFD']}", f"fd={fds[ONE]}", f"id={ids[TWO]}",
            '{"set":"vm1"}'])
        self.assertEqual(told["files"], [str(self.daemon.simulation / "devices" / one) for one in (ONE, TWO)])
        self.assertEqual(said["PASIDD_SET"], "vm1")
        self.assertNotIn("PASIDD_FD", said)
        info = self.admin.call("set_get", set=set_ref("vm1")).set_get
        self.assertEqual((info.pasids.limit, info.devices, info.bindings), (4, 3, 3))
        self.assertTrue(info.owned_by_session)
        self.assertEqual(set(self.daemon.tables()), {(one, told["number"]) for one in (ONE, TWO, SHARED)})
        process.kill()
        eventually(lambda: not self.daemon.tables())
        self.admin.call("device_drained", device=self.shared())
        self.nothing_is_left()

    @unittest.skipIf(daemon_user()[0] != os.geteuid(), "the daemon is another user's")
    def test_the_simulations_iommufd_is_found(self):
        done = self.run_it("run", "--device", ONE, "--", "sh", "-c", "readlink /proc/self/fd/{iommufd}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.strip(), str(self.daemon.simulation / "iommu"))

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_another_users_daemon_does_not_say_what_is_opened(self):
        self.admin.close()
        with unittest.mock.patch.dict(os.environ, PASIDD_TEST_USER="nobody"), Daemon(CONFIG) as self.daemon:
            line = ("run", "--device", ONE, "--", "true")
            done = self.run_it(*line)
            self.assertEqual(done.returncode, 4)
            self.assertIn(f"say --iommu {self.daemon.simulation}/iommu", done.stderr)
            self.assertEqual(self.run_it(line[0], *self.iommu(), *line[1:]).returncode, 0)

    def shared(self):
        return next(d.id for d in self.admin.pages("device_list", "devices") if d.address == SHARED and not d.set)

    # F46
    def test_a_handed_connection(self):
        self.admin.create("vm1", pasids=8)
        process, told = self.start_vmm("--handed", "--set", "vm1", "--device", ONE, arguments=["{connection}"])
        self.assertEqual(told["arguments"], [told["environment"]["PASIDD_FD"]])
        self.assertEqual(set(self.daemon.tables()), {(ONE, told["number"])})
        process.kill()
        eventually(lambda: not self.daemon.tables())
        self.assertEqual(self.daemon.tables(), {})
        self.assertTrue(eventually(lambda: self.is_emptied("vm1")))
        self.assertEqual(self.admin.call("set_get", set=set_ref("vm1")).set_get.pasids.limit, 8)
        self.start_vmm("--handed", "--set", "vm1", "--device", ONE)

    def test_a_vmm_that_knows_nothing_of_pasidd_keeps_its_set_as_long_as_it_lives(self):
        for handed in (False, True):
            if handed:
                self.admin.create("vm1")
            process, told = self.start(
                "run", *self.iommu(), *(["--handed"] if handed else []), "--set", "vm1", "--device", ONE, "--",
                "sh", "-c", 'echo "{\\"pid\\": $$}"; exec sleep 60')  # fmt: skip
            self.assertEqual(told["pid"], process.pid)
            info = self.admin.call("set_get", set=set_ref("vm1")).set_get
            self.assertEqual(info.devices, 1)
            with self.assertRaises(Refused) as caught, self.daemon.client() as other:
                other.create("other")
                other.add(self.daemon, ONE)
            self.assertEqual(caught.exception.reason, "device-taken")
            process.kill()
            if handed:
                self.assertTrue(eventually(lambda: self.is_emptied("vm1")))
                self.admin.call("set_destroy", set=set_ref("vm1"))
            self.nothing_is_left()

    def test_the_example_with_libpasid(self):
        self.admin.create("vm2", pasids=4)
        for words in (("--set", "vm1", "--quota", "3"), ("--handed", "--set", "vm2")):
            done = self.run_it("run", *words, "--share", SHARED, "--", BUILD / "vmm", input="info\nalloc guest 7\n")
            self.assertEqual(done.returncode, 0, done.stderr)
            hello, info, numbers = map(json.loads, done.stdout.splitlines())
            self.assertTrue(hello["ok"], hello)
            self.assertEqual((info["ok"], info["quota"]), (True, 3 if "--quota" in words else 4))
            self.assertEqual(len(numbers["pasids"]), 1)
        eventually(lambda: self.sets() == ["vm2"])
        self.assertEqual(self.sets(), ["vm2"])
        self.assertTrue(eventually(lambda: not self.admin.call("set_get", set=set_ref("vm2")).set_get.devices))

    def test_a_vmm_that_has_taken_its_session_over_survives_a_restart(self):
        with Daemon(CONFIG) as daemon:
            self.daemon = daemon
            process, told = self.start_vmm("--share", SHARED)
            daemon.stop()
            daemon.start()
            with daemon.admin() as admin:
                sets = admin.pages("set_list", "sets")
                self.assertEqual([info.name for info in sets], [told["environment"]["PASIDD_SET"]])
            process.kill()
            process.wait()

    def test_a_name_is_made_of_the_command(self):
        with tempfile.TemporaryDirectory(prefix="pasidctl-run-") as folder:
            program = pathlib.Path(folder, "my vmm!")
            program.write_text('#!/bin/sh\necho "\\"$PASIDD_SET\\""\nexec sleep 60\n')
            program.chmod(0o755)
            process, name = self.start("run", "--share", SHARED, "--", program)
            self.assertEqual(name, f"my_vmm_-{process.pid}")
            self.assertEqual(self.sets(), [name])

    def test_nothing_of_an_outer_run_is_taken_for_ones_own(self):
        code = ";".join(("import json, os", "print(json.dumps([k for k in os.environ if k.startswith('PASIDD_')]))"))
        done = self.run_it("run", "--set", "vm1", "--", sys.executable, "-c", code, env={
            **os.environ, "PASIDD_FD": "7", "PASIDD_DEVICE_FDS": "x=8", "PASIDD_IOMMUFD": "9"})
        self.assertEqual(done.returncode, 0, done.stderr)
        names = json.loads(done.stdout)
        for name in ("PASIDD_FD", "PASIDD_DEVICE_FDS", "PASIDD_IOMMUFD"):
            self.assertNotIn(name, names)

    def test_closed_standard_files_are_not_mistaken_for_descriptors(self):
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", *self.line("run", *self.iommu(), "--set", "vm1", "--device", ONE,
             "--", "sh", "-c", "echo $PASIDD_IOMMUFD $PASIDD_DEVICE_FDS $PASIDD_TAKE_OVER_FD")],
            text=True, stdout=subprocess.PIPE, timeout=TIMEOUT, check=False)  # fmt: skip
        iommufd, device, secret = done.stdout.split()
        for number in (iommufd, device.split("=")[1], secret):
            self.assertGreater(int(number), 2)

    # -- what does not

    def fails(self, code, text, *words):
        done = self.run_it(*words)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertIn(text, done.stderr)
        self.nothing_is_left()

    def test_what_operating_says_of_a_tainted_device_works(self):
        """Its worker died, and then its VMM: nobody's word ends it, a run on the function does."""
        process, said = self.start_vmm("--set", "vm1", "--device", ONE)
        node = str(self.daemon.simulation / "devices" / ONE)
        for pid in self.daemon.workers():  # its set's, and maybe one that closes what was handed back
            if node in {os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()}:
                self.daemon.kill(pid)
        self.assertTrue(eventually(lambda: [info.tainted for info in self.admin.pages("device_list", "devices")
                                            if info.address == ONE] == [True]))
        self.end(process)
        self.assertTrue(eventually(lambda: not self.sets()))
        number = str(said["number"])
        for words in (("release", number), ("remove", ONE)):
            self.assertIn("(device-tainted)", self.run_it(*words).stderr)
        self.assertEqual(self.run_it("run", *self.iommu(), "--device", ONE, "--", "true").returncode, 0)
        self.assertTrue(eventually(lambda: self.run_it("who", number).stdout == f"PASID {number}: idle\n"))

    def test_a_command_that_is_not_there_leaves_nothing(self):
        for command in ("/no/such/vmm", "no-such-vmm"):
            self.fails(127, command, "run", *self.iommu(), "--device", ONE, "--share", SHARED, "--", command)
        self.fails(126, "/etc/passwd", "run", "--set", "vm1", "--", "/etc/passwd")

    def test_a_command_that_turns_out_not_to_run_leaves_nothing(self):
        """Found out when everything is there already."""
        with tempfile.NamedTemporaryFile(mode="w", prefix="pasidctl-run-", delete=False) as script:
            script.write("#!/no/such/interpreter\n")
        os.chmod(script.name, 0o755)
        self.addCleanup(os.unlink, script.name)
        self.fails(127, "cannot run", "run", *self.iommu(), "--set", "vm1", "--device", ONE, "--", script.name)

    def test_what_the_daemon_refuses_leaves_nothing(self):
        with self.daemon.client() as other:
            other.create("other")
            other.add(self.daemon, TWO)
            done = self.run_it("--json", "run", *self.iommu(), "--set", "vm1", "--device", ONE, "--device", TWO, "--", "true")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(json.loads(done.stdout)["reason"], ("device-taken", "device-bind-refused"))
            eventually(lambda: self.sets() == ["other"])
            self.assertEqual(self.sets(), ["other"])
            eventually(lambda: self.registered() == [TWO])
            self.assertEqual(self.registered(), [TWO])
            done = self.run_it("--json", "run", "--set", "other", "--", "true")
            self.assertEqual((done.returncode, json.loads(done.stdout)["reason"]), (1, "set-exists"))
        self.fails(1, "policy", "run", *self.iommu(), "--device", ONE, "--device", SHARED, "--", "true")

    def test_policy_decides_what_this_user_gets(self):
        if daemon_user()[0] == 1:
            self.skipTest("is the user who may have it")
        self.fails(1, "policy", "run", *self.iommu(), "--device", ROOTS, "--", "true")

    def test_a_handed_set_keeps_nothing_of_a_failure(self):
        self.admin.create("vm1")
        with self.daemon.client() as other:
            other.create("other")
            other.add(self.daemon, TWO)
            done = self.run_it("run", *self.iommu(), "--handed", "--set", "vm1", "--device", ONE, "--device", TWO, "--", "true")
            self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(eventually(lambda: not self.admin.call("set_get", set=set_ref("vm1")).set_get.devices), True)
        done = self.run_it("run", "--handed", "--set", "none", "--", "true")
        self.assertEqual(done.returncode, 1)
        done = self.run_it("run", "--handed", "--set", "vm1", "--", "true")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_daemon_and_no_iommufd(self):
        done = subprocess.run([BUILD / "pasidctl", "--socket", "/no/such/socket", "run", "--set", "x", "--", "true"],
                              capture_output=True, text=True, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("is pasidd running?", done.stderr)
        self.fails(4, "pasidctl doctor", "run", "--iommu", "/no/such/iommu", "--device", ONE, "--", "true")

    def test_wrong_lines_ask_nothing(self):
        for words in (
            ("run",),
            ("run", "--"),
            ("run", "vmm"),
            ("run", "--handed", "--", "true"),
            ("run", "--handed", "--set", "vm1", "--quota", "4", "--", "true"),
            ("run", "--set", "id:7", "--", "true"),
            ("run", "--set", "x" * 65, "--", "true"),
            ("run", "--", "true", "{connection}"),
            ("run", "--", "true", "{iommufd}"),
            ("run", "--device", ONE, "--", "true", "{device:0000:00:09.0}"),
            ("run", "--device", ONE, "--", "true", "{device:" + ONE),
            ("run", "--device", ONE, "--device", "00:01.0", "--", "true"),
            ("run", *("--share", SHARED) * 33, "--", "true"),
        ):
            self.fails(2, "pasidctl --help", *words)

    def test_a_daemon_that_does_not_answer(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            done = self.run_it("--timeout", "0.3", "run", "--set", "vm1", "--", "true")
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.assertNotEqual(done.returncode, 0)
        self.nothing_is_left()


if __name__ == "__main__":
    vmm() if sys.argv[1:2] == ["vmm"] else unittest.main()
