"""From generated RTL to a deployment folder.

Vivado and Vitis HLS are stand-ins here: programs that read the Tcl they are given, insist that every file it names is
there, and leave files where the real ones would. FINN's own code runs in full, up to and after each call.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import ModelError, OptionError, OutputError
from pleinair.fpga.deployment import DeploymentError, read_deployment
from pleinair.fpga.light_map import Station, lay_out
from pleinair.models import load_model
from pleinair.network.integer import dump
from pleinair_hw import vivado as deployment
from pleinair_hw.finn import environment
from pleinair_hw.finn.environment import ToolchainError, Vivado
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.vivado import Bitstream, VivadoError
from tests import children
from tests.house import ROOT
from tests.hw.finn.test_environment import needs_finn, own_environment, program  # noqa: F401
from tests.networks import adaptive_network, random_network

STYLE = ROOT / "models" / "starry-night-small"

VIVADO = """
import re, sys
from pathlib import Path
assert sys.argv[1:4] == ["-mode", "batch", "-source"], sys.argv
script = Path(sys.argv[4])
text = script.read_text()
def check(name):
    name = name.replace("$::env(FINN_RTLLIB)", __import__("os").environ["FINN_RTLLIB"])
    assert Path(name).exists(), name
wrapper = None
for name in re.findall(r"^add_files -norecurse (\\S+)$", text, re.M):
    if name.endswith("_wrapper.v") and "/hdl/" in name and "vivado_stitch_proj" in name:
        wrapper = Path(name)
    else:
        check(name)
for listing in re.findall(r"set_property ip_repo_paths \\[list ([^\\]]*)\\]", text):
    for name in listing.split():
        check(name)
if script.name == "make_project.tcl":
    wrapper.parent.mkdir(parents=True)
    wrapper.write_text("module wrapper; endmodule\\n")
    (script.parent / "ip").mkdir()
else:
    run = Path("finn_zynq_link.runs/impl_1")
    run.mkdir(parents=True)
    (run / "top_wrapper.bit").write_bytes(b"a bitstream")
    (run / "top_wrapper_timing_summary_routed.rpt").write_text(Path("@REPORT@").read_text())
    handoff = Path("finn_zynq_link.gen/sources_1/bd/top/hw_handoff")
    handoff.mkdir(parents=True)
    (handoff / "top.hwh").write_text("<EDKSYSTEM/>")
"""
HLS = """
import re, sys
from pathlib import Path
text = Path(sys.argv[1]).read_text()
project = re.search(r"set config_proj_name (\\S+)", text).group(1)
assert Path(re.search(r'set config_hwsrcdir "([^"]+)"', text).group(1)).is_dir()
for name in ("bnnlibdir", "customhlsdir"):
    found = re.search(rf'set config_{name} "([^"]+)"', text).group(1)
    assert Path(found.replace("$::env(FINN_CUSTOM_HLS)", __import__("os").environ["FINN_CUSTOM_HLS"])).is_dir(), found
Path(project, "sol1", "impl", "ip").mkdir(parents=True)
"""
MET = "All user specified timing constraints are met.\n"


def install_vivado(folder: Path, timing: str = MET) -> Vivado:
    """The stand-ins, laid out as AMD's installer does."""
    folder.mkdir(parents=True)
    (folder / "report").write_text(timing)
    for place, text in (("Vivado/2022.2/bin/vivado", VIVADO), ("Vitis_HLS/2022.2/bin/vitis_hls", HLS)):
        code = folder / f"{Path(place).name}.py"
        code.write_text(text.replace("@REPORT@", str(folder / "report")))
        program(folder / place, f'exec {sys.executable} {code} "$@"\n')
    return Vivado(folder / "Vivado" / "2022.2", (2022, 2))


