"""Corrections of FINN's RTL library, made to the installed package's text when a build needs them.

The library (``finn-rtllib`` of finn-plus 1.6.1) is used as it is but for ten files:

- ``CORRECTNESS`` and ``SPEED``: a defect of the circuit itself, and paths that are too long. Every use of the library,
  a vendor's tools included, has them: :func:`patched_rtllib` makes a corrected copy for FINN to generate from.
- ``SIMULATION`` and ``SYNTHESIS``: constructs that Verilator, or Yosys with slang, refuse although they are, or come
  close to, legal SystemVerilog. What the circuit does is left alone.
- ``ROUTING``: SYNTHESIS for a bitstream, where queues lie in memory that Yosys would build from flip-flops, and every
  memory lies where its plan says.

A patch is a function from a file's text to its corrected text. It raises :class:`PatchError` when it finds nothing
to correct, and is only ever given the text it was written for: each file's SHA-256 is checked first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pleinair.errors import PleinairError

Purpose = Literal["simulation", "sizing", "synthesis", "routing", "vivado"]
Patch = Callable[[str], str]

LIBRARY = "finn-rtllib"
VERSION = "1.6.1"

#: SHA-256 of the files that are patched, as finn-plus VERSION installs them; paths are relative to the library.
ORIGINAL = {
    "axi/hdl/axilite.sv": "b041ca2b83f5a2cb7994d8ee44046159a41c538a0ef21c2636f8653903503dc9",
    "memstream/hdl/memstream.sv": "dca7be8a6315d0fd0f0af10970af320c0d01f8739404a75ffd66c431c6dc441f",
    "dwc/hdl/vpc.sv": "b0b2b20405d897212723e77067d7507778d8be0ecbe29836259e3b95daef626b",
    "fifo/hdl/fifo.sv": "88ad786a5885c7994c7e2d26e1ef2ffdf688310e941feaa0651332da49ec58c4",
    "mvu/add_multi.sv": "245c88f80677355afd487f9cb69d71b85c4873eceae5bb828b1dcac43ca71f94",
    "mvu/mvu.sv": "4c6c11482fe3e8b569b6249469a302f9cb9bf89978d007ff1d0153511762b068",
    "mvu/mvu_vvu_axi.sv": "f4c91ae7cbb2887c92b034c2364481e9d40e31313bbd1aff82491c1350388dab",
    "mvu/replay_buffer.sv": "55dab042c715a48f60c296f5e87f7a5bece80da407c5261178381037d57aab1a",
    "swg/swg_common.sv": "3dea68298aa7185bc7d71ed5bcf7b0b46fc24a61044f6b1adb39230054e3578b",
    "swg/swg_template_default.sv": "902ed1dc128bb0a6d329133ccf82c3d537f430c3dd57a1136d426290d31743e0",
}


class PatchError(PleinairError):
    """FINN's RTL library is missing, is not the version that the corrections were written for, or was changed."""


def _fits_nowhere(what: str) -> PatchError:
    return PatchError(f"the correction {what!r} of FINN's RTL library fits no place of the file")


def _substitute(pattern: str, replacement: str, text: str, what: str) -> str:
    """``text`` with the one place that ``pattern`` matches replaced literally; PatchError unless there is just one."""
    changed, places = re.subn(pattern, lambda _: replacement, text, flags=re.S | re.M)
    if places != 1:
        raise PatchError(f"the correction {what!r} of FINN's RTL library fits {places} places of the file, not one")
    return changed


def lengthen_output_queue(text: str) -> str:
    """The matrix-vector unit's output queue holds all that is in flight when its consumer stops.

    It is sized from a pipeline depth that falls short of mvu.sv's by one (for a SIMD that is no power of two) and
    leaves out the word that is accepted while the stop is being noticed. A unit with SIMD = MW gives a result every
    cycle; its queue then overflows and words are lost.
    """
    return _substitute(
        r"MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH;",
        "MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH + 3;",
        text,
        "lengthen_output_queue",
    )


def hoist_leaf_loads(text: str) -> str:
    """A constant function declared inside a generate block moves to the module, where Verilator can evaluate it."""
    found = re.search(
        r"(?<=absorbed by tree\n\n)\t\t// Compute the count of decendents.*?LEAF_LOAD = init_leaf_loads\(\);\n",
        text,
        re.S,
    )
    if found is None:
        raise _fits_nowhere("hoist_leaf_loads")
    function = found[0]
    anchor = "\tuwire [SUM_WIDTH-1:0]  sum0;\n"
    return _substitute(re.escape(anchor), function + anchor, text.replace(function, ""), "hoist_leaf_loads")


