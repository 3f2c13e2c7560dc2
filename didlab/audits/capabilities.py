"""File capabilities, as Linux keeps them in the attribute ``security.capability``."""

from __future__ import annotations

import struct

__all__ = ["capabilities"]

#: By number, as in linux/capability.h.
_NAMES = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid"),
    *("setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw"),
    *("ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct"),
    *("sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod"),
    *("lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog"),
    *("wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore"),
)
_EFFECTIVE = 1
#: Revision -> how many words of 32 bits each set has, bytes in all.
_REVISIONS = {0x01: (1, 12), 0x02: (2, 20), 0x03: (2, 24)}


def capabilities(raw: bytes) -> str | None:
    """Return the capabilities as getcap writes them; None for what is no such attribute.

    ``struct vfs_cap_data`` of linux/capability.h, revisions 1 to 3. The user namespace of
    revision 3 is left out, as getcap does.

    >>> capabilities(bytes.fromhex("0100000200200000000000000000000000000000"))
    'cap_net_raw=ep'
    """
    if len(raw) < 12:
        return None
    (magic,) = struct.unpack_from("<I", raw)
    count, size = _REVISIONS.get(magic >> 24, (0, 0))
    if not count or len(raw) != size:
        return None
    words = struct.unpack_from(f"<{2 * count}I", raw, 4)
    permitted = sum(word << 32 * number for number, word in enumerate(words[::2]))
    inheritable = sum(word << 32 * number for number, word in enumerate(words[1::2]))
    effective = "e" if magic & _EFFECTIVE else ""
    groups: dict[str, list[str]] = {}
    for number in range(64):
        allowed = permitted >> number & 1
        passed_on = inheritable >> number & 1
        if allowed or passed_on:
            flags = effective + ("i" if passed_on else "") + ("p" if allowed else "")
            name = f"cap_{_NAMES[number]}" if number < len(_NAMES) else str(number)
            groups.setdefault(flags, []).append(name)
    return " ".join(f"{','.join(names)}={flags}" for flags, names in groups.items())
