"""From generated RTL to a deployment folder.

Vivado is a stand-in here: Tcl itself runs the script, with commands that know Vivado's options, insist that every file
and cell that is named is there, and leave files where the real ones would.
"""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import ModelError, OptionError, OutputError
from pleinair.fpga.deployment import DeploymentError, read_deployment
from pleinair.fpga.handoff import light_port, weight_ports
from pleinair.fpga.overlay import check_model
from pleinair.models import load_model
from pleinair.network.integer import dump
from pleinair_hw import build as building
from pleinair_hw import vivado as deployment
from pleinair_hw.finn import environment
from pleinair_hw.finn.environment import ToolchainError, Vivado
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.frontend import Source
from pleinair_hw.stitch.manifest import Manifest
from pleinair_hw.stitch.write import write_rtl
from pleinair_hw.vivado import Bitstream, VivadoError
from tests import children
from tests.house import ROOT
from tests.hw.finn.test_environment import needs_finn, own_environment, program  # noqa: F401
from tests.models import write_model
from tests.networks import adaptive_network, random_network

STYLE = ROOT / "models" / "starry-night-small"

#: Vivado's commands, in Tcl: each takes the options that UG835 gives it, and insists that what it names is there.
STAND_IN = r"""
proc fail {why} {puts "ERROR: \[Stand-in 1-1\] $why"; exit 1}
# Options with a value, options without, the least and the most words besides
array set known {
    set_param {{} {} 2 2}                 create_project {-part -force 1 2}
    set_property {-dict {} 1 3}           get_property {{} {} 2 2}
    add_files {{} -norecurse 1 1}         update_compile_order {-fileset {} 0 0}
    create_bd_design {{} {} 1 1}          create_bd_cell {{-type -vlnv -reference} {} 1 1}
    get_bd_cells {{} {} 1 1}              get_bd_pins {{} {} 1 1}
    get_bd_intf_pins {{} {} 1 1}          connect_bd_net {{} {} 2 2}
    connect_bd_intf_net {{} {} 2 2}       apply_bd_automation {{-rule -config} {} 1 1}
    assign_bd_address {{-offset -range} {} 0 1} get_bd_addr_segs {{} {} 1 1}
    get_ipdefs {-filter {} 0 1}           current_project {{} {} 0 0}
    current_fileset {{} {} 0 0}           validate_bd_design {{} {} 0 0}
    save_bd_design {{} {} 0 0}            make_wrapper {-files -top 0 0}
    get_files {{} {} 1 1}                 launch_runs {{-to_step -jobs} {} 1 1}
    wait_on_run {{} {} 1 1}               get_runs {{} {} 1 1}
    open_run {{} {} 1 1}                  report_timing_summary {-file {} 0 0}
    report_utilization {-file -hierarchical 0 0}
}
proc read_words {name words} {
    lassign $::known($name) valued plain least most
    set options {}
    set rest {}
    for {set k 0} {$k < [llength $words]} {incr k} {
        set word [lindex $words $k]
        if {$word in $valued} {
            if {[incr k] >= [llength $words]} {fail "$name: $word without a value"}
            dict set options $word [lindex $words $k]
        } elseif {$word in $plain} {dict set options $word 1
        } elseif {[string match {-[a-z]*} $word]} {fail "$name has no option $word"
        } else {lappend rest $word}
    }
    if {[llength $rest] < $least || [llength $rest] > $most} {fail "$name with [llength $rest] words: $rest"}
    return [list $options $rest]
}
foreach name [array names known] {
    proc $name args "set all \[read_words $name \$args\]; run_$name {*}\$all"
    proc run_$name {options rest} {return $rest}
}
set cells {}
set addresses {}
set properties {}
set joined {}
proc run_add_files {options rest} {
    foreach file [lindex $rest 0] {
        if {![file isfile $file]} {fail "$file is not there"}
        lappend ::added $file
    }
}
proc run_get_ipdefs {options rest} {
    set pattern [expr {[llength $rest]? [lindex $rest 0] : [dict get $options -filter]}]
    foreach name {zynq_ultra_ps_e processing_system7 clk_wiz proc_sys_reset smartconnect} {
        if {[string match *$name* $pattern]} {return xilinx.com:ip:$name:9.9}
    }
    fail "there is no IP $pattern"
}
proc run_get_property {options rest} {
    lassign $rest name of
    switch $name {
        VLNV {return $of}
        PROGRESS {return "@PROGRESS@"}
        STATUS {return "write_bitstream ERROR"}
        default {fail "no property $name is asked for"}
    }
}
proc run_create_bd_cell {options rest} {
    set kind [dict get $options -type]
    if {$kind eq "module"} {
        set module [dict get $options -reference]
        set found 0
        foreach file $::added {
            if {[string match *.v $file]} {
                set channel [open $file]
                if {[regexp "module $module " [read $channel]]} {set found 1}
                close $channel
            }
        }
        if {!$found} {fail "no Verilog file has the module $module; a reference cannot be SystemVerilog"}
    }
    dict set ::cells [lindex $rest 0] [expr {$kind eq "ip"? [dict get $options -vlnv] : "module"}]
}
proc known_cell {path} {
    set cell [lindex [split $path /] 0]
    if {![dict exists $::cells $cell]} {fail "there is no cell $cell"}
    return $path
}
foreach name {get_bd_cells get_bd_pins get_bd_intf_pins get_bd_addr_segs} {
    proc run_$name {options rest} {return [known_cell [lindex $rest 0]]}
}
proc run_set_property {options rest} {
    if {[dict exists $options -dict]} {
        set pairs [dict get $options -dict]
        if {[llength $pairs] % 2} {fail "set_property -dict with an odd number of words"}
        foreach {name value} $pairs {dict set ::properties "[lindex $rest 0] $name" $value}
    } else {dict set ::properties [lindex $rest 0] [lindex $rest 1]}
}
foreach name {connect_bd_net connect_bd_intf_net} {
    proc run_$name {options rest} {lappend ::joined $rest}
}
proc run_assign_bd_address {options rest} {
    if {![llength $rest]} return
    lappend ::addresses [list [lindex $rest 0] [dict get $options -offset] [dict get $options -range]]
}
proc run_make_wrapper {options rest} {
    file mkdir project/wrapper
    close [open project/wrapper/top_wrapper.v w]
    return project/wrapper/top_wrapper.v
}
proc run_launch_runs {options rest} {
    file mkdir project/pleinair.runs/impl_1 project/pleinair.gen/sources_1/bd/top/hw_handoff
    set channel [open project/pleinair.runs/impl_1/top_wrapper.bit w]
    puts -nonewline $channel "a bitstream"
    close $channel
    set channel [open project/pleinair.gen/sources_1/bd/top/hw_handoff/top.hwh w]
    lassign [lindex $::addresses 0] segment offset range
    set master [lindex [lsearch -inline -glob $::joined "zynq_ps/M_AXI*"] 0]
    puts $channel "<EDKSYSTEM><SYSTEMINFO ARCH='stand-in'/><MODULES><MODULE INSTANCE='zynq_ps'><MEMORYMAP>"
    puts $channel "<MEMRANGE INSTANCE='[lindex [split $segment /] 0]' SLAVEBUSINTERFACE='s_axi' BASEVALUE='$offset'"
    puts $channel "HIGHVALUE='[format 0x%08X [expr {$offset + $range - 1}]]' MASTERBUSINTERFACE='[file tail $master]'/>"
    puts $channel "</MEMORYMAP></MODULE></MODULES></EDKSYSTEM>"
    close $channel
    set channel [open design.txt w]
    puts $channel $::properties
    puts $channel $::joined
    puts $channel [dict get $options -jobs]
    puts $channel $::cells
    close $channel
}
proc run_report_timing_summary {options rest} {file copy "@REPORT@" [dict get $options -file]}
proc run_report_utilization {options rest} {close [open [dict get $options -file] w]}
if {[lrange $argv 0 4] ne {-mode batch -nojournal -nolog -source}} {fail "called as $argv"}
source [lindex $argv 5]
"""
MET = "All user specified timing constraints are met.\n"


