#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the proofs of tests/proof/proofs.py with CBMC and the model beside them with SPIN; see scripts/prove."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
PROOFS = TOP / "tests/proof"
sys.path.insert(0, str(PROOFS))
import proofs

WORK = pathlib.Path(os.environ.get("PASIDD_BUILD_ROOT", TOP / "build")).resolve() / "prove"
MEMORY = 8 << 30  # bytes; more is a failure, not a machine that swaps
SECONDS = 900  # of processor time, so that a busy machine makes no proof fail; of the clock six times as many

CHECKS = ("--bounds-check", "--pointer-check", "--signed-overflow-check", "--pointer-overflow-check",
          "--div-by-zero-check", "--undefined-shift-check", "--unwinding-assertions", "--slice-formula")
FAILED = re.compile(r"^\[(\S+)\] (.*): FAILURE$", re.M)
CHECKED = re.compile(r"^\*\* \d+ of (\d+) failed", re.M)
STATES = re.compile(r"^\s*(\d+) states, stored", re.M)


class Broken(Exception):
    """The proof did not come to a result."""


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def call(command, folder, log):
    """Its exit status; what it says is in the log."""
    with open(log, "a") as out:
        try:
            status = subprocess.run(["nice", "-n", "10", *map(str, command)], cwd=folder, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=subprocess.STDOUT, timeout=6 * SECONDS, preexec_fn=limit,
                                    check=False).returncode
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise Broken(f"no result in {SECONDS} s of processor time; {log}")
    return status


def edit(folder, edits):
    """Replaces texts of files, each of which must be there once."""
    for name, old, new in edits:
        text = (folder / name).read_text()
        if text.count(old) != 1:
            raise Broken(f"{name} has {text.count(old)} times what is to be replaced: {old}")
        (folder / name).write_text(text.replace(old, new))


def start(name):
    """An empty folder and the log in it."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder, folder / "log"


def cbmc(root, proof, defect):
    """What CBMC says of a proof: how many properties hold, and those that do not."""
    folder, log = start(proof.name + (f"-{defect.name}" if defect else ""))
    tree = folder / "src"
    shutil.copytree(TOP / "src", tree)
    edit(tree, proof.bounds)
    edit(tree, defect.edits if defect else ())
    loops = ",".join(f"{loop}:{n}" for loop, n in proof.loops.items())
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib"
    status = call([f"{root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{root}/usr/bin/cbmc",
                   "-I", tree, "-I", PROOFS, "-D_GNU_SOURCE", *(defect.defines if defect else ()), *proof.defines,
                   "--function", proof.function, "--unwind", proof.unwind, *(["--unwindset", loops] if loops else []),
                   *CHECKS, *proof.options, PROOFS / proof.harness, *(tree / name for name in proof.sources),
                   *(PROOFS / name for name in proof.stubs)], folder, log)
    text = log.read_text(errors="replace")
    checked = CHECKED.search(text)
    if status not in (0, 10) or not checked or ("VERIFICATION SUCCESSFUL" in text) != (status == 0):
        last = text.strip().rpartition("\n")[2]
        raise Broken(f"CBMC came to no result (status {status}): {last}; {log}")
    return int(checked[1]), FAILED.findall(text)


def spin(_root, model, defect):
    """What SPIN says of a model: how many states there are, and what fails in one of them."""
    folder, log = start(model.name + (f"-{defect.name}" if defect else ""))
    defines = [*model.defines, *(defect.defines if defect else ())]
    for command in (["spin", "-a", *defines, PROOFS / model.harness],
                    ["gcc", "-O2", "-w", *model.options, "-o", "pan", "pan.c"],
                    ["./pan", *model.search]):
        if call(command, folder, log):
            raise Broken(f"{command[0]} failed; {log}")
    text = log.read_text(errors="replace")
    states = STATES.search(text)
    # The search that was cut short proves nothing.
    if not states or "max search depth too small" in text or "out of memory" in text:
        raise Broken(f"the search is not complete; {log}")
    wrong = re.search(r"^pan:\d+: (.*?)(?: \(at depth.*)?$", text, re.M)
    if not wrong and "errors: 0" not in text:
        raise Broken(f"SPIN came to no result; {log}")
    # What never happens is not proven: a line of the model that is out of reach is an error in it.
    dead = [line for line in re.findall(r"^\t\S+\.pml:(\d+), state \d+, (?!\"-end-\")", text, re.M) if not wrong]
    if dead and "-a" not in model.search:
        raise Broken(f"lines that are never reached: {' '.join(dead[:10])}; {log}")
    return int(states[1]), [("assertion", wrong[1])] if wrong else []


def judge(root, proof, defect):
    """(it is as it should be, what to say)."""
    run = spin if isinstance(proof, proofs.Model) else cbmc
    try:
        checked, failed = run(root, proof, defect)
    except (Broken, OSError) as error:
        return False, str(error)
    things = "states" if run is spin else "properties"
    if not defect:
        if failed:
            return False, "; ".join(f"{what} [{name}]" for name, what in failed[:5])
        return checked > 0, f"{checked} {things}; {proof.what}"
    # A loop that goes on for longer is no finding.
    found = [what for name, what in failed if ".unwind." not in name and "no-body" not in name]
    if not found:
        return False, f"NOT FOUND: {defect.what}"
    return True, f"{defect.what}: found by \"{re.sub(r'^line [0-9]+ ', '', found[0])}\""


def timed(root, proof, defect):
    started = time.monotonic()
    good, text = judge(root, proof, defect)
    return good, text, time.monotonic() - started


def run_all(root, jobs, work):
    """Prints a line for each, in order; how many were good and how many not."""
    counts = [0, 0]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(timed, root, proof, defect) for proof, defect in work]
        for (proof, defect), future in zip(work, futures):
            good, text, seconds = future.result()
            name = f"{proof.name} with {defect.name}" if defect else proof.name
            print(f"{'ok' if good else 'FAILED':6} {seconds:7.1f} s  {name}: {text}", flush=True)
            counts[0 if good else 1] += 1
    return counts


def chosen(options):
    known = [p for p in proofs.ALL if p.quick or not options.quick]
    for only in options.only:
        if not any(p.name.startswith(only) for p in known):
            sys.exit(f"scripts/prove: no proof {only}; there are: {' '.join(p.name for p in known)}")
    return [p for p in known if not options.only or any(p.name.startswith(only) for only in options.only)]


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cbmc-root", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    return parser.parse_args()


def main():
    options = parse()
    todo = chosen(options)
    if options.list:
        for proof in todo:
            print(f"{proof.name}{' (quick)' if proof.quick else ''}: {proof.what}; defects: "
                  f"{', '.join(d.name for d in proof.defects)}")
        return
    bare = [p.name for p in todo if not p.defects]
    if bare:
        sys.exit(f"scripts/prove: no defect is planted for {' '.join(bare)}")
    work = [(p, None) for p in todo] + [(p, d) for p in todo for d in p.defects]
    passed, failed = run_all(options.cbmc_root, options.jobs, work)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