def pack_address_widths(text: str) -> str:
    """The struct that a constant function returns is packed: Verilator evaluates no unpacked ones."""
    return _substitute(r"typedef struct \{", "typedef struct packed {", text, "pack_address_widths")


def drop_startup_watchdog(text: str) -> str:
    """The warning about DSP slices fed within 100 ns of power-up goes: a delay, of no meaning without timing."""
    return _substitute(
        r"^\tif\(1\) begin : blkRecoveryWatch.*?end : blkRecoveryWatch\n", "", text, "drop_startup_watchdog"
    )


def share_core(text: str) -> str:
    """Units of equal parameters share the C++ code that Verilator makes of their cores; otherwise each has its own.

    Of The Starry Night's accelerator with 2,500 multiplier lanes that leaves 36 MB of 62.
    """
    return _substitute(
        r"(?<=^\);\n\n)(?=\timport  mvu_pkg::\*;)", "\t/*verilator no_inline_module*/\n", text, "share_core"
    )


def drop_arithmetic(text: str) -> str:
    """The matrix-vector unit's core keeps its timing and gives zeros: what there is of it is its valid pipeline.

    For the sizing of FIFOs, where only handshakes matter and the multipliers are most of what there is to compile.
    """
    return _substitute(
        r"^\t// Stages #1 - #3: DSP Lanes.*^endmodule : mvu$",
        "\tassign\tp = '0;\n\nendmodule : mvu",
        text,
        "drop_arithmetic",
    )


def drop_default_nettype(text: str) -> str:
    """`` `default_nettype`` stands inside the module, where the standard (IEEE 1800-2017, 22.8) forbids it."""
    changed, places = re.subn(r"^`default_nettype.*$", "", text, flags=re.M)
    if not places:
        raise _fits_nowhere("drop_default_nettype")
    return changed


def _ring(what: str, text: str, *, name: str, kind: str, entries: str, declared: str, shifted: str, read: str) -> str:
    """A queue that shifts and is read at its pointer becomes a ring: what is pushed stays where it is.

    The latest word lies at ``OHead``, the one before at ``OHead - 1``: entry i of the shift register at ``OHead - i``.
    """
    ring = (
        f"localparam int unsigned  OBITS = $clog2({entries});\n"
        '\t\t(* ram_style = "distributed" *)\n'
        f"\t\t{kind}  {name}[2**OBITS];\n"
        "\t\tlogic [OBITS-1:0]  OHead = '1;"
    )
    text = _substitute(r"\(\* SHREG_EXTRACT = \"(?:yes|YES)\" \*\)\n\s*" + re.escape(declared), ring, text, what)
    condition = shifted.partition(")")[0] + ")"
    word = re.search(r"\{ (\w+),", shifted)
    assert word is not None
    push = f"{condition} begin\n\t\t\t\t{name}[OBITS'(OHead + 1)] <= {word[1]};\n\t\t\t\tOHead <= OHead + 1;\n\t\t\tend"
    text = _substitute(re.escape(shifted), push, text, what)
    return _substitute(re.escape(read), f"{name}[OBITS'(OHead - OPtr)]", text, what)


def queue_weights_in_memory(text: str) -> str:
    """The weights' queue lies in distributed memory: its shift register with a variable tap is an SRL to Vivado alone.

    Yosys makes flip-flops and multiplexers of it, of seven words of all the weights that a unit takes at once.
    """
    return _ring(
        "queue_weights_in_memory",
        text,
        name="OSrl",
        kind="data_t",
        entries="FULL_CREDIT-1",
        declared="data_t  OSrl[FULL_CREDIT-1];",
        shifted="if(Rs3)  OSrl <= { Dat3, OSrl[0:FULL_CREDIT-3] };",
        read="OSrl[OPtr]",
    )


def queue_results_in_memory(text: str) -> str:
    """The results' queue of the matrix-vector unit, as :func:`queue_weights_in_memory`."""
    return _ring(
        "queue_results_in_memory",
        text,
        name="OBuf",
        kind="output_t",
        entries="MAX_IN_FLIGHT+1",
        declared="output_t  OBuf[0:MAX_IN_FLIGHT];",
        shifted="if(ovld)  OBuf <= { odat, OBuf[0:MAX_IN_FLIGHT-1] };",
        read="OBuf[OPtr[$left(OPtr)-1:0]]",
    )


def lower_memory_styles(text: str) -> str:
    """``RAM_STYLE`` as an attribute becomes ``ram_style``: Yosys knows no other spelling, Vivado knows both."""
    changed, places = re.subn(r"(?<=\(\* )RAM_STYLE(?= = )", "ram_style", text)
    if not places:
        raise _fits_nowhere("lower_memory_styles")
    return changed