def install_vivado(folder: Path, timing: str = MET, progress: str = "100%") -> Vivado:
    """The stand-in, laid out as AMD's installer does."""
    folder.mkdir(parents=True)
    (folder / "report").write_text(timing)
    code = folder / "stand_in.tcl"
    code.write_text(STAND_IN.replace("@REPORT@", str(folder / "report")).replace("@PROGRESS@", progress))
    program(folder / "Vivado/2022.2/bin/vivado", f'exec {shutil.which("tclsh")} {code} "$@"\n')
    return Vivado(folder / "Vivado" / "2022.2", (2022, 2))


needs_tcl = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")


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
        PrepareIP(board.part, board.clock_ns),
    ):
        model = model.transform(step)
    return model


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """The boards' descriptions, as if they had been downloaded."""
    folder = tmp_path / "deps"
    folder.mkdir()
    monkeypatch.setattr(deployment, "fetch_board_files", lambda board: folder)


# What FINN knows


@needs_finn
def test_finn_knows_the_boards(tmp_path):
    environment.prepare(tmp_path)
    from finn.transformation.fpgadataflow.templates import custom_zynq_shell_template
    from finn.util.basic import pynq_part_map

    for board in BOARDS.values():
        assert pynq_part_map[board.finn_name] == board.part
        own = custom_zynq_shell_template.split(f'$BOARD == "{board.finn_name}"')[1].split("elseif")[0]
        assert f"set_property board_part {deployment.BOARD_PARTS[board.name]} " in own


