"""The file system that programs see: the system's programs and libraries read-only, and nothing else.

Built once in the zygote's own mount namespace, of as few mounts as possible, since every run copies them. Each run
adds a fresh memory file system at `BOX` and a fresh /proc.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from prorl_reward_sandbox.execution.jail import linux

BOX = "/sandbox"
"""Where a run's writable file system is mounted."""
WORK = f"{BOX}/work"
"""The working folder."""
TEMPORARY = f"{BOX}/tmp"  # noqa: S108  (fresh in every run)
_READ_ONLY = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID
_PROC = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_READ_ONLY_PROC = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | _PROC
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES = ("null", "zero", "full", "random", "urandom")
# What programs of the system need from /etc: the loader's cache, the choice among several versions, Java's settings.
_COPIED = ("ld.so.cache", "alternatives", "localtime")
_COPIED_PREFIXES = ("java-",)
MAX_INODES = 16384
"""Of a run's file system."""


def build_root(prefixes: Sequence[str], *, shows_proc: bool) -> None:
    """Move this process (root in its own mount namespace) into the file system of programs.

    Args:
        prefixes: Folders that programs may read besides the system's, such as the interpreter's.
        shows_proc: Whether the machine's /proc is there. In a user namespace the kernel mounts a new one only for who
            can see all of an old one; each run's own covers it.
    """
    if _mounts_are_shared():
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    # A folder that every machine has and no program needs is covered in this namespace, so that none has to be made.
    root = "/sys"
    # Of a size, although nobody can write to it later: so that a mistake here cannot fill the memory.
    linux.mount("tmpfs", root, "tmpfs", linux.MS_NOSUID, "size=16m,mode=755")
    for name in ("usr", "etc", "dev", "proc", "old", BOX[1:]):
        os.mkdir(os.path.join(root, name))
    _bind("/usr", root)
    for name in _SYSTEM_FOLDERS:
        _place_system_folder(f"/{name}", root)
    for prefix in prefixes:
        if os.path.isdir(prefix) and not os.path.exists(root + prefix):
            os.makedirs(root + prefix, exist_ok=True)
            _bind(prefix, root)
    _fill_etc(os.path.join(root, "etc"))
    _fill_dev(os.path.join(root, "dev"))
    os.symlink(TEMPORARY, os.path.join(root, "tmp"))
    if shows_proc:
        linux.mount("/proc", os.path.join(root, "proc"), None, linux.MS_BIND | linux.MS_REC)
    linux.pivot_root(root, os.path.join(root, "old"))
    os.chdir("/")
    linux.unmount("/old")
    os.rmdir("/old")
    linux.mount("none", "/", None, _READ_ONLY)


def _mounts_are_shared() -> bool:
    """Tell whether what is mounted here would appear elsewhere.

    A kernel without such sharing cannot be told to leave it.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(" shared:" in line.partition(" - ")[0] for line in file)


def mounting_proc() -> linux.Step:
    """Mounts the processes of this pid namespace, and nothing about the machine."""
    return linux.mounting("proc", "/proc", "proc", _PROC, "subset=pid")


def making_proc_read_only() -> linux.Step:
    """Lets nothing in it be changed from there on, the memory killer's preferences for one."""
    return linux.mounting("none", "/proc", None, _READ_ONLY_PROC)


def _bind(path: str, root: str) -> None:
    linux.mount(path, root + path, None, linux.MS_BIND)
    kept = os.statvfs(path).f_flag  # a user namespace may not take away what the outer mount forbids
    flags = sum(flag for flag, bit in ((linux.MS_NODEV, os.ST_NODEV), (linux.MS_NOEXEC, os.ST_NOEXEC)) if kept & bit)
    linux.mount("none", root + path, None, _READ_ONLY | flags | linux.MS_NODEV)


def _place_system_folder(path: str, root: str) -> None:
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
    elif os.path.isdir(path):
        os.mkdir(root + path)
        _bind(path, root)


def _fill_etc(folder: str) -> None:
    for name in sorted(os.listdir("/etc")):
        if name in _COPIED or name.startswith(_COPIED_PREFIXES):
            _copy(os.path.join("/etc", name), os.path.join(folder, name))
    for name, text in (
        ("passwd", "program:x:64000:64000::/sandbox/work:/bin/sh\n"),
        ("group", "program:x:64000:\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("hosts", "127.0.0.1 localhost\n"),
    ):
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(text)


def _copy(source: str, target: str) -> None:
    """Copy a file, a link or a tree; what is not for everybody to read is not for programs either."""
    with contextlib.suppress(OSError):
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif os.path.isdir(source):
            os.mkdir(target)
            for name in os.listdir(source):
                _copy(os.path.join(source, name), os.path.join(target, name))
        elif os.path.isfile(source):
            with open(source, "rb") as reader, open(target, "wb") as writer:
                writer.write(reader.read())


def _fill_dev(folder: str) -> None:
    for name in _DEVICES:
        path = os.path.join(folder, name)
        number = os.stat(f"/dev/{name}").st_rdev
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, number)
            os.chmod(path, 0o666)  # noqa: S103  (a device for everybody)
            with open(path, "rb"):  # where it was made without the right to use it
                pass
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            with open(path, "wb"):
                pass
            linux.mount(f"/dev/{name}", path, None, linux.MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, os.path.join(folder, name))
    os.symlink(TEMPORARY, os.path.join(folder, "shm"))
