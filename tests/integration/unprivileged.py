# SPDX-License-Identifier: MIT
"""usage: unprivileged.py USER PROGRAM [ARGUMENT]...

Runs a program as a service without privileges: another user without groups, an empty bounding set of capabilities, no
new privileges, and a seccomp filter that kills it at the first call that a broker of PASIDs has no business with.
"""

import ctypes
import os
import pwd
import struct
import sys

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 23, 24, 22, 38
SECCOMP_MODE_FILTER = 2
KILL, ALLOW = 0x80000000, 0x7FFF0000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of 32-bit words: BPF_LD | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_RET

# Numbers of system calls: (x86-64, AArch64); include/uapi/asm-generic/unistd.h and arch/x86/entry/syscalls.
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
FORBIDDEN = {
    "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "open_by_handle_at": (304, 265), "acct": (163, 89), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "setuid": (105, 146), "setgid": (106, 144), "setresuid": (117, 147),
    "setresgid": (119, 149), "setgroups": (116, 159), "mknodat": (259, 33), "personality": (135, 92),
}

UNSHARE, CLONE_FILES, FIRST_ARGUMENT = (272, 97), 0x400, 16  # the offset of its lower half in struct seccomp_data

libc = ctypes.CDLL(None, use_errno=True)


def prctl(*arguments):
    result = libc.prctl(*(ctypes.c_ulong(argument) for argument in arguments), *[ctypes.c_ulong(0)] * 2)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"prctl{arguments}: {os.strerror(ctypes.get_errno())}")
    return result


def drop_capabilities():
    """None can be had again, by whatever program."""
    capability = 0
    while libc.prctl(PR_CAPBSET_READ, ctypes.c_ulong(capability), 0, 0, 0) >= 0:
        prctl(PR_CAPBSET_DROP, capability, 0)
        capability += 1


def become(name):
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def forbid(names):
    """Whoever makes one of these calls is killed; inherited by all children."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        return
    column, architecture = ARCHITECTURES[machine]
    numbers = [FORBIDDEN[name][column] for name in names]
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    # A table of descriptors of its own is no namespace: as with RestrictNamespaces= of systemd, what counts is the flag.
    code += [(EQUAL, 0, 4, UNSHARE[column]), (LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 1, 0, CLONE_FILES), (RETURN, 0, 0, KILL),
             (RETURN, 0, 0, ALLOW)]
    for at, number in enumerate(numbers):
        code.append((EQUAL, len(numbers) - at, 0, number))
    code += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, KILL)]
    data = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(data)))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def main():
    user, program = sys.argv[1], sys.argv[2]
    drop_capabilities()
    become(user)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0)
    with open(program, "rb") as file:
        sanitized = b"__asan_init" in file.read()
    # The search for leaks stops the threads of a program with ptrace.
    forbid([name for name in FORBIDDEN if not (sanitized and name == "ptrace")])
    os.execv(program, sys.argv[2:])


if __name__ == "__main__":
    main()
