# SPDX-License-Identifier: MIT
"""Installs a build into a folder, and uses what is there with nothing else of the project in reach."""

import json
import os
import pathlib
import re
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PASIDD_BUILD", TOP / "build" / "release-gcc")).resolve()
DOCUMENTS = ("LICENSE", "CONFIGURATION.md", "PROTOCOL.md", "OPERATING.md", "INTEGRATING.md", "THREAT-MODEL.md")
TIMEOUT = float(os.environ.get("PASIDD_TEST_TIMEOUT", "60"))

def map_symbols(text):
    """{symbol: version} of a linker's version script."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = {}
    for node in re.finditer(r"(\w+)\s*\{(.*?)\}\s*\w*\s*;", text, re.S):
        shown = re.search(r"global:(.*?)(local:|$)", node[2], re.S)
        found.update((name, node[1]) for name in re.findall(r"(\w+);", shown[1] if shown else ""))
    return found


def pages():
    """The manual pages, and those of one function each that lead to one of them."""
    exported = map_symbols((TOP / "client/libpasid.map").read_text())
    made = {page.stem for page in TOP.glob("man/*.scd")} | {"pasidd.json.5", "pasid-protocol.7"}
    return made | {f"{name}.3" for name in exported} | {"pasid_map_find.3"}


COMPONENTS = {
    "runtime": {"lib/libpasid.so.1", "lib/libpasid.so.1.0.0"},
    "devel": {
        "include/libpasid.h",
        "include/libpasid_map.h",
        "include/libpasid_move.h",
        "include/libpasid_number.h",
        "include/libpasid_stream.h",
        "include/libpasid_types.h",
        "lib/libpasid.so",
        "lib/libpasid.a",
        "lib/pkgconfig/libpasid.pc",
        "lib/cmake/pasid/pasidConfig.cmake",
        "lib/cmake/pasid/pasidConfigVersion.cmake",
        "lib/cmake/pasid/pasidTargets.cmake",
        "lib/cmake/pasid/pasidTargets-release.cmake",
        "share/pasidd/pasid.proto",
    },
    "daemon": {
        "sbin/pasidd",
        "lib/systemd/system/pasidd.service",
        "lib/systemd/system/pasidd.socket",
        "lib/systemd/system/pasidd-admin.socket",
        "lib/systemd/catalog/pasidd.catalog",
        "lib/sysusers.d/pasidd.conf",
        "lib/tmpfiles.d/pasidd.conf",
        "lib/udev/rules.d/60-pasidd.rules",
    },
    "tools": {
        "bin/pasidctl",
        "bin/pasid-sim",
        "lib/systemd/system/pasidd-metrics.service",
        "share/bash-completion/completions/pasidctl",
        "share/zsh/site-functions/_pasidctl",
        "lib/systemd/system/pasidd-metrics.socket",
        "share/pasidd/alerts.yml",
    },
    "libvirt": {"etc/libvirt/hooks/qemu.d/pasidd", "share/pasidd/libvirt/qemu.py"},
    "manuals": {f"share/man/man{page[-1]}/{page}" for page in pages()}
    | {f"share/doc/pasidd/{name}" for name in DOCUMENTS},
    "examples": {
        f"share/doc/pasidd/examples/{file.name}"
        for file in (TOP / "examples").iterdir()
        if file.suffix in (".c", ".h") or file.name in ("CMakeLists.txt", "Makefile")
    },
}


def run(*command, **options):
    """What a command says, which must succeed."""
    done = subprocess.run(
        [str(word) for word in command], text=True, capture_output=True, timeout=TIMEOUT, check=False, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def install(prefix, component=None, destdir=None):
    environment = dict(os.environ)
    environment.pop("DESTDIR", None)
    if destdir is not None:
        environment["DESTDIR"] = str(destdir)
    part = ["--component", component] if component else []
    run("cmake", "--install", BUILD, "--prefix", prefix, *part, env=environment)


def files(folder):
    """The files and links below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def environment(prefix, **more):
    """That of a user who has the installation, and nothing of ours besides."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
        "CMAKE_PREFIX_PATH": str(prefix),
        **more,
    }


def pkg_config(prefix, *words, **more):
    return run("pkg-config", *words, "libpasid", env=environment(prefix, **more)).split()


# ------------------------------------------------------------ symbols


def exported_symbols(library):
    """{symbol: version} of a shared library."""
    found = {}
    for line in run("nm", "-D", "--defined-only", "--with-symbol-versions", library).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the version itself
            name, _, version = name.partition("@@")
            found[name] = version
    return found


def archive_symbols(archive):
    """The global names that an archive defines."""
    lines = (line.split() for line in run("nm", "--extern-only", "--defined-only", archive).splitlines())
    return {words[2] for words in lines if len(words) == 3}


def declared_symbols(include):
    """The functions that the headers in a folder declare and leave to the library, as the compiler sees them."""
    report = include / ".prototypes"
    try:
        run("gcc", "-std=gnu17", "-fsyntax-only", "-x", "c", "-aux-info", report, include / "libpasid.h")
        lines = [line for line in report.read_text().splitlines() if str(include) in line]
    finally:
        report.unlink(missing_ok=True)
    texts = [re.sub(r"/\*.*?\*/", "", line).strip() for line in lines]
    return {re.search(r"(\w+) \(", text)[1] for text in texts if not text.startswith("static ")}


# ------------------------------------------------------------ programs


class Daemon:
    """The installed daemon on a simulated IOMMU, and the installed tools."""

    def __init__(self, prefix, folder):
        self.prefix, self.folder = prefix, folder
        self.simulation, self.socket = folder / "iommu", folder / "socket"
        folder.mkdir()
        with open(folder / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [prefix / "sbin/pasidd", f"--simulate={self.simulation}", "--runtime-dir", folder, "--socket",
                 self.socket],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment(prefix))
        end = time.monotonic() + TIMEOUT
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((folder / "log").read_text())
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(TIMEOUT) == 0, (self.folder / "log").read_text()

    def ctl(self, *words):
        words = (self.prefix / "bin/pasidctl", "--socket", self.socket, "--json", *words)
        return json.loads(run(*words, env=environment(self.prefix)))

    def tables(self):
        """The PASIDs in the tables of the simulated IOMMU."""
        said = run(self.prefix / "bin/pasid-sim", self.simulation, "tables", "--json", env=environment(self.prefix))
        return [entry["pasid"] for entry in json.loads(said) if entry["pasid"] != 0]


class Vmm:
    """The example, told what to do line by line."""

    def __init__(self, program, daemon):
        self.process = subprocess.Popen(
            [program, "--socket", daemon.socket], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(daemon.prefix))
        self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()

    def answer(self):
        answer = json.loads(self.process.stdout.readline())
        assert answer["ok"], answer
        return answer

    def do(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()