# The driver's settings


@needs_finn
@pytest.mark.parametrize("name", ["pynq-z2", "zcu104"])
def test_settings_describe_the_frame(tmp_path, name):
    environment.prepare(tmp_path / "build")
    board = BOARDS[name]
    manifest = write_rtl(model := accelerator(board, height=6, width=10), tmp_path / "rtl", "vivado")
    deployment.make_driver(model, manifest, board.clock_mhz, tmp_path / "driver")
    settings = json.loads((tmp_path / "driver" / "settings.json").read_text())
    assert settings.pop("error_register") == 0x40
    # Worked out by hand from how finn-plus-driver uses them: three lanes of a byte, a word for each pixel.
    pixel_words = [[1, 6, 10, 1, 3]]
    assert settings == {
        "driver_information": {
            "driver_type": "FINNDMAOverlay",
            "platform": "zynq-iodma",
            "external_weights": False,
            "runtime_weights": False,
            "fclk_mhz": board.clock_mhz,
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
        },
        "experiment_information": {},
    }


# Synthesis, with a stand-in


def design_of(made: Bitstream) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """Properties, connections and cells of the block design that the stand-in was told to make."""
    # Tcl's lists are read by Tcl.
    lines = (made.bitfile.parent / "design.txt").read_text().splitlines()
    lists = [children.run(["tclsh"], input=f"foreach w {{{line}}} {{puts $w}}").stdout.splitlines() for line in lines]
    pairs = [dict(zip(words[::2], words[1::2], strict=True)) for words in (lists[0], lists[3])]
    return pairs[0], lists[1], pairs[1]


@needs_finn
@needs_tcl
@pytest.mark.parametrize("name", BOARDS)
def test_vivado_is_told_of_the_whole_design(tmp_path, fetched, name):
    board = BOARDS[name]
    environment.prepare(tmp_path / "build")
    made = deployment.synthesise(
        accelerator(board), board, board.clock_mhz, install_vivado(tmp_path / "Xilinx"), tmp_path / "out"
    )
    assert made.bitfile.read_bytes() == b"a bitstream" and made.timing.read_text() == MET
    properties, joined, cells = design_of(made)
    assert properties["board_part"] == deployment.BOARD_PARTS[name]
    assert properties["clk_wiz_0 CONFIG.CLKOUT1_REQUESTED_OUT_FREQ"] == str(board.clock_mhz)
    assert set(cells) == {"zynq_ps", "clk_wiz_0", "proc_sys_reset_0", "shell", "control", "data"}
    ends = ("M_AXI_GP0", "S_AXI_HP0") if board.is_zynq_7000 else ("M_AXI_HPM0_FPD", "S_AXI_HP0_FPD")
    assert f"zynq_ps/{ends[0]} control/S00_AXI" in joined and f"data/M00_AXI zynq_ps/{ends[1]}" in joined
    # Every pin of the shell is joined once.
    shells = [pin for pair in joined for pin in pair.split() if pin.startswith("shell/")]
    assert sorted(shells) == ["shell/ap_clk", "shell/ap_rst_n", "shell/m_axi", "shell/s_axi"]
    base = 0x4000_0000 if board.is_zynq_7000 else 0xA000_0000
    text = made.handoff.read_text()
    assert 'ARCH="stand-in"' in text and 'INSTANCE="shell"' not in text
    for number, engine in enumerate(("idma0", "odma0")):
        assert re.search(rf'BASEVALUE="0x{base + 0x10000 * number:08X}"[^>]*INSTANCE="{engine}"', text)
    block = (tmp_path / "out" / "shell" / "pleinair_block.v").read_text()
    assert f"output [{31 if board.is_zynq_7000 else 39}:0] m_axi_ARADDR" in block


