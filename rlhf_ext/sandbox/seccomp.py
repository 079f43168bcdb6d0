"""The system calls that a contained program may not make."""

from __future__ import annotations

import struct

# Calls that hand out memory which no limit counts, make new namespaces and mounts, look into other processes or take their
# open files, read the kernel's log, or have a history of holes: (x86-64, AArch64). EPERM for all.
_DENIED = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "syslog": (103, 116),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_setup": (206, 0),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKET = (41, 198)
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: the families of which a network namespace has its own. AF_VSOCK, which leads from a
# virtual machine to its host, is none of them.
_FAMILIES = (1, 2, 10, 16)
_NEW_NAMESPACES = 0x7E020000  # the CLONE_NEW* flags
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def seccomp_filter(machine: str) -> bytes:
    """A classic BPF program over `struct seccomp_data` (number at 0, architecture at 4, first argument at 16)."""
    column = list(AUDIT_ARCH).index(machine)
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, eperm, enosys, eafnosupport = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050061
    program = [(load, 0, 0, 4), (equal, 1, 0, AUDIT_ARCH[machine]), (give, 0, 0, kill), (load, 0, 0, 0)]
    if machine == "x86_64":
        program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, enosys)]  # x32, the same calls by other numbers
    # The flags of clone3 stand in memory, where a filter cannot look; told it is missing, libc falls back to clone.
    program += [(equal, 0, 1, _CLONE3[column]), (give, 0, 0, enosys)]
    for numbers in _DENIED.values():
        program += [(equal, 0, 1, numbers[column]), (give, 0, 0, eperm)]
    families = [(equal, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)]
    program += [(equal, 0, len(families) + 3, _SOCKET[column]), (load, 0, 0, 16), *families]
    program += [(give, 0, 0, eafnosupport), (give, 0, 0, allow)]
    program += [(equal, 0, 3, _CLONE[column]), (load, 0, 0, 16), (any_bit, 0, 1, _NEW_NAMESPACES), (give, 0, 0, eperm)]
    return b"".join(struct.pack("=HBBI", *step) for step in [*program, (give, 0, 0, allow)])
