"""`python without_cuda.py SITE_PACKAGES`: take CUDA out of a PyTorch that will only see CPUs. Run by the Dockerfile.

PyPI's torch is the CUDA build. On a machine without a GPU it calls nothing of NVIDIA's libraries, but the loader wants
a library of each name with the functions torch may call. So a library that torch is linked to and that is large is
replaced by a small one whose functions end the process and say why; a small one stays as it is, because torch asks it
whether there is a GPU; all others are removed. Saves 2.7 GB. Needs cc and readelf.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

SMALL_BYTES = 8 * 2**20
"""The CUDA runtime, CUPTI and cuFile stay; cuBLAS, cuDNN and the like do not."""
_TEMPLATE = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((noreturn, visibility("hidden"))) void absent(void) {{
  fputs("{library} was called, but this image is the CPU variant: use the GPU variant on a GPU\\n", stderr);
  abort();
}}
"""


def libraries(folder: Path) -> list[Path]:
    """Shared objects below a folder."""
    return sorted(path for path in folder.rglob("*.so*") if path.is_file() and not path.is_symlink())


def needed(library: Path) -> set[str]:
    """File names of what a library is linked to."""
    return {line.split("[")[1].rstrip("]") for line in _readelf("-d", library) if "(NEEDED)" in line}


def symbols(library: Path, *, defined: bool) -> Iterator[tuple[str, str]]:
    """Dynamic symbols that a library has, or else wants from others: name and version, which may be empty."""
    for line in _readelf("--dyn-syms", library):
        fields = line.split()
        if len(fields) >= 8 and fields[4] in ("GLOBAL", "WEAK") and (fields[6] != "UND") is defined:
            name, _, version = fields[7].partition("@")
            yield name, version.lstrip("@")


def source(library: str, functions: Iterable[str]) -> str:
    """Return a C program in which every function says that the library is absent."""
    aliases = (f'void {name}(void) __attribute__((noreturn, alias("absent")));\n' for name in sorted(functions))
    return _TEMPLATE.format(library=library) + "".join(aliases)


def replace(library: Path, wanted: set[str]) -> None:
    """Put a library of the same name and symbol versions, without content, in its place."""
    versions: dict[str, set[str]] = {}
    for name, version in symbols(library, defined=True):
        if name in wanted:
            versions.setdefault(version, set()).add(name)
    with tempfile.TemporaryDirectory() as folder:
        program, script = Path(folder) / "absent.c", Path(folder) / "versions"
        program.write_text(source(library.name, {name for names in versions.values() for name in names}))
        script.write_text(
            "".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in versions.items() if version)
        )
        named = [f"-Wl,--version-script={script}"] if script.stat().st_size else []
        # -Wno-attribute-alias: the functions' true signatures do not matter, none of them returns.
        flags = ["-shared", "-fPIC", "-O1", "-s", "-Wno-attribute-alias", f"-Wl,-soname,{library.name}", *named]
        library.unlink()
        subprocess.run(["cc", *flags, "-o", str(library), str(program)], check=True)


def _readelf(option: str, library: Path) -> list[str]:
    done = subprocess.run(["readelf", "--wide", option, str(library)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def main(site_packages: Path) -> int:
    """Do it and say what was done; the exit code."""
    torch, nvidia = libraries(site_packages / "torch"), libraries(site_packages / "nvidia")
    if not torch or not nvidia:
        sys.stderr.write(f"{site_packages} must hold torch/ and nvidia/ of the CUDA build, and does not\n")
        return 1
    linked = {name for library in torch for name in needed(library)}
    wanted = {name for library in torch for name, _ in symbols(library, defined=False)}
    kept = [library for library in nvidia if library.name in linked]
    for library in kept:
        if library.stat().st_size > SMALL_BYTES:
            replace(library, wanted)
    for path in (site_packages / "nvidia").rglob("*"):
        if path not in kept and (path.is_file() or path.is_symlink()):
            path.unlink()
    sys.stdout.write(f"kept {len(kept)} of {len(nvidia)} libraries of NVIDIA: {' '.join(path.name for path in kept)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
