# SPDX-License-Identifier: MIT
"""Runs a guest with PASID-capable functions in QEMU, and talks to it.

Everything that is started here is a child of this process, ends with it, and is ended by its id.
"""

import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
LIBRARIES = "usr/lib/x86_64-linux-gnu"
MEMORY_MIB = 1024  # below 2 GiB, guest-physical addresses are offsets in one piece of memory
VTD_REGISTERS = 0xFED90000  # where q35 has its IOMMU
ROOT_TABLE_REGISTER = VTD_REGISTERS + 0x20
PR_SET_PDEATHSIG = 1

KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "intel_iommu=on,sm_on",
    "panic=-1",  # at once, which ends QEMU
    # A busy host runs the guest in fits and starts, which looks like broken clocks to it.
    "no_timer_check",
    "tsc=reliable",
)
# 512 old terminals would be as many units for systemd, which looks at each of them with every reload.
DISK_ARGUMENTS = ("root=/dev/vda", "rw", "systemd.show_status=no", "pty.legacy_count=0")
BOOT_SECONDS = 90
PATIENCE = float(os.environ.get("PASIDD_VM_PATIENCE", "1"))
USUAL_WARNING = "Could not enable error recovery"  # the endpoints have no interrupt for it


class MachineError(Exception):
    """The machine did not do what the test needs it for."""


class Endpoint:
    """One PCI function: where it sits, and the bits of its PASIDs (0: no PASID capability)."""

    def __init__(self, slot, function=0, width=20, multifunction=False):
        self.slot, self.function, self.width = slot, function, width
        self.multifunction = multifunction

    @property
    def name(self):
        return f"0000:00:{self.slot:02x}.{self.function}"

    @property
    def rid(self):
        return self.slot << 3 | self.function


class OwnEndpoint(Endpoint):
    """A function that is a device of QEMU itself; none of them has PASIDs."""

    def __init__(self, slot, driver):
        super().__init__(slot, width=0)
        self.driver = driver


class Channel:
    """Our end of a virtio port of the guest: lines and counted bytes, each wait bounded."""

    def __init__(self, name):
        self.name = name
        self.stream, self.guest_end = socket.socketpair()
        self._pending = b""

    def send_line(self, text):
        if "\n" in text:
            raise ValueError("one line at a time")
        self.stream.sendall(text.encode() + b"\n")

    def read_line(self, timeout):
        return self._take(lambda data: data.find(b"\n") + 1, timeout).decode().rstrip("\n")

    def read_bytes(self, count, timeout):
        if count == 0:
            return b""
        return self._take(lambda data: count if len(data) >= count else 0, timeout)

    def ask(self, line, timeout=10):
        """Sends a line and returns the line that answers it."""
        self.send_line(line)
        return self.read_line(timeout)

    def drop_input(self):
        """Forgets what a program that has ended left unread."""
        self._pending = b""
        while select.select([self.stream], [], [], 0)[0] and self.stream.recv(65536):
            pass

    def _take(self, measure, timeout):
        end = time.monotonic() + timeout * PATIENCE
        while not (count := measure(self._pending)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.stream], [], [], left)[0]:
                raise MachineError(f"no answer from the guest on {self.name} within {timeout} s")
            data = self.stream.recv(65536)
            if not data:
                raise MachineError(f"the guest is gone; nothing more comes on {self.name}")
            self._pending += data
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