def choose_upper_memory(text: str) -> str:
    """A FIFO's smaller memory goes where its plan says (``resources.fifo``), not where synthesis likes."""
    return _substitute(
        r"RAM_STYLE_HI = \(MIN_ABITS <= ABITS\.hi\)\? RAM_STYLE_EFF : \"auto\";",
        'RAM_STYLE_HI = 2**(2*ABITS.hi) * DATA_WIDTH < 2**20? "distributed" : "block";',
        text,
        "choose_upper_memory",
    )


def choose_replay_memory(text: str) -> str:
    """The replay of a matrix-vector unit's input goes where its plan says (``resources.replay``)."""
    return _substitute(
        r"(?<=^\t\t// Buffer Memory Management\n)\t\tdata_t  Mem\[2\*\*AWIDTH\];",
        """\
\t\tlocalparam  RAM_STYLE = AWIDTH <= 6 || 2**AWIDTH * W <= 4608? "distributed" : "block";
\t\t(* ram_style = RAM_STYLE *)
\t\tdata_t  Mem[2**AWIDTH];""",
        text,
        "choose_replay_memory",
    )


def keep_valid(text: str) -> str:
    """The registers of weights that are loaded at run time keep their "valid" as a sum, not as a choice.

    Where nobody writes, Yosys then sees that they never change, and that the weights' memory is constant.
    """
    for name, valid in (("WAddr", "awvalid"), ("WData", "wvalid"), ("RAddr", "arvalid")):
        line = rf"^(\t+)(if\(!{name}\.vld\)  {name} <= [^\n]*\n)(?!\1{name}\.)"
        text, places = re.subn(line, rf"\1\2\1{name}.vld <= {name}.vld || {valid};\n", text, flags=re.M)
        if places != 1:
            raise _fits_nowhere("keep_valid")
    return text


def mark_weights_in_tables(text: str) -> str:
    """Weights for tables are marked, so that Yosys can make tables of them where they are never written.

    It cannot compare texts that stand in parameters, and of constant memories it makes no distributed memory.
    """
    return _substitute(
        r"\(\* RAM_STYLE = RAM_STYLE \*\)",
        '(* ram_style = RAM_STYLE, in_tables = RAM_STYLE == "distributed" *)',
        text,
        "mark_weights_in_tables",
    )


def keep_differences(text: str) -> str:
    """The window buffer keeps in registers, as differences, what it would subtract and compare in every cycle.

    Whether a pixel may be read or fetched is then the sign of a register, and where the buffer's end is passed, both
    addresses are at hand: two carry chains less in what were the slowest paths. Cycle for cycle the same.
    """
    what = "keep_differences"
    text = _substitute(
        r"^    // Wider than the other element counters:.*?  First_elem_next_window = 0;[^\n]*\n",
        """\
    // Differences of element counters, whose signs say what may be done
    localparam int unsigned  DIFF_BITS = $clog2(LAST_READ_ELEM + $TAIL_INCR_LAST$ + BUF_ELEM_TOTAL + 2) + 1;
    logic signed [DIFF_BITS-1:0]  Ahead = -1;               // Newest_buffered_elem - Current_elem
    logic signed [DIFF_BITS-1:0]  Current = -BUF_ELEM_TOTAL; // Oldest element - 1 - Current_elem
    logic signed [DIFF_BITS-1:0]  Window = -BUF_ELEM_TOTAL;  // Oldest element - 1 - first element of the next window
""",
        text,
        what,
    )
    text = _substitute(r"!\(Current_elem > Newest_buffered_elem\)", "!Ahead[$left(Ahead)]", text, what)
    text = _substitute(
        r"\$signed\(Newest_buffered_elem - \(BUF_ELEM_TOTAL - 1\)\) < First_elem_next_window &&\s*"
        r"\$signed\(Newest_buffered_elem - \(BUF_ELEM_TOTAL - 1\)\) < Current_elem",
        "Window[$left(Window)] && Current[$left(Current)]",
        text,
        what,
    )
    text = _substitute(
        r"(?<=Current_elem <= 0;\n)            First_elem_next_window <= 0;\n(?=\n)",
        """\
            Ahead <= -1;
            Current <= -BUF_ELEM_TOTAL;
            Window <= -BUF_ELEM_TOTAL;
""",
        text,
        what,
    )
    text = re.sub(r"^ *First_elem_next_window <= 0;\n", "", text, flags=re.M)
    text = _substitute(r"^ *//update first element of next window[^\n]*\n[^\n]*\n\n", "", text, what)
    text = _substitute(
        r"// *-\(BUF_ELEM_TOTAL-1\), ..., 2\*\(BUF_ELEM_TOTAL-1\)\n.*?<= ra \+ ra_correct;",
        """// -(BUF_ELEM_TOTAL-1), ..., 2*(BUF_ELEM_TOTAL-1)
                automatic logic signed [$clog2(2*BUF_ELEM_TOTAL):0]  less =
                    (Window_buffer_read_addr_reg - BUF_ELEM_TOTAL) + addr_incr;
                automatic logic signed [$clog2(2*BUF_ELEM_TOTAL):0]  more =
                    (Window_buffer_read_addr_reg + BUF_ELEM_TOTAL) + addr_incr;
                Window_buffer_read_addr_reg <= (ra < 0)? more : (less < 0)? ra : less;""",
        text,
        what,
    )
    return _substitute(
        r"^            Newest_buffered_elem <= Newest_buffered_elem \+ ",
        """\
            if(nbe_rst) begin // with Current_elem; nothing is fetched then
                Ahead <= -1;
                Current <= -BUF_ELEM_TOTAL;
                Window <= -BUF_ELEM_TOTAL;
            end
            else begin
                automatic logic  stay = !fetch_cmd || Current_elem == LAST_WRITE_ELEM;
                automatic logic signed [INCR_BITWIDTH:0]  step = stay? 0 : addr_incr;
                automatic logic signed [INCR_BITWIDTH:0]  next = fetch_cmd && PositionZero? {1'b0, tail_incr} : 0;
                automatic logic signed [1:0]  more = {1'b0, nbe_inc};
                Ahead <= Ahead - step + more;
                Current <= Current - step + more;
                Window <= Window - next + more;
            end
            Newest_buffered_elem <= Newest_buffered_elem + """,
        text,
        what,
    )


