"""System call numbers, as data: those that the filter speaks about, by architecture.

Source: the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h, which aarch64
uses). Numbers from 424 on are the same everywhere. A name that an architecture lacks is not in its table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum


class Architecture(Enum):
    """Instruction sets that programs can run in; the value is AUDIT_ARCH_*."""

    X86_64 = 0xC000003E
    AARCH64 = 0xC00000B7

    @property
    def audit(self) -> int:
        """What the kernel calls it in a filter's data."""
        return self.value

    @classmethod
    def here(cls) -> Architecture:
        """Return the one of this machine.

        Raises:
            OSError: There is no table for it.
        """
        machine = os.uname().machine
        if machine not in ("x86_64", "aarch64"):
            raise OSError(f"system call filters are known for x86_64 and aarch64, not for {machine}")
        return cls.X86_64 if machine == "x86_64" else cls.AARCH64


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DENIED = _words(
    # namespaces and mounts
    "mount umount2 pivot_root chroot unshare setns move_mount open_tree fsopen fsconfig fsmount fspick "
    "mount_setattr statmount listmount "
    # other processes
    "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp "
    # kernel interfaces with a history, requests that limits do not count, keyrings, modules, file handles
    "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register io_setup "
    "memfd_secret keyctl add_key request_key kexec_load kexec_file_load init_module finit_module "
    "delete_module open_by_handle_at name_to_handle_at fanotify_init fanotify_mark "
    # network: only a pair of sockets can be had, which is connected from the start
    "socket bind listen connect accept accept4 "
    # the machine's state
    "swapon swapoff reboot acct quotactl quotactl_fd syslog settimeofday clock_settime clock_adjtime "
    "adjtimex sethostname setdomainname vhangup lookup_dcookie nfsservctl lsm_set_self_attr "
    # placement and priorities beyond `nice`
    "mbind set_mempolicy set_mempolicy_home_node move_pages migrate_pages sched_setscheduler "
    "sched_setparam sched_setattr sched_setaffinity ioprio_set "
    # old or unused doors
    "iopl ioperm modify_ldt uselib ustat sysfs _sysctl create_module query_module get_kernel_syms tuxcall "
    "security getpmsg putpmsg afs_syscall vserver map_shadow_stack "
)
"""Refused at every level that has a filter."""

DENIED_WITHOUT_NAMESPACES = _words(
    "shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink "
    "mq_timedsend mq_timedreceive mq_notify mq_getsetattr "
)
"""System V and POSIX objects, by which runs could leave notes for each other."""

