# SPDX-License-Identifier: MIT
"""Makes the guest's root: busybox, an /init, programs, and the shared libraries that they need."""

import glob
import gzip
import os
import re
import stat
import subprocess

NATIVE, ARM64 = "x86_64-linux-gnu", "aarch64-linux-gnu"
FOLDERS = ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr/bin", "var")


class Archive:
    """A cpio archive in the form that the kernel unpacks (its initramfs-buffer-format.rst)."""

    def __init__(self):
        self._parts = []
        self._names = set()

    def add_folder(self, name):
        for parent in _parents(name):
            self._add(parent, stat.S_IFDIR | 0o755, b"")
        self._add(name, stat.S_IFDIR | 0o755, b"")

    def add_file(self, name, data, executable=False):
        self.add_folder(os.path.dirname(name))
        self._add(name, stat.S_IFREG | (0o755 if executable else 0o644), data)

    def bytes(self):
        """All of it; nothing can be added then."""
        self._add("TRAILER!!!", 0, b"")
        data = b"".join(self._parts)
        return data + b"\0" * (-len(data) % 512)

    def write(self, path):
        with gzip.open(path, "wb", compresslevel=1) as out:
            out.write(self.bytes())

    def _add(self, name, mode, data):
        if not name or name in self._names:
            return
        self._names.add(name)
        raw = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (len(self._names), mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._parts += [_padded(header + raw), _padded(data)]


def _padded(data):
    return data + b"\0" * (-len(data) % 4)


def _parents(name):
    parts = name.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def shared_libraries(program):
    """Paths of the libraries that a program needs, its loader included; none for a static one."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return []
    if "not found" in result.stdout:
        raise FileNotFoundError(f"{program} lacks a library:\n{result.stdout}")
    return re.findall(r"(/\S+) \(0x[0-9a-f]+\)", result.stdout)


def foreign_libraries(programs, sysroot):
    """The same for programs that do not run here: beside one of them, or in the other system's folders."""
    folders = {os.path.dirname(program): None for program in programs}
    folders = [*folders, *glob.glob(f"{sysroot}/usr/lib/*-linux-gnu"), f"{sysroot}/lib"]
    found, queue = {}, list(programs)
    while queue:
        text = subprocess.run(["readelf", "-ld", queue.pop()], capture_output=True, text=True, check=True).stdout
        names = re.findall(r"NEEDED.*\[(.*)\]", text)
        names += [os.path.basename(path) for path in re.findall(r"program interpreter: (.*)\]", text)]
        for name in set(names) - found.keys():
            places = [f"{folder}/{name}" for folder in folders if os.path.exists(f"{folder}/{name}")]
            if not places:
                raise FileNotFoundError(f"there is no {name} for arm64 in {' '.join(folders)}")
            found[name] = places[0]
            queue.append(places[0])
    return list(found.values())


def _library_place(path, sysroot=None):
    """Where a library goes: the loader has its fixed place, the rest is where the loader looks."""
    name = os.path.basename(path)
    if not name.startswith("ld-"):
        return f"lib/{ARM64 if sysroot else NATIVE}/{name}"
    return f"lib/{name}" if sysroot else path.lstrip("/")


def build(path, init, programs, extra=(), sysroot=None):
    """Writes the archive: `programs` go to /usr/bin, `extra` are pairs of name and bytes.

    With `sysroot`, that of arm64, for a guest of that kind.
    """
    archive = Archive()
    for folder in FOLDERS:
        archive.add_folder(folder)
    archive.add_file("init", _read(init), executable=True)
    archive.add_file("bin/busybox", _read(f"{sysroot or ''}/bin/busybox"), executable=True)
    for program in programs:
        archive.add_file(f"usr/bin/{os.path.basename(program)}", _read(program), executable=True)
        for library in [] if sysroot else shared_libraries(program):
            archive.add_file(_library_place(library), _read(library), executable=True)
    for library in foreign_libraries(programs, sysroot) if sysroot else []:
        archive.add_file(_library_place(library, sysroot), _read(library), executable=True)
    for name, data in extra:
        archive.add_file(name.lstrip("/"), data)
    archive.write(path)


def _read(path):
    with open(path, "rb") as file:
        return file.read()