def register_increment(text: str) -> str:
    """The window buffers' controller keeps in a register how far the next step goes, not only its state.

    The step is then at hand where addresses are summed up: a table and its wires less in what was the slowest path of
    large accelerators. Cycle for cycle the same.
    """
    what = "register_increment"
    states = ("SIMD", "KW", "KH", "W", "H")
    first = " ".join(f"INNERMOST_STATE == STATE_LOOP_{state}? HEAD_INCR_{state} :" for state in states) + " 0"
    text = _substitute(
        r"^    // combinational logic for addr_incr generation\n",
        f"""\
    // addr_incr of the state and of the next one
    localparam logic [INCR_BITWIDTH-1:0]  FIRST_INCR = {first};
    logic [INCR_BITWIDTH-1:0]  Incr = FIRST_INCR;
    logic [INCR_BITWIDTH-1:0]  incr_next;
    assign  addr_incr = Incr;
""",
        text,
        what,
    )
    text = _substitute(r"(?<=begin : blkHead\n        unique case \()State(?=\))", "state_next", text, what)
    head = re.search(r"unique case \(state_next\).*?endcase", text, re.S)
    assert head is not None
    text = text.replace(head[0], head[0].replace("addr_incr =", "incr_next ="))
    text = _substitute(
        r"^            State <= INNERMOST_STATE;\n",
        "            State <= INNERMOST_STATE;\n            Incr <= FIRST_INCR;\n",
        text,
        what,
    )
    return _substitute(
        r"^            State <= state_next;\n",
        "            State <= state_next;\n            Incr <= incr_next;\n",
        text,
        what,
    )


CORRECTNESS: Mapping[str, tuple[Patch, ...]] = {"mvu/mvu_vvu_axi.sv": (lengthen_output_queue,)}
SPEED: Mapping[str, tuple[Patch, ...]] = {
    "swg/swg_common.sv": (register_increment,),
    "swg/swg_template_default.sv": (keep_differences,),
}
#: What the copy of the library has that FINN generates from.
GENERATED = {**CORRECTNESS, **SPEED}
SIMULATION: Mapping[str, tuple[Patch, ...]] = {
    "fifo/hdl/fifo.sv": (pack_address_widths,),
    "mvu/add_multi.sv": (hoist_leaf_loads,),
    "mvu/mvu.sv": (drop_startup_watchdog, share_core),
}
SIZING: Mapping[str, tuple[Patch, ...]] = {**SIMULATION, "mvu/mvu.sv": (drop_startup_watchdog, drop_arithmetic)}
SYNTHESIS: Mapping[str, tuple[Patch, ...]] = {
    "dwc/hdl/vpc.sv": (drop_default_nettype,),
    "fifo/hdl/fifo.sv": (pack_address_widths, drop_default_nettype),
    "mvu/add_multi.sv": (hoist_leaf_loads,),
    "mvu/mvu.sv": (drop_startup_watchdog,),
}
ROUTING: Mapping[str, tuple[Patch, ...]] = {
    **SYNTHESIS,
    "axi/hdl/axilite.sv": (keep_valid,),
    "fifo/hdl/fifo.sv": (*SYNTHESIS["fifo/hdl/fifo.sv"], choose_upper_memory, lower_memory_styles),
    "memstream/hdl/memstream.sv": (queue_weights_in_memory, mark_weights_in_tables),
    "mvu/mvu_vvu_axi.sv": (queue_results_in_memory,),
    "mvu/replay_buffer.sv": (choose_replay_memory,),
}
PURPOSES: Mapping[str, Mapping[str, tuple[Patch, ...]]] = {
    "simulation": SIMULATION,
    "sizing": SIZING,
    "synthesis": SYNTHESIS,
    "routing": ROUTING,
    "vivado": {},
}


