# SPDX-License-Identifier: MIT
"""What `cmake --install` leaves behind: complete, in its parts, movable, and enough to build programs with."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import installation
from installation import BUILD, COMPONENTS, TOP, Daemon, Vmm, environment, files, install, pkg_config, run

FOLDER = None  # everything of this run
PREFIX = None  # one installation of all parts


def setUpModule():
    global FOLDER, PREFIX  # pylint: disable=global-statement
    FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="pasidd-"))
    unittest.addModuleCleanup(shutil.rmtree, FOLDER)
    PREFIX = FOLDER / "installed"
    install(PREFIX)


class Parts(unittest.TestCase):
    def test_all_parts_together_are_everything(self):
        self.assertEqual(files(PREFIX), set().union(*COMPONENTS.values()))

    def test_each_part_alone_is_what_it_is_said_to_be(self):
        for component, expected in COMPONENTS.items():
            with self.subTest(component):
                prefix = FOLDER / f"part-{component}"
                install(prefix, component)
                self.assertEqual(files(prefix), expected)

    def test_destdir_stages_what_will_be_at_the_prefix(self):
        stage = FOLDER / "stage"
        install("/opt/pasidd", destdir=stage)
        self.assertEqual(files(stage / "opt/pasidd"), files(PREFIX))
        self.assertEqual(files(stage), {f"opt/pasidd/{name}" for name in files(PREFIX)})
        unit = (stage / "opt/pasidd/lib/systemd/system/pasidd.service").read_text()
        self.assertIn("ExecStart=/opt/pasidd/sbin/pasidd ", unit)
        flags = pkg_config(stage / "opt/pasidd", "--cflags", "--libs")
        self.assertTrue(all(str(stage) in os.path.normpath(flag[2:]) for flag in flags if flag[:2] in ("-I", "-L")))

    def test_text_names_no_folder_of_the_source_or_the_build(self):
        for name in sorted(files(PREFIX)):
            data = (PREFIX / name).read_bytes()
            if b"\0" not in data:
                self.assertNotIn(str(TOP).encode(), data, name)
                self.assertNotIn(str(BUILD).encode(), data, name)

    def test_programs_look_for_libraries_beside_them_only(self):
        for name in ("sbin/pasidd", "bin/pasidctl", "bin/pasid-sim", "lib/libpasid.so.1"):
            paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", run("readelf", "-d", PREFIX / name))
            self.assertEqual(paths, ["$ORIGIN/../lib"] if name == "bin/pasidctl" else [], name)

    def test_unit_starts_the_daemon_of_this_installation(self):
        unit = (PREFIX / "lib/systemd/system/pasidd.service").read_text()
        program = pathlib.Path(re.search(r"^ExecStart=(\S+)", unit, re.M)[1])
        self.assertEqual(program, PREFIX / "sbin/pasidd")
        self.assertIn("pasidd 0.", run(program, "--version"))
        self.assertEqual(unit.replace(str(program), "/usr/sbin/pasidd"), (TOP / "systemd/pasidd.service").read_text())

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_unit_is_understood_by_systemd(self):
        units = sorted((PREFIX / "lib/systemd/system").glob("pasidd*"))
        said = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], text=True, capture_output=True, check=False)
        self.assertEqual([line for line in said.stderr.splitlines() if "pasidd" in line], [])

    def test_hook_of_libvirt_finds_its_script(self):
        hook = PREFIX / "etc/libvirt/hooks/qemu.d/pasidd"
        for text, status, said in (("<domain/>", 0, ""), ("<domain>urn:pasidd:domain:1</domain>", 1, "no domain with a UUID")):
            ended = subprocess.run([hook, "guest", "prepare", "begin", "-"], input=text, text=True, capture_output=True,
                                   env=environment(PREFIX), timeout=60, check=False)
            self.assertEqual((ended.returncode, ended.stdout), (status, ""))
            self.assertIn(said, ended.stderr)

    @unittest.skipUnless(shutil.which("groff"), "there is no groff")
    def test_manuals_are_set_without_a_warning(self):
        for page in sorted(PREFIX.glob("share/man/man*/*")):
            text = page.read_text()
            if text.startswith(".so "):
                self.assertIn(f"\\fB{page.stem}\\fR(", (PREFIX / "share/man" / text.split()[1]).read_text())
                continue
            said = subprocess.run(["groff", "-K", "utf8", "-man", "-t", "-Tutf8", "-ww", "-Wbreak", page], capture_output=True, check=False)
            self.assertEqual(said.stderr, b"", page.name)


class Symbols(unittest.TestCase):
    def test_library_exports_what_the_map_names_under_its_version_and_nothing_else(self):
        named = installation.map_symbols((TOP / "client/libpasid.map").read_text())
        self.assertGreater(len(named), 50)
        self.assertEqual(installation.exported_symbols(PREFIX / "lib/libpasid.so.1"), named)

    def test_headers_declare_what_the_library_exports_and_nothing_else(self):
        exported = installation.exported_symbols(PREFIX / "lib/libpasid.so.1")
        self.assertEqual(installation.declared_symbols(PREFIX / "include"), set(exported))

    def test_archive_shows_no_other_names_than_the_library(self):
        exported = installation.exported_symbols(PREFIX / "lib/libpasid.so.1")
        self.assertEqual(installation.archive_symbols(PREFIX / "lib/libpasid.a"), set(exported))

    def test_library_is_found_by_the_name_that_keeps_its_promise(self):
        self.assertIn("soname: [libpasid.so.1]", run("readelf", "-d", PREFIX / "lib/libpasid.so"))
        self.assertIn("[libpasid.so.1]", run("readelf", "-d", PREFIX / "bin/pasidctl"))

    def test_comparison_notices_a_function_that_somebody_forgot(self):
        """In the header, in the map, and static in one of two libraries made for this."""
        include = FOLDER / "forgotten"
        shutil.copytree(PREFIX / "include", include)
        header = include / "libpasid.h"
        header.write_text(header.read_text().replace("int pasid_ping(", "int pasid_pong(void);\nint pasid_ping("))
        self.assertEqual(installation.declared_symbols(include) - installation.declared_symbols(PREFIX / "include"),
                         {"pasid_pong"})
        script = "/* x; */ A { global: pasid_a; pasid_b; local: *; }; B { global: pasid_c; } A;"
        named = installation.map_symbols(script)
        self.assertEqual(named, {"pasid_a": "A", "pasid_b": "A", "pasid_c": "B"})
        source, library = FOLDER / "forgotten.c", FOLDER / "forgotten.so"
        (FOLDER / "forgotten.map").write_text(script)
        for code, expected in (("int pasid_a, pasid_b; void pasid_c(void) {}", named),
                               ("int pasid_a; static int pasid_b; void pasid_c(void) {}", {"pasid_a": "A", "pasid_c": "B"})):
            source.write_text(code + "\n")
            run("cc", "-shared", "-fPIC", "-o", library, source, f"-Wl,--version-script={FOLDER}/forgotten.map")
            self.assertEqual(installation.exported_symbols(library), expected)


class Headers(unittest.TestCase):
    def compile(self, *command):
        for name in ("libpasid.h", "libpasid_types.h"):
            run(*command, "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
                f"-I{PREFIX}/include", "-", input=f"#include <{name}>\n#include <{name}>\n",
                env=environment(PREFIX))

    def test_each_alone_is_c11(self):
        for compiler in ("gcc", "clang"):
            self.compile(compiler, "-std=c11", "-x", "c")

    def test_each_alone_is_cpp17(self):
        for compiler in ("g++", "clang++"):
            self.compile(compiler, "-std=c++17", "-x", "c++")


class Programs(unittest.TestCase):
    """Built from the installed files alone, in a folder of their own, and run against the installed daemon."""

    def setUp(self):
        self.folder = FOLDER / self.id().rsplit(".", 1)[1]
        self.folder.mkdir()
        # The path of a socket must be short.
        self.run_folder = FOLDER / f"run{len(list(FOLDER.glob('run*')))}"

    def example(self, prefix=None):
        """A copy of the example's sources."""
        folder = self.folder / "example"
        shutil.copytree((prefix or PREFIX) / "share/doc/pasidd/examples", folder)
        return folder

    def loaded(self, program, prefix):
        """The libpasid that a program gets without LD_LIBRARY_PATH."""
        found = re.search(r"libpasid\.so\.1 => (.+) \(0x", run("ldd", program, env=environment(prefix)))
        return os.path.realpath(found[1]) if found else None

    def scenario(self, program, prefix):
        """A VM takes a number, binds it, gives it back; the operator and the IOMMU see it."""
        self.assertEqual(self.loaded(program, prefix), os.path.realpath(prefix / "lib/libpasid.so.1"))
        self.play(program, prefix)

    def play(self, program, prefix):
        with Daemon(prefix, self.run_folder) as daemon:
            daemon.ctl("share", "0000:00:01.0")
            with Vmm(program, daemon) as vmm:
                vmm.do("set vm1")
                vmm.do("slice 0000:00:01.0")
                vmm.do("map dev1 0 0x200000")
                number = vmm.do("alloc guest 5")["pasids"][0]
                self.assertEqual(daemon.tables(), [])
                vmm.do("bind guest 5 dev1")
                self.assertEqual(daemon.tables(), [number])
                bound = daemon.ctl("bindings")
                self.assertEqual([(b["pasid"], b["guest"], b["state"]) for b in bound], [(number, 5, "bound")])
                self.assertEqual(daemon.ctl("who", str(number))["set"], "vm1")
                vmm.do("unbind guest 5")
                vmm.do("free guest 5")
                self.assertEqual(daemon.tables(), [])
                self.assertEqual(daemon.ctl("bindings"), [])
                self.assertEqual(daemon.ctl("pasids"), [])

    def test_example_with_the_flags_of_pkg_config(self):
        folder = self.example()
        flags = pkg_config(PREFIX, "--cflags", "--libs")
        event = run("pkg-config", "--cflags", "--libs", "libevent_core").split()
        sources = sorted(folder.glob("*.c"))
        command = ["cc", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *sources, *flags, *event]
        run(*command, f"-Wl,-rpath,{PREFIX}/lib", "-o", "vmm", cwd=folder, env=environment(PREFIX))
        used = run(*command, "-M", cwd=folder, env=environment(PREFIX))
        self.assertIn(f"{PREFIX}/include/libpasid.h", os.path.normpath(used.replace("lib/pkgconfig/../../", "")))
        self.assertNotIn(str(TOP), used)
        self.scenario(folder / "vmm", PREFIX)

    def test_example_with_its_makefile(self):
        folder = self.example()
        run("make", f"PKG_CONFIG_PATH={PREFIX}/lib/pkgconfig", cwd=folder,
            env={**environment(PREFIX), "PKG_CONFIG_PATH": ""})
        self.scenario(folder / "vmm", PREFIX)

    def test_example_with_find_package(self):
        folder = self.example()
        run("cmake", "-B", "build", "-S", ".", cwd=folder, env=environment(PREFIX))
        run("cmake", "--build", "build", cwd=folder, env=environment(PREFIX))
        self.scenario(folder / "build/vmm", PREFIX)

    def test_example_with_an_installation_that_was_moved(self):
        moved = self.folder / "another place"
        shutil.copytree(PREFIX, moved, symlinks=True)
        folder = self.example(moved)
        run("cmake", "-B", "build", "-S", ".", cwd=folder, env=environment(moved))
        run("cmake", "--build", "build", cwd=folder, env=environment(moved))
        self.assertEqual(self.loaded(moved / "bin/pasidctl", moved), os.path.realpath(moved / "lib/libpasid.so.1"))
        self.scenario(folder / "build/vmm", moved)

    def test_example_with_the_archive_and_no_shared_library_at_all(self):
        folder = self.example()
        flags = pkg_config(PREFIX, "--static", "--cflags", "--libs")
        event = run("pkg-config", "--static", "--cflags", "--libs", "libevent_core").split()
        run("cc", "-static", "-D_GNU_SOURCE", *sorted(folder.glob("*.c")), *flags, *event, "-o", "vmm", cwd=folder,
            env=environment(PREFIX))
        self.assertNotIn("NEEDED", run("readelf", "-d", folder / "vmm"))
        self.play(folder / "vmm", PREFIX)

    def test_cpp_program_uses_the_library(self):
        program = self.folder / "ping"
        (self.folder / "ping.cpp").write_text(
            "#include <libpasid.h>\n#include <cstdio>\n"
            "int main(int, char **words)\n{\n"
            "\tpasid_options options{};\n\tpasid_client *client;\n\tpasid_error error;\n"
            "\toptions.path = words[1];\n"
            "\tif (pasid_open(&options, &client, &error) != 0)\n\t\treturn 1;\n"
            "\tint r = pasid_ping(client);\n\tstd::puts(pasid_status_text(r));\n"
            "\tpasid_close(client);\n\treturn r;\n}\n")
        run("c++", "-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "ping.cpp", "-o", program,
            *pkg_config(PREFIX, "--cflags", "--libs"), f"-Wl,-rpath,{PREFIX}/lib", cwd=self.folder,
            env=environment(PREFIX))
        with Daemon(PREFIX, self.run_folder) as daemon:
            self.assertEqual(run(program, daemon.socket, env=environment(PREFIX)), "ok\n")

    def test_pkg_config_asks_for_nothing_but_libpasid(self):
        """Programs with the shared library need no headers of what the library itself uses."""
        alone = {"PKG_CONFIG_LIBDIR": str(PREFIX / "lib/pkgconfig")}
        self.assertEqual(pkg_config(PREFIX, "--libs", **alone)[1:], ["-lpasid"])
        version = re.search(r"VERSION (\S+)", (TOP / "CMakeLists.txt").read_text()[60:])[1]
        self.assertEqual(pkg_config(PREFIX, "--modversion", **alone), [version])
        self.assertIn("-lprotobuf-c", pkg_config(PREFIX, "--static", "--libs", **alone))

    def test_cmake_package_says_no_to_a_version_that_it_is_not(self):
        (self.folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(x LANGUAGES C)\n"
            "find_package(pasid 0.1 REQUIRED)\nfind_package(pasid 7 QUIET)\n"
            'message(STATUS "seven: ${pasid_FOUND}")\n')
        said = run("cmake", "-B", "build", "-S", ".", cwd=self.folder, env=environment(PREFIX))
        self.assertRegex(said, r"seven: (0|FALSE)")

    def test_files_find_themselves_wherever_libraries_go(self):
        for libdir, expected in (("lib/a-b", "${pcfiledir}/../../.."), ("/somewhere/lib", "/usr")):
            build = self.folder / libdir.strip("/").replace("/", "-")
            run("cmake", "-S", TOP, "-B", build, "-G", "Ninja", "-DBUILD_TESTING=OFF",
                "-DCMAKE_INSTALL_PREFIX=/usr", f"-DCMAKE_INSTALL_LIBDIR={libdir}")
            said = (build / "libpasid.pc").read_text()
            self.assertIn(f"prefix={expected}\n", said)
            self.assertIn(f"libdir={libdir}\n" if libdir[0] == "/" else f"libdir=${{prefix}}/{libdir}\n", said)


if __name__ == "__main__":
    unittest.main()
