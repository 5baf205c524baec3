# SPDX-License-Identifier: MIT
"""usage: bench.py --build FOLDER [--quick] [--strict] [--quiet] [--only ID]...

What scripts/bench does after building: starts pasidd and its peers, has bench/ measure them, passes its lines on.
"""

import argparse
import contextlib
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

TOP = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 20
FIGURE_SECONDS = 900
TIMEOUT_STATUS = 124  # of timeout(1)
QUICK_SECONDS = 285  # what may be used up when the figures in a virtual machine, which take longest, are done

# Quotas out of the way: they are checked all the same.
WIDE = {"quota": {"set_max": 1048575}, "limits": {"promised_pasids": {"user": 0}, "sets": {"user": 0}}}
UNITS = {
    "simulate": {
        "devices": [{"address": "0000:00:01.0", "unit": 0}, {"address": "0000:00:02.0", "unit": 1}],
    },
}
# Every number but 0, in sets of the greatest quota that the defaults allow.
FULL = {"namespace": {"reserved_last": 0}, "limits": {"promised_pasids": {"user": 0}}}
# No session ends because the machine is slow. Restarts are not worth a line each; what goes wrong is.
PATIENT = {"session": {"grace_ms": 600000, "hello_ms": 600000}, "log": {"level": "error"}}


class Failure(Exception):
    """A figure that could not be measured."""


class Skip(Exception):
    """A figure that cannot be had on this machine."""


class Figure:
    """Some ids that one run of one program measures."""

    def __init__(self, ids, text, run, quick, full):
        self.ids, self.text, self.run = ids, text, run
        self.quick, self.full = quick, full  # rounds