@needs_finn
@needs_tcl
def test_an_adaptive_network_has_its_light_behind_the_shell(tmp_path, fetched):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.search import plan_for_cycles

    board = BOARDS["pynq-z2"]
    model = compile_plan(plan_for_cycles(adaptive_network(1, width=2), 16, 16, board, 4000), tmp_path / "build")
    made = deployment.synthesise(model, board, 100, install_vivado(tmp_path / "Xilinx"), tmp_path / "out")
    light = Manifest.read(tmp_path / "out" / "rtl").light_map
    assert light is not None
    assert light_port(made.handoff) == (0x4002_0000, 0x10000)
    assert json.loads((made.driver / "settings.json").read_text())["light"] == light.to_json()


@needs_finn
@needs_tcl
def test_a_build_of_an_adaptive_style_goes_on_to_a_deployment(tmp_path, fetched, monkeypatch):
    network = adaptive_network(1, width=2)
    model = write_model(tmp_path / "small", network, network.halo)
    source = Source(network, "small", network.halo, 2, model)
    monkeypatch.setattr(building, "read_source", lambda *_: source)
    vivado = install_vivado(tmp_path / "Xilinx")
    monkeypatch.setattr(environment, "find_vivado", lambda: vivado)
    made = building.build(
        building.Request(model=str(model), board="pynq-z2", size=(8, 8), out=tmp_path / "build", bits=8, fps=100)
    )
    assert made.deployment == tmp_path / "build" / "deploy"
    found = read_deployment(made.deployment)
    rtl = Manifest.read(tmp_path / "build" / "rtl")
    assert found.light is not None and found.light == rtl.light_map
    assert (found.board, found.clock_mhz, found.error_register) == ("pynq-z2", 100, 0x40)
    assert light_port(found.bitfile.with_suffix(".hwh"))[1] >= found.light.bytes
    assert found.settings["io_shape_dict"]["ishape_normal"] == [[1, found.height, found.width, 3]]
    check_model(found, load_model(str(model), 8))


