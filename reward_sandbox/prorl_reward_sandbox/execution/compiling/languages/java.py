"""Java: one file, its classes packed into one archive."""

from __future__ import annotations

import re

from prorl_reward_sandbox.execution.compiling.languages.base import COMPILE_LIMITS, MEBIBYTE, Language, Toolchain

_PUBLIC_CLASS = re.compile(
    r"^\s*public\s+(?:(?:final|abstract|strictfp)\s+)*class\s+([A-Za-z_$][\w$]{0,63})", re.MULTILINE
)
# A class may be named anything, but the archive must name the one that starts: that of the file.
_BUILD = b"""set -e
"$1/javac" -J-Xmx768m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 \\
  -nowarn -proc:none -encoding UTF-8 -d classes "$2.java"
"$1/jar" -J-Xmx256m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 --create --no-compress --file program.jar \\
  --main-class "$2" -C classes .
"""


def _source_name(source: str) -> str:
    public = _PUBLIC_CLASS.search(source)
    return f"{public[1] if public else 'Main'}.java"


JAVA = Language(
    names=("java",),
    source_name=_source_name,
    probe="public class Main { public static void main(String[] a) { System.out.println(6 * 7); } }",
    toolchains=tuple(
        Toolchain(
            version=(f"{folder}/java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:CompressedClassSpaceSize=64m", "-version"),
            files={"build.sh": _BUILD},
            compile=("/bin/sh", "build.sh", folder, "{stem}"),
            product="program.jar",
            run=(
                f"{folder}/java",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-XX:CompressedClassSpaceSize=64m",
                "-XX:ReservedCodeCacheSize=64m",
                "-Xss64m",
                "-Xmx{heap_mebibytes}m",
                "-jar",
                "program.jar",
            ),
        )
        for folder in ("/usr/bin", "/usr/local/bin", "/opt/java/openjdk/bin")
    ),
    extra_bytes=2560 * MEBIBYTE,  # class space, code cache, metaspace and stacks, reserved rather than used
    extra_processes=48,
    compile_limits=COMPILE_LIMITS.model_copy(update={"memory_bytes": 4096 * MEBIBYTE, "processes": 128}),
    memory_marks=(b"java.lang.OutOfMemoryError", b"insufficient memory"),
    process_marks=(b"unable to create native thread",),
)