NUMBERS: Mapping[Architecture, Mapping[str, int]] = {
    Architecture.X86_64: {
        "ioctl": 16,
        "shmget": 29,
        "shmat": 30,
        "shmctl": 31,
        "socket": 41,
        "connect": 42,
        "accept": 43,
        "bind": 49,
        "listen": 50,
        "socketpair": 53,
        "clone": 56,
        "kill": 62,
        "semget": 64,
        "semop": 65,
        "semctl": 66,
        "fcntl": 72,
        "msgget": 68,
        "msgsnd": 69,
        "msgrcv": 70,
        "msgctl": 71,
        "ptrace": 101,
        "syslog": 103,
        "rt_sigqueueinfo": 129,
        "mknod": 133,
        "uselib": 134,
        "personality": 135,
        "ustat": 136,
        "sysfs": 139,
        "setpriority": 141,
        "sched_setparam": 142,
        "sched_setscheduler": 144,
        "vhangup": 153,
        "modify_ldt": 154,
        "pivot_root": 155,
        "_sysctl": 156,
        "prctl": 157,
        "adjtimex": 159,
        "chroot": 161,
        "acct": 163,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "sethostname": 170,
        "setdomainname": 171,
        "iopl": 172,
        "ioperm": 173,
        "create_module": 174,
        "init_module": 175,
        "delete_module": 176,
        "get_kernel_syms": 177,
        "query_module": 178,
        "quotactl": 179,
        "nfsservctl": 180,
        "getpmsg": 181,
        "putpmsg": 182,
        "afs_syscall": 183,
        "tuxcall": 184,
        "security": 185,
        "tkill": 200,
        "sched_setaffinity": 203,
        "io_setup": 206,
        "lookup_dcookie": 212,
        "semtimedop": 220,
        "clock_settime": 227,
        "tgkill": 234,
        "vserver": 236,
        "mbind": 237,
        "set_mempolicy": 238,
        "mq_open": 240,
        "mq_unlink": 241,
        "mq_timedsend": 242,
        "mq_timedreceive": 243,
        "mq_notify": 244,
        "mq_getsetattr": 245,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "ioprio_set": 251,
        "migrate_pages": 256,
        "mknodat": 259,
        "unshare": 272,
        "move_pages": 279,
        "accept4": 288,
        "rt_tgsigqueueinfo": 297,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "fanotify_mark": 301,
        "prlimit64": 302,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "clock_adjtime": 305,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "sched_setattr": 314,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
        "pidfd_send_signal": 424,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "clone3": 435,
        "pidfd_getfd": 438,
        "process_madvise": 440,
        "mount_setattr": 442,
        "quotactl_fd": 443,
        "memfd_secret": 447,
        "process_mrelease": 448,
        "set_mempolicy_home_node": 450,
        "map_shadow_stack": 453,
        "statmount": 457,
        "listmount": 458,
        "lsm_set_self_attr": 460,
    },
    Architecture.AARCH64: {
        "io_setup": 0,
        "lookup_dcookie": 18,
        "fcntl": 25,
        "ioctl": 29,
        "ioprio_set": 30,
        "mknodat": 33,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "nfsservctl": 42,
        "chroot": 51,
        "vhangup": 58,
        "quotactl": 60,
        "acct": 89,
        "personality": 92,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "clock_settime": 112,
        "syslog": 116,
        "ptrace": 117,
        "sched_setparam": 118,
        "sched_setscheduler": 119,
        "sched_setaffinity": 122,
        "kill": 129,
        "tkill": 130,
        "tgkill": 131,
        "rt_sigqueueinfo": 138,
        "setpriority": 140,
        "reboot": 142,
        "sethostname": 161,
        "setdomainname": 162,
        "prctl": 167,
        "settimeofday": 170,
        "adjtimex": 171,
        "mq_open": 180,
        "mq_unlink": 181,
        "mq_timedsend": 182,
        "mq_timedreceive": 183,
        "mq_notify": 184,
        "mq_getsetattr": 185,
        "msgget": 186,
        "msgctl": 187,
        "msgrcv": 188,
        "msgsnd": 189,
        "semget": 190,
        "semctl": 191,
        "semtimedop": 192,
        "semop": 193,
        "shmget": 194,
        "shmctl": 195,
        "shmat": 196,
        "socket": 198,
        "socketpair": 199,
        "bind": 200,
        "listen": 201,
        "accept": 202,
        "connect": 203,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "clone": 220,
        "swapon": 224,
        "swapoff": 225,
        "mbind": 235,
        "set_mempolicy": 237,
        "migrate_pages": 238,
        "move_pages": 239,
        "rt_tgsigqueueinfo": 240,
        "perf_event_open": 241,
        "accept4": 242,
        "prlimit64": 261,
        "fanotify_init": 262,
        "fanotify_mark": 263,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "clock_adjtime": 266,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "sched_setattr": 274,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
        "pidfd_send_signal": 424,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "clone3": 435,
        "pidfd_getfd": 438,
        "process_madvise": 440,
        "mount_setattr": 442,
        "quotactl_fd": 443,
        "memfd_secret": 447,
        "process_mrelease": 448,
        "set_mempolicy_home_node": 450,
        "map_shadow_stack": 453,
        "statmount": 457,
        "listmount": 458,
        "lsm_set_self_attr": 460,
    },
}