@needs_finn
@needs_tcl
def test_a_whole_network_with_writeable_weights(tmp_path, fetched):
    """A file and a port for each layer, in order; what the sources read at time 0 lies where they say."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_rate

    board = BOARDS["zcu104"]
    network = random_network(3, width=8, blocks=1, bits=8, kernel=3)
    model = compile_plan(
        plan_for_rate(network, 16, 16, board, 500, options=BuildOptions(writeable=True)), tmp_path / "build"
    )
    layers = [node.name for node in model.get_nodes_by_op_type("MVAU_rtl")]
    assert len(layers) >= 5
    made = deployment.synthesise(model, board, 300, install_vivado(tmp_path / "Xilinx"), tmp_path / "out")
    settings = json.loads((made.driver / "settings.json").read_text())
    assert settings["driver_information"]["runtime_weights"] is True
    files = {file.name: file for file in (made.driver / "runtime_weights").iterdir()}
    assert sorted(files) == sorted(f"1_{number}_{name}.dat" for number, name in enumerate(layers))
    ports = weight_ports(made.handoff)
    for number, name in enumerate(layers):
        address, size = ports[1, number]
        words = files[f"1_{number}_{name}.dat"].read_text().split()
        assert address % size == 0 and size >= 4 * len(words) > 0
    named = []
    for source in (tmp_path / "out" / "rtl" / "sources").iterdir():
        named += re.findall(r'"([^"\n]+\.(?:dat|mem|hex))"', source.read_text())
    assert all(Path(name).is_absolute() and Path(name).is_file() for name in named)


@needs_finn
def test_weights_and_requantisers_are_read_from_where_they_lie(tmp_path):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.search import plan_for_rate

    board = BOARDS["zcu104"]
    network = random_network(3, width=4, blocks=1, bits=8, kernel=3)
    model = compile_plan(plan_for_rate(network, 16, 16, board, 500), tmp_path / "build")
    manifest = write_rtl(model, tmp_path / "rtl", "vivado")
    named = []
    for source in manifest.sources:
        named += re.findall(r'"([^"\n]+\.(?:dat|mem|hex))"', (tmp_path / "rtl" / source).read_text())
    assert len(manifest.data) >= 5
    assert {Path(name) for name in named} == {(tmp_path / "rtl" / name).resolve() for name in manifest.data}


@needs_finn
@needs_tcl
@pytest.mark.parametrize("name", ["pynq-z2", "kv260"])
def test_pumped_products_get_a_second_clock(tmp_path, fetched, name):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_rate

    board = BOARDS[name]
    network = random_network(3, width=4, blocks=1, bits=8, kernel=3)
    model = compile_plan(
        plan_for_rate(network, 16, 16, board, 2000, options=BuildOptions(pumped=True)), tmp_path / "build"
    )
    made = deployment.synthesise(model, board, 100, install_vivado(tmp_path / "Xilinx"), tmp_path / "out")
    properties, joined, _ = design_of(made)
    assert properties["clk_wiz_0 CONFIG.CLKOUT1_REQUESTED_OUT_FREQ"] == "100"
    assert properties["clk_wiz_0 CONFIG.CLKOUT2_REQUESTED_OUT_FREQ"] == "200"
    assert ("clk_wiz_0 CONFIG.CLKOUT2_MATCHED_ROUTING" in properties) == (not board.is_zynq_7000)
    shells = [pin for pair in joined for pin in pair.split() if pin.startswith("shell/")]
    assert sorted(shells) == ["shell/ap_clk", "shell/ap_clk2x", "shell/ap_rst_n", "shell/m_axi", "shell/s_axi"]
    block = (tmp_path / "out" / "shell" / "pleinair_block.v").read_text()
    assert '"xilinx.com:signal:clock:1.0 ap_clk2x CLK"' in block and ".ap_clk2x(ap_clk2x)" in block


@needs_finn
@needs_tcl
def test_failures_of_vivado_are_told(tmp_path, fetched):
    board = BOARDS["zcu104"]
    environment.prepare(tmp_path / "build")
    model = accelerator(board)

    def synthesise(vivado):
        return deployment.synthesise(model, board, 300, vivado, tmp_path / "out")

    late = install_vivado(tmp_path / "late", "Timing constraints are not met.\n")
    with pytest.raises(VivadoError, match="does not reach 300 MHz"):
        synthesise(late)
    broken = install_vivado(tmp_path / "broken")
    program(broken.command, "echo 'ERROR: [Synth 8-439] module not found'; exit 3\n")
    with pytest.raises(VivadoError, match=r"^Vivado 2022\.2: \[Synth 8-439\] module not found \(its log is [^\n]*\)$"):
        synthesise(broken)
    unrouted = install_vivado(tmp_path / "unrouted", progress="66%")
    with pytest.raises(VivadoError, match="implementation ended with write_bitstream ERROR"):
        synthesise(unrouted)
    silent = install_vivado(tmp_path / "silent")
    program(silent.command, "exit 0\n")
    with pytest.raises(VivadoError, match=r"ended and left no pleinair\.bit"):
        synthesise(silent)
    with pytest.raises(VivadoError, match="cannot be read"):
        deployment.check_timing(tmp_path / "none.rpt", 300)


@needs_finn
@needs_tcl
def test_a_path_that_tcl_cannot_hold_is_refused(tmp_path, fetched):
    for name in ("my build", "{build"):
        with pytest.raises(OptionError, match=f"{name}: .* spaces"):
            deployment.synthesise(None, BOARDS["zcu104"], 300, install_vivado(tmp_path / name[0]), tmp_path / name)


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
        "avnet-bdf": {"ultra96v1/1.2/board.xml": "x", "ultra96v2/1.2/board.xml": "y"},
        "kv260-som-bdf": {"boards/Xilinx/kv260_som/1.3/board.xml": "z"},
    }
    commits = {name: repository(tmp_path / "git" / name, files) for name, files in contents.items()}

    def entry(name, **more):
        return {"url": f"https://example.invalid/{name}", "commit": commits[name], **more}

    definitions = {
        "git_deps": {},
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

    folder = deployment.fetch_board_files(BOARDS["ultra96"])
    assert folder == tmp_path / "cache" / "pleinair" / "finn-deps" / "board_files"
    assert (folder / "ultra96v1" / "1.2" / "board.xml").read_text() == "x"
    # An interrupted clone is no obstacle.
    (folder.parent / "board_files_downloads" / "kv260-som-bdf" / "half").mkdir(parents=True)
    deployment.fetch_board_files(BOARDS["kv260"])
    assert (folder / "kv260_som" / "1.3" / "board.xml").read_text() == "z"

    # Without a network, all boards that have been fetched go on, and another one says what it lacks.
    shutil.rmtree(tmp_path / "git")
    for name in ("ultra96", "kv260", "zcu104"):
        deployment.fetch_board_files(BOARDS[name])
    shutil.rmtree(folder / "kv260_som")
    with pytest.raises(
        ToolchainError, match="kv260-som-bdf, which Vivado needs, could not be fetched from https://exam"
    ):
        deployment.fetch_board_files(BOARDS["kv260"])


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