def memory_folder():
    """Where runtime directories are: in memory, if there is such a folder. None: where temporary files go."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = pathlib.Path(options.build)
        # The last one: the first has most of the machine's interrupts.
        self.cpu = max(os.sched_getaffinity(0))
        self.children = contextlib.ExitStack()
        self.began = time.monotonic()
        self.lines = []
        self.skipped = []

    def say(self, text):
        if not self.options.quiet:
            print(f"bench: {text}", file=sys.stderr, flush=True)

    # -- servers

    def start(self, command, name, folder, environment=None):
        """A server on the processor of all servers; ends with the figure."""
        with open(folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env={**os.environ, **(environment or {})}, preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}))
        self.children.callback(self.stop, process)
        return process

    @staticmethod
    def stop(process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @staticmethod
    def wait_for(path, process, folder, name):
        end = time.monotonic() + START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(path))
                return
            if process.poll() is not None or time.monotonic() > end:
                log = (folder / f"{name}.log").read_text(errors="replace")
                raise Failure(f"{name} does not start:\n{log}")
            time.sleep(0.02)

    @staticmethod
    def home(folder, name, config):
        """Where a daemon keeps everything."""
        home = folder / name
        home.mkdir()
        (home / "config.json").write_text(json.dumps(config))
        return home

    def pasidd(self, folder, name, config):
        """A daemon on a simulated IOMMU of its own: PID:SOCKET."""
        home = self.home(folder, name, config)
        notify = home / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            ready.settimeout(0.1)
            process = self.start(
                [self.build / "pasidd", f"--simulate={home}/simulation", "--runtime-dir", home, "--socket",
                 home / "socket", "--config", home / "config.json"],
                name, folder, {"NOTIFY_SOCKET": str(notify)})
            end = time.monotonic() + START_SECONDS
            while not self.told(ready):
                if process.poll() is not None or time.monotonic() > end:
                    raise Failure((folder / f"{name}.log").read_text(errors="replace"))
        return f"{process.pid}:{home}/socket"

    @staticmethod
    def told(ready):
        """Has the daemon said that it is ready?"""
        try:
            return b"READY=1" in ready.recv(4096)
        except TimeoutError:
            return False

    def redis(self, folder):
        """Nothing is written to disk, and no time of commands is recorded."""
        if not shutil.which("redis-server"):
            raise Skip("redis-server is not installed")
        path = folder / "redis.socket"
        process = self.start(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
             "--latency-tracking", "no", "--dir", folder],
            "redis", folder)
        self.wait_for(path, process, folder, "redis")
        return f"{process.pid}:{path}"

    def memcached(self, folder):
        if not shutil.which("memcached"):
            raise Skip("memcached is not installed")
        path = folder / "memcached.socket"
        user = ["-u", "root"] if os.geteuid() == 0 else []
        process = self.start(["memcached", "-s", path, "-t", "1", *user], "memcached", folder)
        self.wait_for(path, process, folder, "memcached")
        return f"{process.pid}:{path}"

    def optional(self, option, server, folder):
        """The words for a peer that a figure can go without."""
        try:
            return [option, server(folder)]
        except Skip as skip:
            self.skip(str(skip))
            return []

    # -- figures

    def skip(self, text):
        self.skipped.append(text)
        self.say(f"SKIP: {text}")

    def collect(self, command, quiet=False):
        """Runs a program and passes its lines on as they come. Returns its exit status."""
        with subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL if quiet else None, text=True) as process:
            for line in process.stdout:
                if line.startswith("{"):
                    self.take(json.loads(line), line)
        if process.returncode not in (0, TIMEOUT_STATUS):
            raise Failure(f"status {process.returncode} of: {' '.join(str(word) for word in command)}")
        return process.returncode

    def take(self, figure, line):
        if self.options.only and figure["id"] not in self.options.only:
            return
        self.lines.append(figure)
        print(line, end="", flush=True)

    def drive(self, name, rounds, *words):
        status = self.collect(
            ["timeout", FIGURE_SECONDS, self.build / "bench_server", name, "--rounds", rounds, "--cpu", self.cpu, *words])
        if status != 0:
            raise Failure(f"it takes more than {FIGURE_SECONDS} s")

    def space(self, _folder, rounds):
        self.collect(["taskset", "-c", self.cpu, self.build / "bench_space", rounds])

    def state(self, folder, rounds):
        self.collect(["taskset", "-c", self.cpu, self.build / "bench_state", folder, rounds], self.options.quiet)

    def latency(self, folder, rounds):
        words = self.optional("--redis", self.redis, folder) + self.optional("--memcached", self.memcached, folder)
        self.drive("latency", rounds, "--pasidd", self.pasidd(folder, "pasidd", WIDE), *words)

    def batches(self, folder, rounds):
        words = ["--redis", self.redis(folder), *self.optional("--memcached", self.memcached, folder)]
        self.drive("batches", rounds, "--pasidd", self.pasidd(folder, "pasidd", WIDE), *words)

    def many_ids(self, folder, rounds):
        self.drive("many-ids", rounds, "--pasidd", self.pasidd(folder, "pasidd", WIDE), "--redis", self.redis(folder))

    def connections(self, folder, rounds):
        self.drive("connections", rounds, "--pasidd", self.pasidd(folder, "many", WIDE),
                   "--second", self.pasidd(folder, "few", WIDE))

    def memory(self, folder, rounds):
        self.drive("memory", rounds, "--pasidd", self.pasidd(folder, "idle", {}),
                   "--second", self.pasidd(folder, "full", FULL))

    def map(self, folder, rounds):
        self.drive("map", rounds, "--pasidd", self.pasidd(folder, "pasidd", WIDE))

    def events(self, folder, rounds):
        self.drive("events", rounds, "--pasidd", self.pasidd(folder, "pasidd", WIDE))

    def hang(self, folder, rounds):
        self.drive("hang", rounds, "--pasidd", self.pasidd(folder, "pasidd", {**WIDE, **UNITS}),
                   "--simulation", folder / "pasidd" / "simulation", "--sim-tool", self.build / "pasid-sim")

    def resume(self, folder, rounds):
        """The program ends and starts the daemons itself."""
        self.drive("resume", rounds, "--program", self.build / "pasidd", "--home", self.home(folder, "full", PATIENT),
                   "--empty-home", self.home(folder, "empty", PATIENT))

    def machine(self, _folder, _rounds):
        """In a virtual machine, on the real kernel."""
        tool = TOP / "scripts" / "vm-test"
        usage = subprocess.run([tool, "--help"], capture_output=True, text=True, check=False)
        if " bench" not in usage.stdout:
            raise Skip("scripts/vm-test has no bench")
        seconds = FIGURE_SECONDS
        if self.options.quick:
            seconds = max(1, int(QUICK_SECONDS - (time.monotonic() - self.began)))
        if self.collect(["timeout", "--kill-after=5", seconds, tool, "bench"], self.options.quiet) != 0:
            raise Skip(f"not done within {seconds} s; without --quick it has {FIGURE_SECONDS}")

    def figures(self):
        return [
            Figure(["P9", "P10", "P16"], "free numbers against a flat bitmap", self.space, 501, 2001),
            Figure(["P1", "P2"], "latency of one allocate", self.latency, 60, 240),
            Figure(["P3"], "processor time of batches", self.batches, 40, 160),
            Figure(["P4"], "many numbers in a request", self.many_ids, 8, 24),
            Figure(["P5"], "5000 connections", self.connections, 20, 60),
            Figure(["P6"], "memory", self.memory, 1, 1),
            Figure(["P7", "P8"], "records in the state file", self.state, 51, 201),
            Figure(["P11"], "translations without a request", self.map, 40, 160),
            Figure(["P15"], "events to 100 subscribers", self.events, 20, 60),
            Figure(["P12"], "a hanging device", self.hang, 3, 10),
            Figure(["P14"], "1000 sessions after a restart", self.resume, 5, 30),
            Figure(["P13"], "binds on a real kernel, in QEMU", self.machine, 1, 1),
        ]

    def measure(self, figure):
        rounds = figure.quick if self.options.quick else figure.full
        began = time.monotonic()
        self.say(f"{' '.join(figure.ids)}: {figure.text}")
        try:
            with tempfile.TemporaryDirectory(prefix="pasidd-bench-", dir=memory_folder()) as folder, self.children:
                figure.run(pathlib.Path(folder), rounds)
        except Skip as skip:
            self.skip(f"{' '.join(figure.ids)}: {skip}")
            return True
        except Failure as failure:
            print(f"bench: {' '.join(figure.ids)} could not be measured: {failure}", file=sys.stderr)
            return False
        self.say(f"took {time.monotonic() - began:.0f} s")
        return True

    def run(self):
        only = self.options.only
        wanted = [f for f in self.figures() if not only or set(f.ids) & set(only)]
        good = all([self.measure(figure) for figure in wanted])
        missed = [line for line in self.lines if line["met"] is False]
        for line in missed:
            self.say(f"target missed: {line['id']} {line['name']}: {line['ratio']:.3g}, target {line['target']:g}")
        self.say(f"{len(self.lines)} figures, {len(missed)} beyond their target, {len(self.skipped)} skipped")
        if self.options.strict and (missed or self.skipped):
            return 1
        return 0 if good else 1


def show(figures):
    for figure in figures:
        print(f"{' '.join(figure.ids):10} {figure.text}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=".")
    for flag in ("--quick", "--strict", "--quiet", "--list", "--check"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    bench = Bench(options)
    known = [name for figure in bench.figures() for name in figure.ids]
    for name in options.only:
        if name not in known:
            print(f"bench: no figure {name}; there are {' '.join(known)}", file=sys.stderr)
            sys.exit(2)
    if options.list:
        show(bench.figures())
    elif not options.check:
        sys.exit(bench.run())


if __name__ == "__main__":
    main()