def accelerator(board, height=6, width=10):
    """A small accelerator with its RTL generated: pads a frame by a pixel and crops it again; FIFOs in between."""
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from finn.transformation.fpgadataflow.prepare_ip import PrepareIP
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.general import GiveUniqueNodeNames

    frame, padded = [1, height, width, 3], [1, height + 2, width + 2, 3]
    hardware = {"domain": "finn.custom_op.fpgadataflow", "backend": "fpgadataflow"}
    shape = {"NumChannels": 3, "numInputVectors": 1, "SIMD": 3}
    pad = helper.make_node(
        "FMPadding", ["in"], ["wide"], ImgDim=frame[1:3], Padding=[1] * 4, inputDataType="UINT8", **shape, **hardware
    )
    shape = {"NumChannels": 3, "numInputVectors": [1], "SIMD": 3, "DataType": "UINT8"}
    crop = helper.make_node(
        "Crop",
        ["wide"],
        ["out"],
        ImgDim=padded[1:3],
        CropNorth=1,
        CropSouth=1,
        CropEast=1,
        CropWest=1,
        inFIFODepths=[9],
        **shape,
        **hardware,
    )
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, s)
        for name, s in (("in", frame), ("wide", padded), ("out", frame))
    ]
    graph = helper.make_graph([pad, crop], "a", values[:1], values[2:], value_info=values[1:2])
    model = ModelWrapper(helper.make_model(graph))
    for name in ("in", "wide", "out"):
        model.set_tensor_datatype(name, DataType["UINT8"])
    for step in (
        SpecializeLayers(board.part),
        InsertFIFO(create_shallow_fifos=True),
        SpecializeLayers(board.part),
        GiveUniqueNodeNames(),
        PrepareIP(board.part, deployment.clock_period(board.clock_mhz)),
    ):
        model = model.transform(step)
    return model


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """FINN's downloads, as if they had been made."""
    folder = tmp_path / "deps"
    (folder / "finn-hlslib").mkdir(parents=True)
    monkeypatch.setattr(deployment, "fetch_sources", lambda board: folder)


# What FINN knows


@needs_finn
def test_finn_knows_the_boards(tmp_path):
    environment.prepare(tmp_path)
    from finn.transformation.fpgadataflow.templates import custom_zynq_shell_template
    from finn.util.basic import pynq_native_port_width, pynq_part_map

    for board in BOARDS.values():
        assert pynq_part_map[board.finn_name] == board.part
        assert pynq_native_port_width[board.finn_name] == (64 if board.is_zynq_7000 else 128)
        assert f'$BOARD == "{board.finn_name}"' in custom_zynq_shell_template


def test_the_clock_arrives_whole():
    """FINN's formula, on every clock; a plain 1000 / MHz would lose a MHz on some."""
    plain = [mhz for mhz in range(1, 1001) if int(1 / ((1000 / mhz) * 0.001)) != mhz]
    assert plain
    for mhz in range(1, 1001):
        period = deployment.clock_period(mhz)
        assert int(1 / (period * 0.001)) == mhz
        assert period == pytest.approx(1000 / mhz, rel=1e-12)


# The driver's settings


@needs_finn
@pytest.mark.parametrize("name", ["pynq-z2", "zcu104"])
def test_settings_describe_the_frame(tmp_path, name):
    environment.prepare(tmp_path)
    board = BOARDS[name]
    model = accelerator(board, height=6, width=10)
    before = model.model.SerializeToString()
    settings = json.loads((deployment.make_driver(model, board, board.clock_mhz) / "settings.json").read_text())
    assert model.model.SerializeToString() == before
    information = settings["driver_information"]
    assert information.pop("fclk_mhz") == pytest.approx(board.clock_mhz, abs=1e-6)
    # Worked out by hand from how finn-plus-driver uses them: three lanes of a byte, a word for each pixel.
    pixel_words = [[1, 6, 10, 1, 3]]
    assert information == {
        "driver_type": "FINNDMAOverlay",
        "platform": "zynq-iodma",
        "external_weights": False,
        "runtime_weights": False,
        "io_shape_dict": {
            "idt": ["DataType['UINT8']"],
            "odt": ["DataType['UINT8']"],
            "idma_names": ["idma0"],
            "odma_names": ["odma0"],
            "ishape_normal": [[1, 6, 10, 3]],
            "oshape_normal": [[1, 6, 10, 3]],
            "ishape_folded": pixel_words,
            "oshape_folded": pixel_words,
            "ishape_packed": pixel_words,
            "oshape_packed": pixel_words,
            "num_inputs": 1,
            "num_outputs": 1,
            "number_of_external_weights": 0,
            "external_weights_input_shapes": {},
        },
    }


# Synthesis, with stand-ins