def installed_rtllib() -> Path:
    """The library's folder in the installed finn-plus, found without importing FINN; PatchError if it is missing."""
    spec = importlib.util.find_spec("finn")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(place) / LIBRARY).is_dir():
            return folder
    raise PatchError(f"FINN's RTL library is not installed: finn-plus {VERSION} is needed")


def library_path(file: Path) -> str | None:
    """``file``'s path inside the library (POSIX), or None when it lies outside any copy of it."""
    parts = Path(file).parts
    if LIBRARY not in parts:
        return None
    return "/".join(parts[len(parts) - parts[::-1].index(LIBRARY) :])


def _apply(text: str, patches: Sequence[Patch]) -> str:
    for patch in patches:
        text = patch(text)
    return text


def _is_original(path: str, text: str) -> bool:
    return hashlib.sha256(text.encode()).hexdigest() == ORIGINAL[path]


def patched_text(path: str, text: str, purpose: Purpose) -> str:
    """A library file's text with every correction for ``purpose``; files that need none come back unchanged.

    Args:
        path: the file's path inside the library, as :func:`library_path` gives it.
        text: its text, as installed or from a copy that :func:`patched_rtllib` made.

    Raises:
        PatchError: the text is neither.
    """
    correctness, others = GENERATED.get(path, ()), PURPOSES[purpose].get(path, ())
    if path not in ORIGINAL:
        return text
    if not _is_original(path, text):
        original = (installed_rtllib() / path).read_text() if correctness else ""
        if not correctness or not _is_original(path, original) or _apply(original, correctness) != text:
            raise PatchError(f"{LIBRARY}/{path} is not the file of finn-plus {VERSION} that the corrections fit")
        correctness = ()
    return _apply(text, (*correctness, *others))


def patched_sources(files: Sequence[Path], folder: Path, purpose: Purpose) -> list[Path]:
    """``files`` in their order, those of the RTL library that need corrections replaced by corrected copies.

    Args:
        files: Verilog sources; only those below a folder of the library's name are looked at.
        folder: where the copies are written, under their own names.
        purpose: what reads the files afterwards.

    Raises:
        PatchError: a file is not the pinned version's, or two that need corrections have the same name.
    """
    result: list[Path] = []
    written: dict[str, Path] = {}
    for file in map(Path, files):
        path = library_path(file)
        if path is None or path not in ORIGINAL:
            result.append(file)
            continue
        text = file.read_text()
        changed = patched_text(path, text, purpose)
        if changed == text:
            result.append(file)
            continue
        if written.setdefault(file.name, file) != file:
            raise PatchError(f"two sources to be corrected are called {file.name}: {written[file.name]} and {file}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_text(changed)
        result.append(folder / file.name)
    return result


def patched_rtllib(folder: Path) -> Path:
    """A copy of the installed library with the ``CORRECTNESS`` and ``SPEED`` patches, for FINN to generate from.

    FINN reads where its library is from its settings: ``finn.util.settings.get_settings().finn_rtllib = str(path)``.

    Args:
        folder: where the copy is made, as a folder of the library's name; a copy that is there is made anew.

    Returns:
        The copy's folder.

    Raises:
        PatchError: finn-plus is not installed, or a file that is patched, for whatever purpose, is not its version's.
    """
    source, target = installed_rtllib(), folder / LIBRARY
    for path in ORIGINAL:
        if not _is_original(path, (source / path).read_text()):
            raise PatchError(f"{LIBRARY}/{path} is not the file of finn-plus {VERSION} that the corrections fit")
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path, patches in GENERATED.items():
        (target / path).write_text(_apply((source / path).read_text(), patches))
    return target