class Monitor:
    """QEMU's own control channel (QMP)."""

    def __init__(self):
        self.stream, self.guest_end = socket.socketpair()
        self.stream.settimeout(20 * PATIENCE)
        self._lines = self.stream.makefile("rb")

    def greet(self):
        json.loads(self._lines.readline())
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        self.stream.sendall(json.dumps(request).encode() + b"\n")
        while line := self._lines.readline():
            reply = json.loads(line)
            if "error" in reply:
                raise MachineError(f"{command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]
        raise MachineError(f"QEMU ended during {command}")

    def physical_word(self, address):
        """A 64-bit word at a physical address, device registers included."""
        text = self.execute("human-monitor-command", **{"command-line": f"xp /2wx {address:#x}"})
        low, high = (int(word, 16) for word in text.partition(":")[2].split())
        return high << 32 | low

    def physical_half(self, address):
        """The same for 32 bits: a register is read in its own width."""
        text = self.execute("human-monitor-command", **{"command-line": f"xp /1wx {address:#x}"})
        return int(text.partition(":")[2], 16)


class Machine:
    """A machine with VT-d, PASID-capable functions, a shell port and further named ports.

    The kernel uses first-stage page tables where the IOMMU has them, second-stage ones otherwise.
    """

    program = "qemu-system-x86_64"
    firmware = ("usr/share/qemu", "usr/share/seabios")
    kernel_arguments = KERNEL_ARGUMENTS

    def __init__(self, qemu_root, kernel, root, endpoints, ports=(), first_stage=True):
        self.qemu_root = pathlib.Path(qemu_root)
        self.kernel, self.root, self.endpoints = kernel, root, endpoints
        self.first_stage = first_stage
        self.channels = {name: Channel(name) for name in ("shell", *ports)}
        self.monitor = Monitor()
        self._folder = tempfile.TemporaryDirectory(prefix="pasidd-vm-")
        self.folder = pathlib.Path(self._folder.name)
        self.console_path = self.folder / "console"
        self.complaints_path = self.folder / "qemu"
        self._children = []
        self.qemu = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        for endpoint in self.endpoints:
            if not isinstance(endpoint, OwnEndpoint):
                self._start_endpoint(endpoint)
        self.qemu = self._start_qemu()
        self.monitor.greet()
        if self.channels["shell"].read_line(BOOT_SECONDS) != "guest ready":
            raise MachineError("the guest's first word was not the expected one")

    def close(self):
        """Ends what is still running. The guest may be in any state."""
        for child in reversed(self._children):
            if child.poll() is None:
                child.kill()
            child.wait()
        self._folder.cleanup()

    def run(self, command, timeout=20):
        """Runs a shell command in the guest: exit status and what it printed."""
        shell = self.channels["shell"]
        status, length = shell.ask(command, timeout).split()
        return int(status), shell.read_bytes(int(length), timeout).decode()

    def output(self, command, timeout=20):
        """What a command that must succeed printed."""
        status, text = self.run(command, timeout)
        if status != 0:
            raise MachineError(f"in the guest, {command!r} gave {status}: {text.strip()}")
        return text

    def spawn(self, command, port):
        """Starts a program in the guest with a port as its input and output; its process id."""
        self.channels[port].drop_input()
        log = f"/run/{port}.log"
        line = f"exec setsid {command} 0<>/dev/virtio-ports/{port} 1>&0 2>>{log}"
        return int(self.output(f"({line}) & echo $!"))

    def kill(self, process, timeout=20):
        """Kills a process in the guest; waits until the kernel let go of all that it held."""
        alive = f"grep -qs '^State:.[^Z]' /proc/{process}/status"
        self.output(f"kill -9 {process}; while {alive}; do sleep 0.01; done", timeout)

    def power_off(self, timeout=20):
        """Has the guest switch itself off; QEMU's exit status."""
        self.channels["shell"].send_line("poweroff -f")
        try:
            return self.qemu.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise MachineError(f"the guest did not switch off within {timeout} s") from None

    def open_memory(self):
        """A descriptor of the memory that QEMU shares; QEMU's own has a name to find it by."""
        folder = pathlib.Path(f"/proc/{self.qemu.pid}/fd")
        for link in folder.iterdir():
            if os.readlink(link).startswith("/memfd:memory-backend-memfd"):
                return os.open(link, os.O_RDONLY | os.O_CLOEXEC)
        raise MachineError("QEMU has no memory to share")

    def logs(self):
        """The last of what QEMU and the guest's kernel wrote: where a failure's cause may be."""
        text = ""
        for path in (self.complaints_path, self.console_path):
            if path.exists():
                lines = path.read_text(errors="replace").splitlines()
                lines = [line for line in lines if USUAL_WARNING not in line][-40:]
                text += f"--- {path.name}\n" + "".join(f"    {line}\n" for line in lines)
        return text

    def _start_endpoint(self, endpoint):
        endpoint.socket = self.folder / f"{endpoint.name}.sock"
        program = [sys.executable, HERE / "pasid_device.py", endpoint.socket]
        child = self._start([*program, "--width", endpoint.width], stdout=subprocess.PIPE)
        if child.stdout.readline() != b"ready\n":
            raise MachineError(f"the endpoint {endpoint.name} did not start")

    def _start_qemu(self):
        ends = [self.monitor.guest_end] + [channel.guest_end for channel in self.channels.values()]
        return self._run_qemu(
            self._machine_options() + self._port_options() + self._endpoint_options(), ends
        )

    def _run_qemu(self, options, ends):
        """Starts QEMU, which gets our sockets' other ends."""
        # QEMU comes from a root folder of another release. Its own loader is told where its
        # libraries are, so that no chroot is needed, and no privilege.
        root = self.qemu_root
        loader = [root / "lib64/ld-linux-x86-64.so.2", "--library-path", root / LIBRARIES]
        program = [*loader, root / "usr/bin" / self.program]
        for folder in self.firmware:
            program += ["-L", root / folder]
        with self.complaints_path.open("wb") as complaints:
            qemu = self._start(
                program + options,
                pass_fds=[end.fileno() for end in ends],
                stderr=complaints,
                env={**os.environ, "QEMU_MODULE_DIR": str(root / LIBRARIES / "qemu")},
            )
        for end in ends:
            end.close()
        return qemu

    def _machine_options(self):
        iommu = "intel-iommu,scalable-mode=on,pasid-bits=20,caching-mode=on"
        return [
            *("-machine", "q35,accel=tcg,kernel-irqchip=off,memory-backend=memory"),
            *("-cpu", "max", "-smp", "2", "-m", f"{MEMORY_MIB}M"),
            *("-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on"),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *("-serial", f"file:{self.console_path}"),
            *("-kernel", self.kernel),
            *self._root_options(),
            *("-device", f"{iommu},fsts={'on' if self.first_stage else 'off'}"),
        ]

    def _root_options(self):
        """A root that is a path is an initramfs; of several, disks, the first is the root."""
        if isinstance(self.root, str):
            return ["-initrd", self.root, "-append", " ".join(self.kernel_arguments)]
        options = ["-append", " ".join((*self.kernel_arguments, *DISK_ARGUMENTS))]
        for number, path in enumerate(self.root):
            # What the guest writes is gone with it.
            options += ["-drive", f"if=none,id=disk{number},file={path},format=raw,snapshot=on,cache=unsafe"]
            device = {"driver": "virtio-blk-pci", "drive": f"disk{number}", "addr": f"{0x1b + number:x}"}
            options += ["-device", json.dumps(device)]
        return options

    def _port_options(self):
        options = [
            *("-chardev", f"socket,id=monitor,fd={self.monitor.guest_end.fileno()}"),
            *("-object", "monitor-qmp,id=control,chardev=monitor"),
            *("-device", "virtio-serial-pci,id=ports,addr=1d.0"),
        ]
        for name, channel in self.channels.items():
            options += ["-chardev", f"socket,id=port-{name},fd={channel.guest_end.fileno()}"]
            options += ["-device", f"virtserialport,chardev=port-{name},name={name}"]
        return options

    def _endpoint_options(self):
        options = []
        for endpoint in self.endpoints:
            device = {
                "driver": "vfio-user-pci",
                "addr": f"{endpoint.slot:x}.{endpoint.function:x}",
                "multifunction": endpoint.multifunction,
            }
            if isinstance(endpoint, OwnEndpoint):
                device["driver"] = endpoint.driver
            else:
                device["socket"] = {"type": "unix", "path": str(endpoint.socket)}
            options += ["-device", json.dumps(device)]
        return options

    def _start(self, arguments, **options):
        libc = ctypes.CDLL(None)
        child = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            **options,
        )
        self._children.append(child)
        return child
