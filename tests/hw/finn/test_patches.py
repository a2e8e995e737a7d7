"""The corrections of FINN's RTL library: they fit the installed text, only it, and say so when they do not."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path

import pytest

from pleinair_hw.finn import patches
from pleinair_hw.finn.patches import PatchError

try:
    LIBRARY = patches.installed_rtllib()
except PatchError:
    LIBRARY = Path()
needs_finn = pytest.mark.skipif(Path() == LIBRARY, reason="finn-plus is not installed")
EVERY = [
    patches.lengthen_output_queue,
    patches.hoist_leaf_loads,
    patches.pack_address_widths,
    patches.drop_startup_watchdog,
    patches.share_core,
    patches.drop_arithmetic,
    patches.drop_default_nettype,
    patches.queue_weights_in_memory,
    patches.queue_results_in_memory,
    patches.lower_memory_styles,
    patches.choose_upper_memory,
    patches.choose_replay_memory,
    patches.keep_valid,
    patches.mark_weights_in_tables,
    patches.keep_differences,
    patches.register_increment,
]


@pytest.mark.parametrize("patch", EVERY)
def test_a_patch_that_fits_nowhere_says_so(patch):
    with pytest.raises(PatchError, match=patch.__name__):
        patch("module other;\nendmodule\n")


@needs_finn
@pytest.mark.parametrize(
    ("purpose", "path", "patch"),
    [
        (purpose, path, patch)
        for purpose, table in (("both", patches.GENERATED), *patches.PURPOSES.items())
        for path, all_patches in table.items()
        for patch in all_patches
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_changes_the_installed_file_once(purpose, path, patch):
    text = (LIBRARY / path).read_text()
    changed = patch(text)
    assert changed != text
    with pytest.raises(PatchError):
        patch(changed)


@needs_finn
def test_what_the_patches_leave_in_the_files():
    queue = patches.patched_text("mvu/mvu_vvu_axi.sv", (LIBRARY / "mvu/mvu_vvu_axi.sv").read_text(), "simulation")
    assert re.search(r"MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH \+ 3;", queue)
    tree = patches.patched_text("mvu/add_multi.sv", (LIBRARY / "mvu/add_multi.sv").read_text(), "simulation")
    assert tree.index("function leaf_load_t init_leaf_loads") < tree.index("begin : genTrivial")
    assert tree.count("init_leaf_loads()") == 2
    fifo = patches.patched_text("fifo/hdl/fifo.sv", (LIBRARY / "fifo/hdl/fifo.sv").read_text(), "synthesis")
    assert "`default_nettype" not in fifo and "struct packed {" in fifo and "struct {" not in fifo


@needs_finn
def test_for_a_bitstream_every_memory_names_its_style_as_yosys_reads_it():
    for path in ("fifo/hdl/fifo.sv", "memstream/hdl/memstream.sv", "mvu/replay_buffer.sv", "mvu/mvu_vvu_axi.sv"):
        text = patches.patched_text(path, (LIBRARY / path).read_text(), "routing")
        memories = re.findall(r"^(.*)\n\s*\w+  \w*(?:Mem\w*|OSrl|OBuf)\[.*\];$", text, re.M)
        assert memories and all("(* ram_style = " in line for line in memories), (path, memories)
    axilite = patches.patched_text("axi/hdl/axilite.sv", (LIBRARY / "axi/hdl/axilite.sv").read_text(), "routing")
    assert re.findall(r"(\w+)\.vld <= \1\.vld \|\| (\w+);", axilite) == [
        ("RAddr", "arvalid"),
        ("WAddr", "awvalid"),
        ("WData", "wvalid"),
    ]


@needs_finn
def test_sources_for_a_purpose(tmp_path):
    files = [LIBRARY / path for path in ("mvu/mvu_pkg.sv", "mvu/mvu_vvu_axi.sv", "mvu/mvu.sv", "dwc/hdl/vpc.sv")]
    own = tmp_path / "mvu.sv"
    own.write_text("module mine;\nendmodule\n")
    simulated = patches.patched_sources([*files, own], tmp_path / "a", "simulation")
    assert simulated == [files[0], tmp_path / "a/mvu_vvu_axi.sv", tmp_path / "a/mvu.sv", files[3], own]
    synthesised = patches.patched_sources(files, tmp_path / "b", "synthesis")
    assert synthesised[3] == tmp_path / "b/vpc.sv"
    assert "blkRecoveryWatch" not in simulated[2].read_text()


@needs_finn
def test_the_corrected_library_differs_in_the_corrected_files_only(tmp_path):
    copy = patches.patched_rtllib(tmp_path)
    assert copy.name == patches.LIBRARY
    inside = [str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()]
    _, mismatch, errors = filecmp.cmpfiles(LIBRARY, copy, inside, shallow=False)
    assert (sorted(mismatch), errors) == (sorted(patches.GENERATED), [])
    again = patches.patched_rtllib(tmp_path)
    assert filecmp.cmp(again / "mvu/mvu_vvu_axi.sv", copy / "mvu/mvu_vvu_axi.sv", shallow=False)


@needs_finn
def test_a_corrected_library_is_not_corrected_twice(tmp_path):
    copy = patches.patched_rtllib(tmp_path)
    files = [Path("mvu/mvu_vvu_axi.sv"), Path("mvu/mvu.sv")]
    from_copy = patches.patched_sources([copy / f for f in files], tmp_path / "a", "simulation")
    from_original = patches.patched_sources([LIBRARY / f for f in files], tmp_path / "b", "simulation")
    assert [f.read_text() for f in from_copy] == [f.read_text() for f in from_original]


@needs_finn
@pytest.mark.parametrize("path", sorted(patches.ORIGINAL))
def test_another_text_than_the_pinned_one_is_refused(tmp_path, path):
    file = tmp_path / patches.LIBRARY / path
    file.parent.mkdir(parents=True)
    file.write_text((LIBRARY / path).read_text().replace("\n", "\n// another release\n", 1))
    with pytest.raises(PatchError, match=f"{path} is not the file of finn-plus {patches.VERSION}"):
        patches.patched_sources([file], tmp_path / "out", "synthesis")


@needs_finn
def test_an_altered_installation_is_not_copied(tmp_path, monkeypatch):
    altered = patches.patched_rtllib(tmp_path / "altered")  # stands in for an installation: its MVU is not the original
    monkeypatch.setattr(patches, "installed_rtllib", lambda: altered)
    with pytest.raises(PatchError, match="mvu_vvu_axi.sv is not the file"):
        patches.patched_rtllib(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@needs_finn
def test_two_sources_of_one_name(tmp_path):
    other = patches.patched_rtllib(tmp_path / "other")
    with pytest.raises(PatchError, match="two sources to be corrected are called mvu.sv"):
        patches.patched_sources([LIBRARY / "mvu/mvu.sv", other / "mvu/mvu.sv"], tmp_path / "out", "simulation")
