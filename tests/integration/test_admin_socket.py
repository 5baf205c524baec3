# SPDX-License-Identifier: MIT
"""The socket for admins: whoever can open it is one, and nobody else can open it."""

import os
import pathlib
import pwd
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from pasid_client import BUILD, PASIDD, TIMEOUT, Client, Daemon, Refused, daemon_user, pb

PASIDCTL = BUILD / "pasidctl"
NOBODY = {"admins": {}, "observers": {}, "participants": {}}
LISTENING = pathlib.Path(__file__).with_name("listening.py")
ROLES = (pb.ROLE_ADMIN, pb.ROLE_OBSERVER, pb.ROLE_PARTICIPANT)


def pasidctl(*words, path):
    """Without --socket, as an operator calls it."""
    environment = {**os.environ, "PASIDD_SOCKET": str(path)}
    return subprocess.run(
        [PASIDCTL, *words], env=environment, text=True, capture_output=True, timeout=TIMEOUT, check=False)


class AdminSocket(unittest.TestCase):
    def setUp(self):
        # Nobody has a role by what it is: only the door can make an admin.
        self.daemon = Daemon({"roles": NOBODY})
        self.addCleanup(self.daemon.cleanup)
        self.path = self.daemon.folder / "admin.socket"

    def test_it_is_there_for_its_owner_alone(self):
        status = os.stat(self.path)
        self.assertEqual(status.st_mode & 0o7777, 0o600)
        self.assertEqual(status.st_uid, daemon_user()[0])

    def test_who_comes_in_there_has_each_role(self):
        for role in ROLES:
            with self.subTest(pb.Role.Name(role)), Client(self.path, role=role) as client:
                self.assertEqual(client.welcome.role, role)
        with Client(self.path, role=pb.ROLE_ADMIN) as admin:
            admin.create("of-an-admin", uid=12345)
            self.assertEqual(admin.status().sets, 1)

    def test_the_public_socket_gives_none_of_them(self):
        for role in ROLES:
            with self.subTest(pb.Role.Name(role)), self.assertRaises(Refused) as refused:
                Client(self.daemon.socket, role=role)
            self.assertEqual(refused.exception.reason, "role-not-allowed")

    def test_a_session_of_an_admin_is_not_taken_up_at_the_public_socket(self):
        admin = Client(self.path, role=pb.ROLE_ADMIN)
        token = admin.welcome.resume_token
        admin.close()
        with self.assertRaises(Refused) as refused:
            Client(self.daemon.socket, role=pb.ROLE_ADMIN, resume=token)
        self.assertEqual(refused.exception.reason, "role-not-allowed")
        with Client(self.path, role=pb.ROLE_ADMIN, resume=token) as again:
            self.assertTrue(again.welcome.resumed)

    def test_admins_are_let_in_when_others_have_all_connections(self):
        daemon = Daemon(
            {"roles": NOBODY, "limits": {"connections": {"user": 128, "host": 128}}, "session": {"hello_ms": 600000}})
        self.addCleanup(daemon.cleanup)
        path = daemon.folder / "admin.socket"
        for _ in range(128):
            taken = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.addCleanup(taken.close)
            taken.connect(str(daemon.socket))
        with Client(path, role=pb.ROLE_ADMIN) as first:
            until = time.monotonic() + TIMEOUT
            while not any(c.name == "accept-pauses-limit" and c.value > 0 for c in first.status().counters):
                self.assertLess(time.monotonic(), until)
            with Client(path, role=pb.ROLE_ADMIN) as second:
                self.assertEqual(second.status().sets, 0)

    def test_it_goes_on_after_the_daemon_was_killed(self):
        admin = Client(self.path, role=pb.ROLE_ADMIN)
        token = admin.welcome.resume_token
        self.daemon.process.kill()
        self.daemon.process.wait()
        admin.close()
        self.daemon.start()
        with self.assertRaises(Refused):
            Client(self.daemon.socket, role=pb.ROLE_ADMIN, resume=token)
        with Client(self.path, role=pb.ROLE_ADMIN, resume=token) as again:
            self.assertTrue(again.welcome.resumed)

    def test_a_stop_removes_both(self):
        self.assertEqual(self.daemon.stop(), 0)
        self.assertFalse(self.path.exists() or self.daemon.socket.exists())

    def test_pasidctl_comes_in_there_when_it_may(self):
        self.assertEqual(pasidctl("set", "create", "vm", "--quota", "4", path=self.daemon.socket).returncode, 0)
        # The one that was named is the only one that is asked.
        by_name = pasidctl("--socket", str(self.daemon.socket), "set", "create", "vm2", path=self.daemon.socket)
        self.assertNotEqual(by_name.returncode, 0)
        self.assertIn("needs the role admin", by_name.stderr)

    def test_pasidctl_falls_back_to_the_public_socket(self):
        self.path.unlink()
        self.assertIn("needs the role admin", pasidctl("sets", "--json", path=self.daemon.socket).stderr
                      + pasidctl("set", "create", "vm", path=self.daemon.socket).stderr)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
            dead.bind(str(self.path))  # nobody listens
        self.assertEqual(pasidctl("status", path=self.daemon.socket).returncode, 0)

    @unittest.skipUnless(os.geteuid() == 0, "takes root, to become somebody else")
    def test_somebody_else_cannot_open_it(self):
        self.daemon.folder.chmod(0o755)
        script = ("import os, socket, sys; os.setgid(int(sys.argv[3])); os.setgroups([]); os.setuid(int(sys.argv[2])); "
                  "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])")
        games = pwd.getpwnam("games")
        for path, expected in ((self.daemon.socket, 0), (self.path, 1)):
            done = subprocess.run([sys.executable, "-c", script, str(path), str(games.pw_uid), str(games.pw_gid)],
                                  text=True, capture_output=True, timeout=TIMEOUT, check=False)
            self.assertEqual(done.returncode, expected, done.stderr)
        self.assertIn("PermissionError", done.stderr)


