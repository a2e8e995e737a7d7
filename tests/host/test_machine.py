"""What is said of a machine, from the kernel's own words on several."""

from __future__ import annotations

import os
from importlib import metadata

import pytest

from pleinair.machine import available_memory, board, features, processor, this_machine, versions

EPYC = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_vnni avx_vnni

processor\t: 1
model name\t: AMD EPYC
"""
PI_5 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
ZYNQ = """\
processor\t: 0
model name\t: ARMv7 Processor rev 0 (v7l)
Features\t: half thumb fastmult vfp edsp neon vfpv3
CPU implementer\t: 0x41
CPU part\t: 0xc09
"""


@pytest.mark.parametrize(
    "text, name, has",
    (
        (EPYC, "AMD EPYC (family 26 model 2)", ("avx2", "avx_vnni", "avx512f", "avx512_vnni")),
        (PI_5, "Cortex-A76", ("asimd", "asimddp")),
        (ZYNQ, "ARMv7 Processor rev 0 (v7l)", ("neon",)),
        (PI_5.replace("0xd0b", "0xfff"), f"{os.uname().machine} implementer 0x41 part 0xfff", ("asimd", "asimddp")),
    ),
    ids=("x86", "Pi 5", "32-bit Arm", "unknown Arm"),
)
def test_the_kernels_words_are_understood(tmp_path, text, name, has):
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == name
    assert features(tmp_path / "cpuinfo") == has


def test_a_kernel_that_says_nothing_is_no_error(tmp_path):
    nothing = tmp_path / "nothing"
    assert processor(nothing) and features(nothing) == () and board(nothing) == "" and available_memory(nothing) == 0


def test_the_device_tree_ends_in_a_nul(tmp_path):
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert board(tmp_path / "model") == "Raspberry Pi 5 Model B Rev 1.0"


def test_memory_is_in_bytes(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemFree:  1 kB\nMemAvailable:   7 kB\n")
    assert available_memory(tmp_path / "meminfo") == 7 * 1024


def test_versions_are_the_packages_own_and_absent_ones_are_left_out():
    assert versions(("numpy", "no-such-package-at-all")) == {"numpy": metadata.version("numpy")}


def test_this_machine_says_what_the_system_says():
    machine = this_machine()
    assert machine.cores == len(os.sched_getaffinity(0)) and machine.architecture == os.uname().machine
    assert machine.memory >= available_memory() > 0 and machine.processor
