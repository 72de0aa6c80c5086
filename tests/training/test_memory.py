import platform
import subprocess
import sys

import pytest

from aib_keras.training import memory

# Allocates and frees 64 MiB twice, and prints how often the second time asked for a page.
_PROGRAM = """
import resource, runpy, sys

keep_freed_memory = runpy.run_path(sys.argv[1])["keep_freed_memory"]
if sys.argv[2] == "keep":
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"1") * 2**26
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_freed_memory_is_used_again():
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", _PROGRAM, memory.__file__, mode],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for mode in ("keep", "return")
    }
    assert faults["keep"] < 10
    # 16,384 pages of 4 KiB, or 32 of 2 MiB.
    assert faults["return"] >= 30


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    # No `mallopt` there.
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.keep_freed_memory()