class Paths(unittest.TestCase):
    def test_the_configuration_may_put_it_elsewhere(self):
        with tempfile.TemporaryDirectory(prefix="pasidd-admin-") as folder:
            os.chown(folder, *daemon_user())
            path = pathlib.Path(folder) / "door"
            with Daemon({"socket": {"admin_path": str(path)}, "roles": NOBODY}) as daemon:
                self.assertFalse((daemon.folder / "admin.socket").exists())
                with Client(path, role=pb.ROLE_ADMIN) as admin:
                    self.assertEqual(admin.welcome.role, pb.ROLE_ADMIN)

    def test_one_path_for_both_is_refused(self):
        with tempfile.TemporaryDirectory(prefix="pasidd-admin-") as folder:
            config = pathlib.Path(folder) / "config.json"
            config.write_text('{"socket": {"admin_path": "%s/x", "path": "%s/x"}}' % (folder, folder))
            done = subprocess.run([PASIDD, "--simulate", "--runtime-dir", folder, "--config", config], text=True,
                                  capture_output=True, timeout=TIMEOUT, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn("socket.admin_path", done.stderr)


class Activation(unittest.TestCase):
    """Both sockets come from the service manager, told apart by their names."""

    def start(self, daemon, names, listeners):
        numbers = [listener.fileno() for listener in listeners]
        daemon.process = subprocess.Popen(
            [sys.executable, LISTENING, names, ",".join(map(str, numbers)), *daemon.command()],
            pass_fds=numbers, stderr=subprocess.DEVNULL)

    def test_the_one_that_is_called_admin_is_the_door(self):
        daemon = Daemon({"roles": NOBODY}, start=False)
        self.addCleanup(daemon.cleanup)
        paths = [daemon.folder / name for name in ("one", "two")]
        listeners = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in paths]
        for listener, path in zip(listeners, paths):
            self.addCleanup(listener.close)
            listener.bind(str(path))
            listener.listen(16)
        self.start(daemon, "admin:pasidd.socket", listeners)
        with Client(paths[0], role=pb.ROLE_ADMIN) as admin:
            self.assertEqual(admin.welcome.role, pb.ROLE_ADMIN)
        with self.assertRaises(Refused):
            Client(paths[1], role=pb.ROLE_ADMIN)
        # It makes none beside them, and leaves what is not its own.
        self.assertFalse(daemon.socket.exists() or (daemon.folder / "admin.socket").exists())
        self.assertEqual(daemon.stop(), 0)
        self.assertTrue(all(path.exists() for path in paths))

    def test_without_the_one_for_admins_the_daemon_makes_it(self):
        daemon = Daemon({"roles": NOBODY}, start=False)
        self.addCleanup(daemon.cleanup)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(daemon.socket))
            listener.listen(16)
            self.start(daemon, "pasidd.socket", [listener])
            with Client(daemon.socket) as client:
                client.call("ping")
            with Client(daemon.folder / "admin.socket", role=pb.ROLE_ADMIN) as admin:
                self.assertEqual(admin.welcome.role, pb.ROLE_ADMIN)


if __name__ == "__main__":
    unittest.main()
