"""Many accelerators at once: every combination, its figures, what is done already, and what failed by name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pleinair.cli.main import main
from pleinair.errors import OptionError
from pleinair.farm import ray_cluster
from pleinair.network.trimming import inset_of
from pleinair.painting.tiles import padded_size
from pleinair_hw import sweep
from pleinair_hw.build import Request
from pleinair_hw.finn.compiler import CompileError
from pleinair_hw.plan.boards import BOARDS, find_board
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.plan.search import fastest_plan
from pleinair_hw.plan.survey import survey
from tests.farms import Village, honest
from tests.hw.finn.test_environment import needs_finn
from tests.models import write_model
from tests.networks import adaptive_network, random_network
from tests.ray_nodes import begun
from tests.rolls import pleinair

SIZES = ((48, 32), (32, 32))


@pytest.fixture
def style(tmp_path) -> str:
    """A small style at 8 bits, as a folder."""
    return str(write_model(tmp_path / "small", random_network(3, width=4, blocks=1, kernel=3)))


def command(style: str, out: Path, *more: str) -> list[str]:
    sizes = [text for width, height in SIZES for text in ("--size", f"{width}x{height}")]
    boards = ["--board", "zcu104", "--board", "pynq-z2"]
    return ["sweep", "--style", style, *sizes, *boards, "--out", str(out), *more]


def names() -> list[str]:
    return [f"small-8bit-{board}-{w}x{h}" for board in ("zcu104", "pynq-z2") for w, h in SIZES]


def test_plans_are_the_surveys_here_and_on_a_cluster(style, tmp_path, capsys, monkeypatch):
    assert main(command(style, tmp_path / "here", "--until", "plan")) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names()) and "sweep.json: all figures" in out
    found = json.loads((tmp_path / "here" / "sweep.json").read_text())
    rows = survey([style], ["zcu104", "pynq-z2"], SIZES, (8,))
    assert [one["fps"] for one in found] == [row.fps for row in rows]
    assert [one["dsp"] for one in found] == [row.total.dsp / row.board.dsp for row in rows]
    assert [one["binds"] for one in found] == [row.binds for row in rows]
    monkeypatch.setattr(ray_cluster, "import_ray", lambda where: None)
    village = Village({"anna": honest, "bert": honest}, seed=5, losses=0.2)
    monkeypatch.setattr(ray_cluster, "RayCluster", lambda where: village)
    assert main(command(style, tmp_path / "there", "--until", "plan", "--on", "ray", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert village.done == 4 and {one["worker"] for one in told} <= {"anna", "bert"}
    untimed = [[{**one, "seconds": 0, "worker": ""} for one in results] for results in (found, told)]
    assert untimed[0] == untimed[1]
    # The survey of `pleinair boards` is searched by workers, too.
    boards = ["boards", "--style", style, "--size", "48x32", "--board", "zcu104", "--json"]
    assert main(boards) == 0
    alone = capsys.readouterr().out
    assert main([*boards, "--on", "ray"]) == 0
    assert capsys.readouterr().out == alone and village.done == 5


def test_what_is_done_stays_done_and_what_failed_is_named_and_tried_again(style, tmp_path, capsys, monkeypatch):
    tried, gaps = list[str](), [names()[-1]]
    (row,) = survey([style], ["zcu104"], [(32, 32)], (8,))

    def build(request):
        tried.append(request.out.parent.name)
        if tried[-1] in gaps:
            raise CompileError("the dataflow has a gap")
        plan = SimpleNamespace(fps=7.0, shares=row.shares, lanes_busy=0.5)
        return SimpleNamespace(nodes=9, plan=plan)

    monkeypatch.setattr(sweep, "survey_network", lambda *_, **__: row)
    monkeypatch.setattr(sweep, "build", build)
    assert main(command(style, tmp_path / "out")) == 1
    out, err = capsys.readouterr()
    assert tried == names() and "the dataflow has a gap" in out
    assert f"{names()[-1]}: the dataflow has a gap" in err
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [bool(one["failed"]) for one in found] == [False, False, False, True]
    assert [one["nodes"] for one in found] == [9, 9, 9, None]
    # What was built, and the fastest plan where nothing was.
    assert [one["fps"] for one in found] == [7.0, 7.0, 7.0, row.fps]
    gaps.clear()
    assert main(command(style, tmp_path / "out")) == 0
    assert tried[4:] == names()[-1:]
    # A damaged result and a network that changed are done again.
    (tmp_path / "out" / names()[0] / "result.json").write_text("{")
    write_model(Path(style), random_network(4, width=4, blocks=1, kernel=3))
    tried.clear()
    assert main(command(style, tmp_path / "out")) == 0 and tried == names()


def test_every_combination_once(style, tmp_path, capsys):
    wanted = sweep.tasks([style], list(BOARDS), SIZES, (4, 8), tmp_path, fps=12.5, clock_mhz=90, pumped=True)
    assert len(wanted) == 5 * 2  # it has no network at 4 bits
    assert wanted[0].configuration.name == "small-8bit-pynq-z2-48x32-12.5fps-90mhz-pumped"
    with pytest.raises(OptionError, match="no style has a network of these"):
        sweep.tasks([style], ["zcu104"], SIZES, (4,), tmp_path)
    other = write_model(tmp_path / "other" / "small", random_network(5, width=4, blocks=1, kernel=3))
    with pytest.raises(OptionError, match="another style is called small"):
        sweep.tasks([style, str(other)], ["zcu104"], SIZES, (8,), tmp_path)
    assert main(["sweep", "--size", "48x32", "--board", "zx81", "--out", str(tmp_path / "x")]) == 2
    assert "zx81" in capsys.readouterr().err


def test_trimmed_accelerators_stand_beside_untrimmed_ones(tmp_path, capsys):
    network = adaptive_network(3, width=2)
    style = str(write_model(tmp_path / "small", network, margin=inset_of(network)))
    out = tmp_path / "out"
    plans = command(style, out, "--until", "plan", "--json")
    assert main(plans) == 0
    plain = json.loads(capsys.readouterr().out)
    # As they were before anything could be trimmed.
    for file in out.glob("*/result.json"):
        values = json.loads(file.read_text())
        assert values["configuration"].pop("trimmed") is False
        file.write_text(json.dumps(values))
    files = {file: file.read_bytes() for file in out.glob("*/result.json")}
    assert main([*plans, "--trim"]) == 0
    trimmed = json.loads(capsys.readouterr().out)
    folders = [f"{name}-trimmed" for name in names()]
    assert sorted(file.parent.name for file in out.glob("*/result.json")) == sorted([*names(), *folders])
    for folder, one in zip(folders, trimmed, strict=True):
        assert json.loads((out / folder / "result.json").read_text()) == one
        assert one["configuration"]["trimmed"] is True
    # Each is the fastest plan of its kind, found here without the sweep.
    sizes = [padded_size(h, w, inset_of(network), network.stride) for w, h in SIZES] * 2
    boards = [find_board(name) for name in ("zcu104", "pynq-z2") for _ in SIZES]
    for found, options in ((plain, BuildOptions()), (trimmed, BuildOptions(trimmed=True))):
        for one, (height, width), board in zip(found, sizes, boards, strict=True):
            plan = fastest_plan(network, height, width, board, options=options)
            assert (one["fps"], one["lut"]) == (plan.fps, plan.shares["lut"])
    assert all(one["lut"] != other["lut"] for one, other in zip(trimmed, plain, strict=True))
    # Neither is done again, and neither is taken for the other.
    files |= {file: file.read_bytes() for file in out.glob("*-trimmed/result.json")}
    for more, found in (([], plain), (["--trim"], trimmed)):
        assert main([*plans, *more]) == 0
        assert json.loads(capsys.readouterr().out) == found
    assert files == {file: file.read_bytes() for file in out.glob("*/result.json")}


def test_a_trimmed_build_is_asked_for(tmp_path, monkeypatch):
    network = adaptive_network(3, width=2)
    style = str(write_model(tmp_path / "small", network, margin=inset_of(network)))
    asked = list[Request]()

    def build(request: Request) -> SimpleNamespace:
        asked.append(request)
        shares = dict.fromkeys(("dsp", "bram", "uram", "lut"), 0.1)
        return SimpleNamespace(nodes=9, plan=SimpleNamespace(fps=7.0, shares=shares, lanes_busy=0.5))

    monkeypatch.setattr(sweep, "build", build)
    wanted = sweep.tasks([style], ["zcu104"], [(48, 32)], (8,), tmp_path / "out", trimmed=True)
    (result,) = sweep.run(wanted)
    assert result.right and result.nodes == 9
    assert [request.options for request in asked] == [BuildOptions(trimmed=True)]


def test_what_cannot_be_trimmed_is_no_failure_and_says_why(style, tmp_path):
    strided = str(write_model(tmp_path / "strided", random_network(3, width=4, blocks=1, kernel=3)))
    network = adaptive_network(3, width=2)
    narrow = str(write_model(tmp_path / "narrow", network, margin=inset_of(network) - 1))
    wanted = sweep.tasks([strided, narrow], ["zcu104"], [(48, 32)], (8,), tmp_path / "out", trimmed=True)
    results = sweep.run(wanted)
    assert all(result.right and result.fps is None and result.nodes is None for result in results)
    assert "stride" in results[0].binds
    assert f"takes {inset_of(network)} pixels from each side, the margin has" in results[1].binds
    assert sweep.left(wanted)[0] == []


def test_what_does_not_fit_is_no_failure(tmp_path):
    wide = str(write_model(tmp_path / "wide", random_network(3, width=32, blocks=3)))
    (task,) = sweep.tasks([wide], ["pynq-z2"], [(3840, 2160)], (8,), tmp_path / "out")
    (result,) = sweep.run([task])
    assert result.right and result.fps is None and result.nodes is None and result.binds.startswith("needs ")


@pytest.mark.slow
@needs_finn
def test_builds_and_simulations_on_ray(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[farm]'")
    with begun(monkeypatch) as nodes:
        for _ in range(2):
            nodes.add(1)
        command = ["sweep", "--style", "starry-night-small", "--bits", "8", "--size", "16x16", "--fps", "20"]
        command += ["--board", "zcu104", "--board", "pynq-z2", "--until", "simulate", "--out", str(tmp_path / "out")]
        process = pleinair(*command, "--json", "--on", f"ray:{nodes.address}", deadline=3600)
        out, err = process.communicate()
    assert process.returncode == 0, err
    found = json.loads(out)
    assert [one["differing"] for one in found] == [0, 0]
    assert all(one["nodes"] > 20 and one["latency"] > 96 * 96 for one in found)
    assert len({one["worker"] for one in found}) == 2
    print([one["seconds"] for one in found], err)