@needs_finn
@pytest.mark.parametrize("name", ["pynq-z2", "kv260"])
def test_finns_flow_up_to_each_call_of_the_tools(tmp_path, fetched, name):
    board = BOARDS[name]
    environment.prepare(tmp_path / "build", workers=5)
    model = accelerator(board)
    nodes = [node.op_type for node in model.graph.node]
    path = os.environ["PATH"]
    made = deployment.synthesise(model, board, board.clock_mhz, install_vivado(tmp_path / "Xilinx"))
    assert os.environ["PATH"] == path and "XILINX_VIVADO" not in os.environ
    assert made.bitfile.read_bytes() == b"a bitstream" and made.handoff.read_text() == "<EDKSYSTEM/>"
    shell = (made.timing.parents[2] / "ip_config.tcl").read_text()
    assert f"set FREQ_MHZ {board.clock_mhz}\n" in shell
    assert f"set BOARD {board.finn_name}\n" in shell and f"set FPGA_PART {board.part}\n" in shell
    assert "launch_runs -jobs 5 " in shell
    # Engine, accelerator, engine; and the accelerator is the one that was given, with no FIFO more.
    assert shell.count("create_bd_cell -type ip -vlnv xilinx_finn:finn:") == 3
    projects = [p.read_text() for p in (tmp_path / "build").glob("vivado_stitch_proj_*/make_project.tcl")]
    assert len(projects) == 3
    (tcl,) = [text for text in projects if "FMPadding_rtl" in text]
    cells = [line.split()[-1] for line in tcl.splitlines() if line.startswith("create_bd_cell")]
    assert [c.split("_", 2)[2].rsplit("_", 1)[0] for c in cells if c != "sim_ctrl_0"] == nodes
    assert str(tmp_path / "build" / "finn-rtllib" / "fifo" / "hdl" / "fifo.sv") in tcl
    # What FINN's flow says of the accelerator is what is said without Vivado.
    settings = json.loads((made.driver / "settings.json").read_text())
    assert settings == json.loads((deployment.make_driver(model, board, board.clock_mhz) / "settings.json").read_text())


