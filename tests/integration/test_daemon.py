# SPDX-License-Identifier: MIT
"""The daemon as a process: options, configuration, one instance, shutdown, what it leaves behind."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

from pasid_client import PASIDD, TIMEOUT, Daemon, Vmm, daemon_user, eventually, host, pb


def run(*arguments, **options):
    return subprocess.run([str(PASIDD), *arguments], capture_output=True, text=True, timeout=TIMEOUT, **options)


class CommandLine(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasidd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def config(self, text):
        path = self.folder / "config.json"
        path.write_text(text)
        return str(path)

    def test_help_has_options_examples_and_exit_statuses(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0)
        for text in ("--simulate", "--check-config", "Examples:", "Exit status:"):
            self.assertIn(text, result.stdout)

    def test_version(self):
        result = run("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"^pasidd \d+\.\d+\.\d+\n$")

    def test_unknown_options_are_errors(self):
        for arguments in (["--nonsense"], ["word"], ["--log-level", "loud"], ["--socket"]):
            with self.subTest(arguments):
                self.assertEqual(run(*arguments).returncode, 2)

    def test_an_empty_value_is_an_error_and_not_the_default(self):
        for option in ("--config", "--socket", "--runtime-dir", "--state-dir", "--simulate", "--log-level"):
            with self.subTest(option):
                result = run("--check-config", f"{option}=")
                self.assertEqual(result.returncode, 2)
                self.assertEqual(result.stderr, f"pasidd: {option} is given an empty value; try --help\n")

    def test_check_config(self):
        good, bad = self.config("{}"), self.folder / "bad.json"
        result = run("--check-config", "--config", good)
        self.assertEqual((result.returncode, result.stdout), (0, f"{good}: ok\n"))
        bad.write_text('{\n "quota": {"per_set": 1}}')
        result = run("--check-config", "--config", str(bad))
        self.assertEqual(result.returncode, 2)
        self.assertIn("quota.per_set: unknown key", result.stderr)
        bad.write_text("{\n oops")
        self.assertIn("bad.json:2:", run("--check-config", "--config", str(bad)).stderr)
        self.assertEqual(run("--config", "/nonexistent").returncode, 2)

    @unittest.skipIf(os.path.exists("/dev/iommu"), "this host could bind PASIDs")
    def test_a_host_without_iommufd_is_explained(self):
        result = run("--runtime-dir", str(self.folder))
        self.assertEqual(result.returncode, 4)
        self.assertNotIn("?", result.stderr, "each line is one")
        self.assertIn("iommufd", result.stderr)
        self.assertIn("--simulate", result.stderr)

    def test_a_runtime_directory_that_others_can_write_to_is_refused(self):
        os.chmod(self.folder, 0o777)
        result = run("--simulate", "--runtime-dir", str(self.folder))
        self.assertEqual(result.returncode, 1)
        self.assertIn("can be written to by others", result.stderr)

    def test_a_simulation_that_cannot_be_is_refused(self):
        path = self.config('{"simulate": {"devices": [{"address": "0:1.0", "group": 1, "unit": 0}, '
                           '{"address": "0:2.0", "group": 1, "unit": 1}]}}')
        result = run("--simulate", "--config", path, "--runtime-dir", str(self.folder))
        self.assertIn(result.returncode, (1, 2))
        self.assertIn("simulation", result.stderr)


class Process(unittest.TestCase):
    def daemon(self, *arguments, **options):
        daemon = Daemon(*arguments, **options)
        self.addCleanup(daemon.cleanup)
        return daemon

    # F8
    def test_a_second_instance_says_who_is_first(self):
        first = self.daemon()
        result = subprocess.run(first.unprivileged(first.command()), capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(result.returncode, 3)
        self.assertIn(f"process {first.process.pid}", result.stderr)
        self.assertIn(str(first.socket), result.stderr)
        with first.client() as client:
            client.call("ping")

    def test_a_socket_of_another_instance_is_not_taken(self):
        first, second = self.daemon(), self.daemon(start=False)
        command = [*second.command(), "--socket", str(first.socket)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(result.returncode, 3)
        self.assertIn("in use by another program", result.stderr)
        with first.client() as client:
            client.call("ping")

    def test_a_file_in_the_sockets_place_is_left_alone(self):
        daemon = self.daemon(start=False)
        daemon.socket.write_text("precious")
        result = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=TIMEOUT)
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(daemon.socket.read_text(), "precious")

    def test_a_killed_daemon_can_be_started_again(self):
        daemon = self.daemon()
        instance = daemon.client().welcome.instance
        daemon.process.kill()
        daemon.process.wait()
        self.assertTrue(daemon.socket.exists())
        daemon.start()
        with daemon.client() as client:
            self.assertNotEqual(client.welcome.instance, instance)

    def test_stops_cleanly_on_both_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.daemon()
            client = daemon.client()
            client.create("vm1")
            device = client.add(daemon, "0000:00:01.0").id
            client.map_memory(device)
            client.bind(host(client.allocate()[0]), device)
            workers = daemon.workers()
            self.assertEqual(len(daemon.tables()), 1)
            daemon.process.send_signal(number)
            self.assertEqual(daemon.process.wait(TIMEOUT), 0)
            self.assertTrue(client.closed())
            self.assertFalse(daemon.socket.exists())
            self.assertTrue(eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers)))
            self.assertEqual(daemon.tables(), {})
            client.close()

    def test_a_hangup_changes_nothing(self):
        daemon = self.daemon()
        daemon.process.send_signal(signal.SIGHUP)
        with daemon.client() as client:
            client.call("ping")

    def test_a_stop_waits_for_hardware_and_no_longer_than_it_says(self):
        daemon = self.daemon()
        client = daemon.client()
        client.create("vm1")
        device = client.add(daemon, "0000:00:01.0").id
        client.map_memory(device)
        daemon.sim("hang", "0000:00:01.0", "60000", "--call", "attach")
        pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
        client.send(client.request("bind", pasid=host(client.allocate()[0]), pairs=pairs))
        client.call("ping")
        self.assertEqual(daemon.stop(), 0)
        daemon.sim("clear")
        client.close()

    def test_permissions_of_the_socket(self):
        # Who has no privileges gives a file to none but an own group.
        group = 4 if daemon_user()[0] == 0 else daemon_user()[1]
        daemon = self.daemon({"socket": {"mode": "0660", "group": group}})
        status = daemon.socket.stat()
        self.assertEqual(status.st_mode & 0o7777, 0o660)
        self.assertEqual(status.st_gid, group)

    def test_socket_activation(self):
        daemon = self.daemon(start=False)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(daemon.socket))
            listener.listen()
            script = 'exec 3<&"$0"; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
            process = subprocess.Popen(
                ["bash", "-c", script, str(listener.fileno()), *daemon.command()],
                pass_fds=[listener.fileno()],
                stderr=subprocess.DEVNULL,
            )
            daemon.process = process
            with daemon.client() as client:
                client.call("ping")
            self.assertEqual(daemon.stop(), 0)
        self.assertTrue(daemon.socket.exists(), "the socket is systemd's")

    def test_roles_by_configuration(self):
        daemon = self.daemon({"roles": {"admins": {"users": [1]}, "observers": {"everyone": True}}})
        with daemon.client(hello=False) as client:
            request = client.request("hello", version_min=1, version_max=1, role=pb.ROLE_ADMIN)
            client.send(request)
            self.assertEqual(client.wait(request.id).status.reason, "role-not-allowed")
        with daemon.client(role=pb.ROLE_OBSERVER) as client:
            self.assertEqual(client.status().backend, "simulated")

    def test_status_says_what_an_operator_should_know(self):
        daemon = self.daemon({"devices": [{"address": "0:1f.7", "use": "shared", "everyone": True}]})
        with daemon.admin() as admin:
            notes = admin.status().notes
        self.assertTrue(any("simulated" in note for note in notes), notes)
        self.assertTrue(any("0000:00:1f.7" in note for note in notes), notes)

    def test_the_log_has_fields(self):
        daemon = self.daemon(arguments=["--log-level", "debug"])
        with daemon.client() as client:
            identity = client.create("vm1").id
            number = client.allocate()[0]
        who = f"uid={os.geteuid()}]"
        for line in (
            rf"set created \[operation=set-create session=\d+ vm=vm1 set={identity} {who}",
            rf"PASID granted \[operation=allocate session=\d+ vm=vm1 set={identity} pasid={number} {who}",
        ):
            self.assertRegex(daemon.log(), line)

    def test_nothing_is_left_behind_by_many_machines(self):
        daemon = self.daemon({"quarantine": {"cooling_ms": 0}, "session": {"grace_ms": 10}})

        def machine(client):
            client.create(f"vm{os.getpid()}")
            device = client.add(daemon, "0000:00:02.0").id
            client.map_memory(device)
            for number in client.allocate(count=8):
                client.bind(host(number), device)
            return True

        def settled():
            with daemon.admin() as admin:
                status = admin.status()
                return status.sets == 0 and status.pasids.current == 0 and status.consistent

        def once():
            vm = Vmm(daemon, machine)
            vm.kill()
            self.assertTrue(eventually(settled))

        once()
        files, workers = daemon.open_files(), len(daemon.workers())
        for _ in range(12):
            once()
        self.assertTrue(eventually(lambda: daemon.open_files() <= files), daemon.open_files())
        self.assertTrue(eventually(lambda: len(daemon.workers()) <= workers))
        self.assertEqual(daemon.tables(), {})


if __name__ == "__main__":
    unittest.main()
