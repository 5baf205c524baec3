# SPDX-License-Identifier: MIT
"""usage: listening.py NAMES FD,FD,... PROGRAM [ARGUMENT]...

Runs a program with passed descriptors, as systemd does: they are 3 and the following, and LISTEN_PID is its own number,
which only the process itself knows before it becomes the program.
"""

import fcntl
import os
import sys

FIRST = 3


def main():
    names, numbers, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    given = [int(number) for number in numbers.split(",") if number]
    # Out of the way first: one of them may have the number that another one gets.
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST + len(given)) for fd in given]
    for fd in given:
        os.set_inheritable(fd, False)
    for at, fd in enumerate(aside):
        os.dup2(fd, FIRST + at)
    os.environ.update(LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