@needs_finn
def test_a_whole_network_with_writeable_weights(tmp_path, fetched):
    """Layers with writeable weights inside a residual branch: one partition, a file and a port for each, in order."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_rate

    board = BOARDS["zcu104"]
    network = random_network(3, width=8, blocks=1, bits=8, kernel=3)
    model = compile_plan(
        plan_for_rate(network, 16, 16, board, 500, options=BuildOptions(writeable=True)), tmp_path / "build"
    )
    layers = [f"MVAU_rtl_{n}" for n, _ in enumerate(model.get_nodes_by_op_type("MVAU_rtl"))]
    made = deployment.synthesise(model, board, 300, install_vivado(tmp_path / "Xilinx"))
    settings = json.loads((made.driver / "settings.json").read_text())
    assert settings["driver_information"]["runtime_weights"] is True
    expected = [f"1_{number}_StreamingDataflowPartition_1_{name}.dat" for number, name in enumerate(layers)]
    assert sorted(file.name for file in (made.driver / "runtime_weights").iterdir()) == sorted(expected)
    shell = (made.timing.parents[2] / "ip_config.tcl").read_text()
    ports = [f"assign_axi_addr_proc StreamingDataflowPartition_1/s_axilite_{n}" for n in range(len(layers))]
    assert [line for line in shell.splitlines() if "assign_axi_addr_proc StreamingDataflow" in line] == ports
    (tcl,) = [
        text
        for project in (tmp_path / "build").glob("vivado_stitch_proj_*/make_project.tcl")
        if "MVAU_rtl" in (text := project.read_text())
    ]
    opened = re.findall(r"make_bd_intf_pins_external \[get_bd_intf_pins \w+_(MVAU_rtl_\d+)/s_axilite\]", tcl)
    assert opened == layers and len(layers) >= 5


@needs_finn
def test_products_at_twice_the_clock_have_none_in_finns_shell(tmp_path, fetched):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_rate

    board = BOARDS["pynq-z2"]
    network = random_network(3, width=4, blocks=1, bits=8, kernel=3)
    model = compile_plan(
        plan_for_rate(network, 16, 16, board, 2000, options=BuildOptions(pumped=True)), tmp_path / "build"
    )
    with pytest.raises(OptionError, match="^pumped cannot be: FINN's shell for Zynq gives no clock of twice"):
        deployment.synthesise(model, board, 100, install_vivado(tmp_path / "Xilinx"))


@needs_finn
def test_an_adaptive_network_is_refused_before_anything_is_fetched(tmp_path):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.search import plan_for_cycles

    board = BOARDS["zcu104"]
    model = compile_plan(plan_for_cycles(adaptive_network(1, width=2), 16, 16, board, 4000), tmp_path / "build")
    with pytest.raises(VivadoError, match="an adaptive network ends with RTL"):
        deployment.synthesise(model, board, 300, install_vivado(tmp_path / "Xilinx"))


@needs_finn
def test_failures_of_the_tools_are_told(tmp_path, fetched, monkeypatch):
    board = BOARDS["zcu104"]
    environment.prepare(tmp_path / "build")
    from finn.transformation.fpgadataflow import create_stitched_ip

    # FINN waits ten seconds for a file system to show what Vivado wrote; the stand-in's is there at once.
    monkeypatch.setattr(create_stitched_ip, "wait_for_file", lambda path, timeout: path.is_file())
    model = accelerator(board)
    late = install_vivado(tmp_path / "late", "Timing constraints are not met.\n")
    with pytest.raises(VivadoError, match="does not reach 300 MHz"):
        deployment.synthesise(model, board, 300, late)
    broken = install_vivado(tmp_path / "broken")
    program(broken.command, "echo out of memory; exit 3\n")
    # FINN loses Vivado's exit status and misses its files; the sentence is one line all the same.
    with pytest.raises(VivadoError, match=r"^Vivado 2022\.2: .*no wrapper HDL found .*logs are below [^\n]*$"):
        deployment.synthesise(model, board, 300, broken)
    silent = install_vivado(tmp_path / "silent")
    program(tmp_path / "silent" / "Vitis_HLS" / "2022.2" / "bin" / "vitis_hls", "exit 1\n")
    with pytest.raises(VivadoError, match="HLS IP Generation failed"):
        deployment.synthesise(model, board, 300, silent)
    with pytest.raises(VivadoError, match="cannot be read"):
        deployment.check_timing(tmp_path / "none.rpt", 300)


@needs_finn
def test_a_path_with_spaces_is_refused(tmp_path, fetched):
    environment.prepare(tmp_path / "my build")
    with pytest.raises(OptionError, match="my build: .* spaces"):
        deployment.synthesise(None, BOARDS["zcu104"], 300, install_vivado(tmp_path / "Xilinx"))


def test_vivado_that_finn_cannot_use(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    vivado = install_vivado(tmp_path / "Xilinx")
    deployment.check_tools(vivado)
    with pytest.raises(ToolchainError, match="does not name 2023.1: make a link"):
        deployment.check_tools(Vivado(vivado.folder, (2023, 1)))
    shutil.rmtree(tmp_path / "Xilinx" / "Vitis_HLS")
    with pytest.raises(ToolchainError, match="vitis_hls of the same version is not on PATH"):
        deployment.check_tools(vivado)


# FINN's downloads, from repositories made here


def repository(folder: Path, files: dict[str, str]) -> str:
    """A git repository with these files in one commit, whose name is returned."""
    variables = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        children.run(["git", *arguments], cwd=folder, check=True, env=variables)
    head = children.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True)
    return head.stdout.strip()


@needs_finn
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_sources_are_fetched_once(tmp_path, monkeypatch):
    import yaml

    contents = {
        "finn-hlslib": {"bnn-library.h": "x"},
        "attention-hlslib": {"attention.hpp": "x"},
        "avnet-bdf": {"ultra96v1/1.2/board.xml": "x", "ultra96v2/1.2/board.xml": "y"},
        "kv260-som-bdf": {"boards/Xilinx/kv260_som/1.3/board.xml": "z"},
    }
    commits = {name: repository(tmp_path / "git" / name, files) for name, files in contents.items()}

    def entry(name, **more):
        return {"url": f"https://example.invalid/{name}", "commit": commits[name], **more}

    plain = {"pip_install": False, "install_editable": False}
    definitions = {
        "git_deps": {name: entry(name, **plain) for name in ("finn-hlslib", "attention-hlslib")},
        "boardfile_deps": {
            "avnet-bdf": entry("avnet-bdf", subdirectory="."),
            "kv260-som-bdf": entry("kv260-som-bdf", subdirectory="boards/Xilinx/kv260_som"),
        },
        "direct_download_deps": {},
    }
    (tmp_path / "definitions.yaml").write_text(yaml.safe_dump(definitions))
    monkeypatch.setenv("FINN_DEPS_DEFINITIONS", str(tmp_path / "definitions.yaml"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{tmp_path / 'git'}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://example.invalid/")
    monkeypatch.delenv("FINN_DEPS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    environment.prepare(tmp_path / "build")

    folder = deployment.fetch_sources(BOARDS["ultra96"])
    assert folder == tmp_path / "cache" / "pleinair" / "finn-deps"
    assert (folder / "finn-hlslib" / "bnn-library.h").is_file()
    assert (folder / "board_files" / "ultra96v1" / "1.2" / "board.xml").read_text() == "x"
    # An interrupted clone is no obstacle.
    (folder / "board_files_downloads" / "kv260-som-bdf" / "half").mkdir(parents=True)
    deployment.fetch_sources(BOARDS["kv260"])
    assert (folder / "board_files" / "kv260_som" / "1.3" / "board.xml").read_text() == "z"

    # Without a network, all boards that have been fetched go on, and another one says what it lacks.
    shutil.rmtree(tmp_path / "git")
    for name in ("ultra96", "kv260", "zcu104"):
        deployment.fetch_sources(BOARDS[name])
    shutil.rmtree(folder / "finn-hlslib")
    with pytest.raises(ToolchainError, match="finn-hlslib, which FINN needs, could not be fetched from https://exam"):
        deployment.fetch_sources(BOARDS["zcu104"])


# The deployment folder

SETTINGS = {
    "driver_information": {
        "driver_type": "FINNDMAOverlay",
        "platform": "zynq-iodma",
        "io_shape_dict": {
            "idt": ["DataType['UINT8']"],
            "odt": ["DataType['UINT8']"],
            "idma_names": ["idma0"],
            "odma_names": ["odma0"],
            "ishape_normal": [[1, 96, 128, 3]],
            "oshape_normal": [[1, 96, 128, 3]],
        },
    },
    "experiment_information": {},
}


@pytest.fixture
def bitstream(tmp_path):
    """Files as Vivado and FINN leave them, with a bitfile of a megabyte and a bit."""
    folder = tmp_path / "vivado"
    (folder / "driver" / "runtime_weights").mkdir(parents=True)
    (folder / "resizer.bit").write_bytes(np.random.default_rng(5).bytes((1 << 20) + 7))
    (folder / "resizer.hwh").write_text("<EDKSYSTEM/>")
    (folder / "driver" / "settings.json").write_text(json.dumps(SETTINGS))
    (folder / "driver" / "runtime_weights" / "1_0_MVAU.dat").write_text("00ff\n")
    nothing = folder / "none"
    return Bitstream(folder / "resizer.bit", folder / "resizer.hwh", folder / "driver", nothing, nothing)


@pytest.fixture
def deployed(tmp_path, bitstream):
    return deployment.assemble(
        tmp_path / "out" / "deploy", bitstream, model=STYLE, bits=8, board=BOARDS["zcu104"], clock_mhz=300
    )


def test_the_folder_holds_all_and_opens(deployed, bitstream):
    folder = deployed.folder
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "bitfile/finn-accel.bit",
        "bitfile/finn-accel.hwh",
        "driver/runtime_weights/1_0_MVAU.dat",
        "driver/settings.json",
        "hashes.json",
        "model/card.json",
        "model/network-8bit.npz",
    ]
    assert sorted(p.name for p in folder.parent.iterdir()) == ["deploy"]
    assert (deployed.board, deployed.clock_mhz, deployed.style, deployed.bits) == ("zcu104", 300, STYLE.name, 8)
    assert (deployed.width, deployed.height) == (128, 96)
    assert deployed.settings == SETTINGS["driver_information"]
    assert deployed.bitfile.read_bytes() == bitstream.bitfile.read_bytes()
    assert deployed.bitfile.with_suffix(".hwh").is_file()
    assert dump(load_model(str(deployed.model), 8).network) == dump(load_model(str(STYLE), 8).network)
    if shutil.which("sha256sum"):
        hashes = json.loads((folder / "hashes.json").read_text())["files"]
        listing = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
        children.run(["sha256sum", "--check", "--strict", "--quiet"], input=listing, cwd=folder, check=True)
        assert len(hashes) == 6


def test_the_map_of_the_light_stands_beside_what_finn_wrote(tmp_path, bitstream):
    light = lay_out("identity", [Station("enter", 64, 24, 32, 4), Station("up1", 16, 48, 64, 1)])
    found = deployment.assemble(
        tmp_path / "deploy", bitstream, model=STYLE, bits=8, board=BOARDS["zcu104"], clock_mhz=300, light=light
    )
    assert found.light == light and found.settings == SETTINGS["driver_information"]
    settings = json.loads((found.folder / "driver" / "settings.json").read_text())
    assert settings == {**SETTINGS, "light": light.to_json()}


def test_reading_takes_no_finn(deployed):
    """A board has none."""
    code = (
        "import sys; from pathlib import Path; from pleinair.fpga.deployment import read_deployment; "
        "print(read_deployment(Path(sys.argv[1])).board, {'finn', 'qonnx', 'onnx', 'torch'} & set(sys.modules))"
    )
    done = children.python("-c", code, deployed.folder, cwd=ROOT, check=True)
    assert done.stdout == "zcu104 set()\n"


def test_an_earlier_deployment_is_replaced_and_nothing_else(deployed, bitstream, tmp_path):
    again = {"model": STYLE, "bits": 8, "board": BOARDS["kv260"], "clock_mhz": 250}
    (deployed.folder / "bitfile" / "finn-accel.bit").write_bytes(b"damaged")
    assert deployment.assemble(deployed.folder, bitstream, **again).board == "kv260"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert deployment.assemble(empty, bitstream, **again).clock_mhz == 250
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_text("x")
    for place in (photos, photos / "one.jpg"):
        with pytest.raises(OutputError, match="is no deployment folder"):
            deployment.assemble(place, bitstream, **again)
    with pytest.raises(OutputError):
        deployment.assemble(photos / "one.jpg" / "deploy", bitstream, **again)
    assert [p.name for p in photos.iterdir()] == ["one.jpg"]


def test_what_cannot_be_put_in_leaves_nothing(tmp_path, bitstream):
    target = {"model": STYLE, "bits": 8, "board": BOARDS["zcu104"], "clock_mhz": 300}
    model = tmp_path / "model"
    shutil.copytree(STYLE, model)
    (model / "network-8bit.npz").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged or exchanged"):
        deployment.assemble(tmp_path / "out", bitstream, **{**target, "model": model})
    grey = json.loads(json.dumps(SETTINGS).replace("[1, 96, 128, 3]", "[1, 96, 128, 1]"))
    (bitstream.driver / "settings.json").write_text(json.dumps(grey))
    with pytest.raises(DeploymentError, match="is not the description of an accelerator that paints RGB"):
        deployment.assemble(tmp_path / "out", bitstream, **target)
    bitstream.handoff.unlink()
    with pytest.raises(OutputError, match="No such file"):
        deployment.assemble(tmp_path / "out", bitstream, **target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "vivado"]


def test_every_changed_bit_is_noticed(deployed):
    """One bit of each file, at a place of its own."""
    random = np.random.default_rng(11)
    for name in json.loads((deployed.folder / "hashes.json").read_text())["files"]:
        path = deployed.folder / name
        whole = path.read_bytes()
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        with pytest.raises(DeploymentError, match=rf"{name} is damaged"):
            read_deployment(deployed.folder)
        path.write_bytes(whole)
    read_deployment(deployed.folder)


def test_missing_and_foreign_files_are_named(deployed, tmp_path):
    folder = deployed.folder
    for name in ("bitfile/finn-accel.hwh", "model/network-8bit.npz", "driver/runtime_weights/1_0_MVAU.dat"):
        (folder / name).rename(tmp_path / "kept")
        with pytest.raises(DeploymentError, match=f"{name} is missing"):
            read_deployment(folder)
        (folder / name).symlink_to(tmp_path / "kept")
        with pytest.raises(DeploymentError, match=f"{name} is no plain file"):
            read_deployment(folder)
        (folder / name).unlink()
        (tmp_path / "kept").rename(folder / name)
    (folder / "driver" / "runtime_weights" / "2_0_MVAU.dat").write_text("00\n")
    with pytest.raises(DeploymentError, match=r"2_0_MVAU\.dat does not belong"):
        read_deployment(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.clear(), "not a version 1 pleinair-deployment"),
        (lambda m: m.update(version=2), "not a version 1 pleinair-deployment"),
        (lambda m: m.update(files=[]), "names no files"),
        (lambda m: m["files"].pop("driver/settings.json"), "settings.json does not belong"),
        (lambda m: m["files"].update({"../elsewhere": "0"}), "../elsewhere is missing"),
        (lambda m: m.update(bits="8"), "damaged, bits is '8'"),
        (lambda m: m.pop("board"), "damaged, board is None"),
        (lambda m: m.update(width=64), "names another frame than driver/settings.json, 128x96"),
    ],
)
def test_a_changed_manifest_is_refused(deployed, change, message):
    path = deployed.folder / "hashes.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DeploymentError, match=message):
        read_deployment(deployed.folder)


def test_what_is_no_deployment(tmp_path):
    for content, message in ((None, "No such file"), ("{", "it is no JSON"), ("[]", "no JSON object")):
        if content is not None:
            (tmp_path / "hashes.json").write_text(content)
        with pytest.raises(DeploymentError, match=message):
            read_deployment(tmp_path)
