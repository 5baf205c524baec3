# SPDX-License-Identifier: MIT
"""pasidctl metrics: files, and the server that Prometheus asks."""

import contextlib
import http.client
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

from pasid_client import BUILD, TIMEOUT, Daemon, eventually, need_everybody
from test_pasidctl import PASIDCTL, WithDaemon, pasidctl

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ALERTS = pathlib.Path(__file__).resolve().parents[2] / "metrics" / "alerts.yml"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


def samples(text):
    """{series: value} of a text that ends as it must."""
    assert text.endswith("\n# EOF\n"), text[-200:]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}
    assert len(found) == len(lines), "a series is there twice"
    return found


class Server:
    """pasidctl metrics --listen, as root by force when the test is root."""

    def __init__(self, path, *words, address="127.0.0.1:0", user=None, pass_fds=()):
        force = ["--force"] if os.geteuid() == 0 and user is None else []
        self.process = subprocess.Popen(
            [PASIDCTL, "--socket", str(path), "metrics", "--listen", address, *force, *words],
            stderr=subprocess.PIPE,
            text=True,
            user=user,
            pass_fds=pass_fds,
        )
        self.where = self.process.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/metrics$", self.where)
        self.port = int(match[1]) if match else None

    def ask(self, method="GET", path="/metrics", body=None, **headers):
        """Status, headers and body."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def up(self):
        return samples(self.ask()[2])["pasidd_up"]

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode


class Once(WithDaemon):
    def test_the_daemons_counters_limits_and_sets_are_there(self):
        self.vm1()
        found = samples(self.ctl("metrics").stdout)
        self.assertEqual([found[f"pasidd_{name}"] for name in ("up", "pasids", "sets", "devices")], [1, 1, 1, 2])
        self.assertEqual(found["pasidd_pasids_allocated_total"], 1)
        self.assertEqual(found['pasidd_build_info{backend="simulated",version="0.1.0"}'], 1)
        self.assertIn('pasidd_resource_used{resource="connections"}', found)
        self.assertFalse([series for series in found if "set_id" in series])
        with_sets = samples(self.ctl("metrics", "--sets").stdout)
        (vm1,) = [series for series in with_sets if series.startswith('pasidd_set_pasids_quota{set="vm1",')]
        self.assertEqual(with_sets[vm1], 16)
        listed = {sample["name"]: sample["value"] for sample in self.done("metrics")}
        self.assertEqual(listed["pasidd_sets"], 1)
        self.ctl("set", "destroy", "nobody")
        self.assertEqual(samples(self.ctl("metrics").stdout)['pasidd_refusals_total{reason="no-set"}'], 1)

    def test_openmetrics_names_counters_families_without_total(self):
        text = self.ctl("metrics", "--format", "openmetrics").stdout
        self.assertIn("\n# TYPE pasidd_binds counter\npasidd_binds_total 0\n", text)
        self.assertNotIn("\n# TYPE pasidd_binds_total", text)
        families = re.findall(r"^# TYPE (\S+) ", text, re.M)
        self.assertEqual(len(families), len(set(families)))

    def test_rules_for_alerts_are_about_what_there_is(self):
        self.vm1()
        found = {series.split("{")[0] for series in samples(self.ctl("metrics", "--sets").stdout)}
        used = set(re.findall(r"\bpasidd_\w+", ALERTS.read_text()))
        self.assertGreater(len(used), 10)
        self.assertEqual(used - found, set())

    def test_a_file_is_replaced_whole_and_says_when_there_is_no_daemon(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pasid-metrics-"))
        self.addCleanup(shutil.rmtree, folder)
        file = folder / "pasidd.prom"
        file.write_text("before")
        self.assertEqual(self.ctl("metrics", "--output", str(file)).stdout, "")
        self.assertEqual(samples(file.read_text())["pasidd_up"], 1)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o644)
        self.daemon.stop()
        away = self.ctl("metrics", "--output", str(file))
        self.assertEqual((away.returncode, samples(file.read_text())), (3, {"pasidd_up": 0}))
        self.assertIn("is pasidd running?", away.stderr)
        nothing = self.ctl("metrics")
        self.assertEqual((nothing.returncode, nothing.stdout), (3, ""))
        self.assertEqual(os.listdir(folder), ["pasidd.prom"])

    def test_what_is_no_regular_file_is_not_replaced(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pasid-metrics-"))
        self.addCleanup(shutil.rmtree, folder)
        os.mkfifo(folder / "fifo")
        (folder / "link").symlink_to("/dev/null")
        for name in ("fifo", "link", ".", "missing/file"):
            self.assertEqual(self.ctl("metrics", "--output", f"{folder}/{name}").returncode, 4, name)
        self.assertEqual(sorted(os.listdir(folder)), ["fifo", "link"])

    def test_options_that_contradict_each_other_are_refused(self):
        listen = ("--listen", "127.0.0.1:0")
        for words in (("--format", "xml"), ("--force",), (*listen, "--output", "x"), (*listen, "--json"),
                      ("--output", "x", "--json"), ("--listen", "127.0.0.1"), ("--listen", ":", "--force"),
                      ("--listen", "localhost:9", "--force"), ("--listen", "127.0.0.1:99999", "--force"),
                      ("--listen", "fd:x", "--force"), ("--listen", "fd:1", "--force"), ("--listen", "fd:77", "--force"),
                      ("--listen", "[::1]", "--force"), ("--listen", "/" + 200 * "x", "--force")):  # fmt: skip
            self.assertEqual(self.ctl("metrics", *words).returncode, 2, words)


class Listening(WithDaemon):
    def serve(self, *words, **options):
        server = Server(self.daemon.socket, *words, **options)
        self.addCleanup(server.end)
        return server

    def test_a_request_gets_the_format_that_it_wants(self):
        server = self.serve("--sets")
        self.vm1()
        for accept, kind in ((None, TEXT), ("text/plain", TEXT), ("*/*", TEXT), ("application/openmetrics-text", OPEN),
                             ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPEN)):  # fmt: skip
            code, headers, body = server.ask(**({} if accept is None else {"Accept": accept}))
            self.assertEqual((code, headers["Content-Type"], headers["Vary"]), (200, kind, "Accept"))
            self.assertEqual(samples(body)["pasidd_sets"], 1)
            self.assertIs("\n# TYPE pasidd_binds counter\n" in body, kind == OPEN)
        code, headers, body = server.ask("HEAD")
        self.assertEqual((code, body), (200, ""))
        self.assertGreater(int(headers["Content-Length"]), 1000)

    def test_nothing_else_is_served(self):
        server = self.serve()
        for path in ("/", "/metrics/", "/metrics/x", "/../metrics", "/metricsx", "//metrics"):
            self.assertEqual(server.ask(path=path)[0], 404, path)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            code, headers, _ = server.ask(method)
            self.assertEqual((code, headers["Allow"]), (405, "GET, HEAD"), method)
        self.assertEqual(server.ask(path="/metrics?x=1")[0], 200)

    def test_requests_are_bounded_and_the_next_one_is_served(self):
        server = self.serve()
        self.assertIn(server.ask("POST", body="x" * 100000)[0], (400, 413))
        self.assertIn(server.ask(**{"X-Long": "x" * 60000})[0], (400, 413, 431))
        for data in (b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"\r\n" * 100):
            with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
                connection.sendall(data)
        self.assertEqual(server.up(), 1)

    def test_connections_are_bounded_and_idle_ones_end(self):
        server = self.serve()
        self.assertEqual(server.up(), 1)
        with contextlib.ExitStack() as idle:
            for _ in range(120):
                connection = socket.socket()
                connection.setblocking(False)
                idle.callback(connection.close)
                connection.connect_ex(("127.0.0.1", server.port))
            descriptors = pathlib.Path(f"/proc/{server.process.pid}/fd")
            self.assertTrue(eventually(lambda: len(os.listdir(descriptors)) > 80))
            # Full, it waits instead of spinning; then idle connections have had their time.
            spent = self.cpu(server)
            time.sleep(1)
            self.assertLess(self.cpu(server) - spent, 0.5)
            self.assertLess(len(os.listdir(descriptors)), 110)
            # Descriptors for another connection to the daemon are nobody else's.
            self.kill()
            self.daemon.start()
            self.assertEqual(server.up(), 1)
        self.assertEqual(server.up(), 1)

    def cpu(self, server):
        words = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def test_the_daemon_is_asked_at_most_once_a_second(self):
        server = self.serve()
        first = server.ask()[2]
        self.assertEqual(server.ask()[2], first)
        self.assertTrue(eventually(lambda: server.ask()[2] != first))

    def test_it_goes_on_while_the_daemon_is_away(self):
        server = self.serve()
        self.assertEqual(server.up(), 1)
        for end in (self.daemon.stop, self.kill):
            end()
            self.assertTrue(eventually(lambda: server.up() == 0))
            self.daemon.start()
            self.assertTrue(eventually(lambda: server.up() == 1))

    def kill(self):
        self.daemon.process.kill()
        self.daemon.process.wait(TIMEOUT)

    def test_a_daemon_that_hangs_is_away_after_its_time(self):
        server = self.serve("--timeout", "0.5")
        self.assertEqual(server.up(), 1)
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        try:
            self.assertTrue(eventually(lambda: server.up() == 0))
        finally:
            os.kill(self.daemon.process.pid, signal.SIGCONT)
        self.assertTrue(eventually(lambda: server.up() == 1))

    def test_it_begins_without_a_daemon(self):
        self.daemon.stop()
        server = self.serve()
        self.assertEqual(server.up(), 0)
        self.daemon.start()
        self.assertTrue(eventually(lambda: server.up() == 1))

    def test_a_path_is_served_too_and_taken_away_at_the_end(self):
        path = self.daemon.folder / "metrics.socket"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))  # and nobody listens there any more
        server = Server(self.daemon.socket, address=str(path))
        self.assertIn(f"on {path}", server.where)
        second = Server(self.daemon.socket, address=str(path))
        self.assertIn("cannot listen", second.where)
        self.assertEqual(second.process.wait(TIMEOUT), 4)
        second.process.stderr.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(str(path))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        self.assertIn(b"200 OK", answer)
        self.assertTrue(answer.endswith(b"# EOF\n"))
        self.assertEqual(server.end(), 0)
        self.assertFalse(path.exists())

    def test_a_socket_that_listens_already_is_served(self):
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            server = self.serve(address=f"fd:{listening.fileno()}", pass_fds=[listening.fileno()])
            server.port = listening.getsockname()[1]
        self.assertEqual(server.up(), 1)
        self.assertEqual(server.up(), 1)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_it_is_for_an_unprivileged_user(self):
        refused = pasidctl("metrics", "--listen", "127.0.0.1:0", socket=self.daemon.socket)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--force", refused.stderr)
        need_everybody(BUILD / "pasidctl")
        observed = Daemon({"roles": {"observers": {"users": [0, pwd.getpwnam("nobody").pw_uid]}}})
        self.addCleanup(observed.cleanup)
        observed.folder.chmod(0o755)
        server = Server(observed.socket, user="nobody")
        self.addCleanup(server.end)
        self.assertEqual(server.up(), 1)


if __name__ == "__main__":
    unittest.main()
