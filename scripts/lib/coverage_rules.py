# SPDX-License-Identifier: MIT
"""What scripts/coverage asks for, and what it lets pass."""

# Rows 0 to 3 of docs/ARCHITECTURE.md, and what stands on them and does no I/O of its own. All lines and all branches of
# these, assertions aside, have to be reached by the unit tests and the histories of tests/sim.
CORE = (
    "src/error.c", "src/space.c", "src/set.c", "src/limit.c", "src/translate.c", "src/policy.c", "src/metrics.c",
    "src/state*.c", "src/broker*.c", "src/session*.c", "src/dispatch*.c",
)

# Files of the core that are not there yet: (percent of the lines, percent of the branches) that they must not fall below.
HELD = {
    "src/broker_grant.c": (99.7, 99.4),
    "src/broker_set.c": (98.9, 99.4),
    "src/limit.c": (99.4, 98.8),
    "src/session.c": (96.6, 88.4),
    "src/session_memory.c": (100.0, 95.7),
    "src/session_record.c": (98.9, 94.0),
    "src/session_recover.c": (96.4, 89.0),
    "src/state.c": (92.3, 73.4),
    "src/state_layout.c": (98.0, 96.1),
    "src/state_open.c": (82.1, 65.3),
    "src/state_pages.c": (100.0, 64.2),
}

# The rest is held as a whole, by unit and integration tests together.
WHOLE_FOLDERS = ("src", "client", "tools", "examples")
WHOLE_LINES = 95.0

# (file, why): of these nothing can be reached; an error when something is.
LEFT_OUT = (
    ("examples/vmm_own.c", "opens an iommufd of its own, which takes a kernel with an IOMMU: scripts/vm-test"),
    ("examples/vmm_lend.h", "lends a VFIO device, which takes a kernel with an IOMMU: scripts/vm-test"),
    ("examples/vmm_kernel.h", "the ioctls of both"),
)

# (file, function, text, why): the statement of that function that begins with this text, to its end, may have lines and
# branches that nothing reaches. One that is not there any more, or that is reached, is an error: take it out.
EXCUSED = (
)
