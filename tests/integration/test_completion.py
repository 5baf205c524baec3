# SPDX-License-Identifier: MIT
"""Completion for bash and zsh: all that pasidctl --help has, and what the daemon knows. Nothing is installed for it."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from pasid_client import BUILD, TIMEOUT, Daemon

PASIDCTL = BUILD / "pasidctl"
TOP = pathlib.Path(__file__).resolve().parents[2]
FUNCTIONS = pathlib.Path("/sys/bus/pci/devices")
SHARED = "0000:00:03.0"
CONFIG = {
    "simulate": {"devices": [{"address": SHARED}]},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
}

BASH = r"""
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
source "$1"
COMP_LINE=$2 COMP_POINT=${#2}
_pasidctl
printf '%s\n' "${COMPREPLY[@]}"
"""

# What zsh's own functions are told; it is they who leave out what does not begin as the word does.
ZSH = r"""
compadd() {
  if [[ $1 == -a ]]; then print -rl -- ${(P)2}; else [[ $1 == -- ]] && shift; print -rl -- $@; fi
}
_describe() { for item in ${(P)4}; do print -r -- ${item%%:*}; done }
_files() { print -r -- "(files)" }
_users() { print -r -- root }
_normal() { print -r -- "(command $words, $CURRENT)" }
compset() { PREFIX=${PREFIX#*=} }
words=(${(z)2})
[[ $2 == *' ' ]] && words+=('')
CURRENT=${#words} PREFIX=$words[-1]
source "$1"
"""


def said(*words):
    return subprocess.run([PASIDCTL, *words], text=True, capture_output=True, timeout=TIMEOUT, check=True).stdout


class Shell:
    """The tests, with a shell each."""

    shell, driver, file = (), "", ""

    def complete(self, rest, folder=None, program=PASIDCTL):
        """What is offered for "pasidctl REST"."""
        command = [*self.shell, self.driver, self.shell[0], str(TOP / "completions" / self.file), f"{program} {rest}"]
        ended = subprocess.run(command, text=True, capture_output=True, timeout=TIMEOUT, cwd=folder, check=False,
                               env={**os.environ, "PASIDD_SOCKET": "/nonexistent/socket"})
        self.assertEqual(ended.stderr, "", rest)
        return set(ended.stdout.split("\n")) - {""}

    def test_every_command_of_the_help_is_offered(self):
        commands = re.findall(r"(?m)^  ([a-z-]+(?: [a-z-]+)?)  +\S", said("--help").split("\n  --socket")[0])
        self.assertGreater(len(commands), 30)
        self.assertEqual(self.complete(""), {command.split()[0] for command in commands})
        for command in commands:
            first, _, second = command.partition(" ")
            if second:
                self.assertIn(second, self.complete(f"{first} "))

    def test_every_option_of_the_help_is_offered(self):
        general = set(re.findall(r"(?m)^  (--[a-z-]+)", said("--help")))
        self.assertIn("--socket", general)
        self.assertEqual(self.complete("--"), general)
        for command in re.findall(r"(?m)^  ([a-z-]+(?: [a-z-]+)?)  +\S", said("--help").split("\n  --socket")[0]):
            usage = said(*command.split(), "--help").split("\n")[0]
            wanted = set(re.findall(r"--[a-z-]+", usage)) | general
            self.assertEqual(self.complete(f"{command} --") - {"--"}, wanted, command)

    def test_words_of_options_are_offered(self):
        self.assertEqual(self.complete("set create x --mode "), {"translated", "identity", "guest-owned"})
        self.assertEqual(self.complete("set create x --mode=") & {"identity", "--mode=identity"}, {"identity"})
        self.assertIn("root", self.complete("set create x --owner "))
        self.assertEqual(self.complete("--colour "), {"auto", "always", "never"})
        self.assertEqual(self.complete("metrics --format "), {"text", "openmetrics"})
        self.assertEqual(self.complete("set create x --quota "), set())
        self.assertEqual(self.complete("map --range "), set())
        for nonsense in ("--[ ", "--a/e;b ", "--*/= ", "set/e; ", "[ * "):
            self.complete(nonsense)

    def test_without_a_daemon_nothing_is_offered_and_soon(self):
        started = time.monotonic()
        self.assertEqual(self.complete("pasids --set "), set())
        self.assertLess(time.monotonic() - started, 10)

    def with_names(self):
        """A daemon that has some, and how its socket is said."""
        daemon = Daemon(CONFIG)
        self.addCleanup(daemon.cleanup)
        ctl = [PASIDCTL, "--socket", daemon.socket]
        for name in ("vm1", "vm2", "another"):
            subprocess.run([*ctl, "set", "create", name], check=True, capture_output=True, timeout=TIMEOUT)
        return daemon, f"--socket {daemon.socket}"

    def test_names_are_those_that_the_daemon_has(self):
        daemon, there = self.with_names()
        for line in (f"{there} pasids --set ", f"{there} set destroy ", f"--socket={daemon.socket} translate ",
                     f"{there} alloc --count 4 --set "):  # fmt: skip
            self.assertEqual(self.complete(line), {"vm1", "vm2", "another"}, line)
        self.assertEqual(self.complete(f"{there} set create "), set())
        self.assertIn(SHARED, self.complete(f"{there} drained "))
        self.assertEqual(self.complete(f"{there} metrics --listen "), set())

    def test_functions_that_the_daemon_does_not_have_yet_are_those_of_the_host(self):
        _, there = self.with_names()
        functions = {function.name for function in FUNCTIONS.iterdir()} if FUNCTIONS.is_dir() else set()
        for line in ("run --device ", "share "):
            self.assertEqual(self.complete(f"{there} {line}"), functions | {SHARED}, line)
        self.assertEqual(self.complete(f"{there} run --share "), {SHARED})

    def test_names_are_never_run(self):
        """No daemon of ours has such names, and whoever listens at the socket may say anything."""
        with tempfile.TemporaryDirectory() as folder:
            program, trace = pathlib.Path(folder, "pasidctl"), pathlib.Path(folder, "trace")
            program.write_text(f"""#!/bin/sh
case "$*" in
  *--json*) echo '[{{"name": "$(touch {trace})"}}, {{"name": "`touch {trace}`;touch {trace}"}}]' ;;
  *) exec {PASIDCTL} "$@" ;;
esac
""")
            program.chmod(0o755)
            self.assertEqual(len(self.complete("pasids --set ", program=program)), 2)
            self.assertFalse(trace.exists())


class Bash(Shell, unittest.TestCase):
    shell, driver, file = ("bash", "--norc", "-c"), BASH, "pasidctl.bash"

    def test_beginnings_are_completed(self):
        _, there = self.with_names()
        self.assertEqual(self.complete(f"{there} set destroy vm"), {"vm1", "vm2"})
        self.assertEqual(self.complete(f"{there} pasids --set=vm"), {"vm1", "vm2"})
        # bash keeps what stands before the last colon
        self.assertEqual(self.complete(f"{there} drained 0000:00:0"), {"03.0"})

    def test_another_command_line_is_completed_as_one(self):
        self.assertIn("bash", self.complete("hold --set vm1 1024 -- ba"))
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "records").touch()
            self.assertEqual(self.complete("hold --set vm1 1024 -- cat rec", folder), {"records"})
            self.assertIn("records", self.complete("fsck rec", folder))


@unittest.skipUnless(shutil.which("zsh"), "there is no zsh")
class Zsh(Shell, unittest.TestCase):
    shell, driver, file = ("zsh", "-f", "-c"), ZSH, "_pasidctl"

    def test_another_command_line_is_completed_as_one(self):
        self.assertEqual(self.complete("hold --set vm1 1024 -- cat rec"), {"(command cat rec, 2)"})
        self.assertIn("(files)", self.complete("fsck rec"))


if __name__ == "__main__":
    unittest.main()
