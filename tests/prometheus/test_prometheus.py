# SPDX-License-Identifier: MIT
"""What pasidctl metrics says, as Prometheus and its promtool take it. scripts/test --only metrics runs this."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from pasid_client import TIMEOUT  # pylint: disable=wrong-import-position
from test_metrics import ALERTS, Server  # pylint: disable=wrong-import-position
from test_pasidctl import WithDaemon  # pylint: disable=wrong-import-position

# From its start to the first scrape, on a busy machine.
PATIENCE = 60.0

CONFIG = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
scrape_configs:
  - job_name: pasidd
    static_configs:
      - targets: ["127.0.0.1:{port}"]
rule_files: ["{rules}"]
"""


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


class Prometheus:
    """Debian's, in a folder of its own, that asks one server."""

    def __init__(self, port):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pasid-prometheus-"))
        self.port = free_port()
        config = self.folder / "prometheus.yml"
        config.write_text(CONFIG.format(port=port, rules=ALERTS))
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TIMEOUT)
        shutil.rmtree(self.folder)

    def api(self, path, **query):
        """The data of an answer of its API, or None while it does not listen yet."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def value(self, expression):
        """The one value of an expression now, or None."""
        data = self.api("query", query=expression)
        values = [float(found["value"][1]) for found in data["result"]] if data else []
        return values[0] if len(values) == 1 else None

    def until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "log").read_text()[-4000:] or "Prometheus has not scraped in time")
            time.sleep(0.2)


class Promtool(WithDaemon):
    def check(self, *words, **options):
        checked = subprocess.run(
            ["promtool", "check", *words], text=True, capture_output=True, timeout=TIMEOUT, check=False, **options
        )
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        return checked.stdout + checked.stderr

    def test_it_accepts_the_metrics_with_nothing_to_say(self):
        self.vm1()
        self.ctl("set", "destroy", "nobody")
        for words in ((), ("--sets",)):
            self.assertEqual(self.check("metrics", input=self.ctl("metrics", *words).stdout), "")

    def test_it_accepts_what_is_said_without_a_daemon(self):
        self.daemon.stop()
        file = self.daemon.folder / "pasidd.prom"
        self.ctl("metrics", "--output", str(file))
        self.assertEqual(self.check("metrics", input=file.read_text()), "")

    def test_it_accepts_the_rules(self):
        self.assertIn("SUCCESS", self.check("rules", str(ALERTS)))


class Scraped(WithDaemon):
    def test_prometheus_scrapes_it_and_understands_each_rule(self):
        self.vm1()
        server = Server(self.daemon.socket, "--sets")
        self.addCleanup(server.end)
        prometheus = Prometheus(server.port)
        self.addCleanup(prometheus.end)
        prometheus.until(lambda: prometheus.value("up") == 1 and prometheus.value("pasidd_up") == 1)
        self.assertEqual(prometheus.value("pasidd_pasids"), 1)
        self.assertEqual(prometheus.value("pasidd_pasids_allocated_total"), 1)
        self.assertEqual(prometheus.value('pasidd_set_pasids_quota{set="vm1"}'), 16)
        (target,) = prometheus.api("targets")["activeTargets"]
        self.assertEqual((target["health"], target["lastError"]), ("up", ""))
        kinds = prometheus.api("metadata", metric="pasidd_uptime_seconds")["pasidd_uptime_seconds"]
        # Only OpenMetrics has units: that is what was asked for and understood.
        self.assertEqual([(kind["type"], kind["unit"]) for kind in kinds], [("gauge", "seconds")])
        self.rules(prometheus)
        self.away(prometheus)

    def rules(self, prometheus):
        """Each rule was evaluated, and found nothing wrong with this host but that it has a note."""

        def evaluated():
            (group,) = prometheus.api("rules")["groups"]
            return all(rule["health"] == "ok" for rule in group["rules"])

        prometheus.until(evaluated)
        (group,) = prometheus.api("rules")["groups"]
        self.assertEqual([rule["name"] for rule in group["rules"] if rule["state"] == "firing"], [])

    def away(self, prometheus):
        """Without the daemon the server is up, and says that the daemon is not."""
        os.kill(self.daemon.process.pid, signal.SIGKILL)
        self.daemon.process.wait(TIMEOUT)
        prometheus.until(lambda: prometheus.value("pasidd_up") == 0)
        self.assertEqual(prometheus.value("up"), 1)
        self.daemon.start()
        prometheus.until(lambda: prometheus.value("pasidd_up") == 1)


if __name__ == "__main__":
    unittest.main()
