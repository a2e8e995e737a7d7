"""Deployment folders without Vivado, and what is copied to a board; no pynq needed."""

from __future__ import annotations

import ast
import io
import json
import os
import stat
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from pleinair.cli.main import main
from pleinair.doctor import board as doctor
from pleinair.doctor.board import (
    look_at_board,
    look_at_buffers,
    look_at_light,
    look_at_name,
    look_at_rights,
    look_at_version,
)
from pleinair.emulator.stand_in import stand_in
from pleinair.errors import OptionError
from pleinair.fpga.build_folder import Build, read_build
from pleinair.fpga.deployment import DeploymentError, read_deployment, write_manifest
from pleinair.fpga.handoff import is_zynq_7000, light_port, weight_ports
from pleinair.fpga.overlay import Overlay
from pleinair.fpga.package import UNPACK, find_deployment, frame_size, instructions, package
from pleinair.images import write_image
from tests import children
from tests.house import ROOT
from tests.models import write_model
from tests.networks import adaptive_network, random_network


@pytest.fixture
def deployment(tmp_path):
    model = write_model(tmp_path / "model", random_network(1, 4, 0, 8, 3), 16)
    return stand_in(tmp_path / "deploy", model, 8, board="zcu104", clock_mhz=300, height=64, width=96, writeable=2)


def build_folder(folder, **changes):
    folder.mkdir()
    state = {
        "format": "pleinair-build",
        "version": 1,
        "state": "complete",
        "bits": 8,
        "board": "kv260",
        "clock_mhz": 300.0,
        "height": 96,
        "width": 96,
        "request": {"model": "starry-night-small", "size": [16, 16]},
        "style": "The Starry Night",
        "margin": 40,
        "grain": 2,
        "network_sha256": 64 * "0",
        **changes,
    }
    (folder / "build.json").write_text(json.dumps(state))
    return folder


def test_a_stand_in_is_a_deployment(deployment):
    again = read_deployment(deployment.folder)
    assert again == deployment
    assert (again.height, again.width, again.style, again.board, again.clock_mhz) == (64, 96, "model", "zcu104", 300)
    assert again.engines == ("idma0", "odma0") and again.runtime_weights == []
    assert not is_zynq_7000(again.bitfile.with_suffix(".hwh"))
    ports = weight_ports(again.bitfile.with_suffix(".hwh"))
    assert ports == {(1, 0): (0xA0020000, 0x10000), (1, 1): (0xA0030000, 0x10000)}
    again.bitfile.write_bytes(b"x")
    with pytest.raises(DeploymentError, match="finn-accel.bit is damaged"):
        read_deployment(deployment.folder)


def test_files_of_weights_come_in_the_order_of_layers(deployment):
    folder = deployment.folder / "driver" / "runtime_weights"
    folder.mkdir()
    for layer in (10, 2, 0):
        (folder / f"1_{layer}_MVAU.dat").write_text("0\n")
    assert [file.name for file in deployment.runtime_weights] == ["1_0_MVAU.dat", "1_2_MVAU.dat", "1_10_MVAU.dat"]


def test_builds(tmp_path, deployment):
    facts = read_build(build_folder(tmp_path / "build"))
    assert (facts.model, facts.bits, facts.board, facts.height) == ("starry-night-small", 8, "kv260", 96)
    with pytest.raises(OptionError, match="needs Vivado.*emulated:"):
        find_deployment(tmp_path / "build")
    (tmp_path / "build" / "deploy").symlink_to(deployment.folder)
    assert find_deployment(tmp_path / "build").board == "zcu104"
    with pytest.raises(DeploymentError, match="interrupted"):
        read_build(build_folder(tmp_path / "cut", state="started"))
    for number, broken in enumerate(({"format": "x"}, {"request": None}, {"height": "x"})):
        with pytest.raises(DeploymentError, match="not a build folder"):
            read_build(build_folder(tmp_path / f"broken{number}", **broken))


def test_the_package_holds_what_a_board_needs(tmp_path, deployment):
    data = package(deployment.folder)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        assert all(name.startswith("pleinair/") for name in names)
        tar.extractall(tmp_path / "board")
    home = tmp_path / "board" / "pleinair"
    assert read_deployment(home / "deploy").style == "model"
    assert not any("pleinair_training" in name or "pleinair_hw" in name or "/models/" in name for name in names)
    for script in ("pleinair", "install.sh"):
        assert os.stat(home / script).st_mode & stat.S_IXUSR
        assert children.run(["bash", "-n", home / script]).returncode == 0
    # What the program imports of its own is there, from a folder that has nothing else.
    code = f"import sys; sys.path.insert(0, {str(home / 'lib')!r}); "
    code += "import pleinair.cli.main, pleinair.backends, pleinair.films.recorder; print(pleinair.cli.main.__file__)"
    done = children.python("-I", "-c", code, cwd=tmp_path)
    assert done.stdout.strip() == str(home / "lib" / "pleinair" / "cli" / "main.py"), done.stderr
    width, height = frame_size(deployment)
    assert (width, height) == (64, 32) and 'size = "64x32"' in (home / "film.default.toml").read_text()
    assert not (home / "film.toml").exists()
    assert (home / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for file in (home / "lib").rglob("*.py"):
        ast.parse(file.read_text(), feature_version=(3, 10))


@pytest.fixture
def board(tmp_path, deployment):
    """The package unpacked, and an environment with stand-ins for the board's python3, pip and systemctl."""
    with tarfile.open(fileobj=io.BytesIO(package(deployment.folder))) as tar:
        tar.extractall(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, text in (
        ("python3", 'printf "%s\\n" "$PYTHONPATH" "$PLEINAIR_OVERLAY" "$@"\n'),
        ("systemctl", ""),
        ("sed", "exec /bin/sed s/x/x/ /dev/null\n"),
    ):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
    return (tmp_path / "pleinair").resolve(), {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the launcher does")
def test_the_launcher_paints_with_the_overlay_beside_it(board):
    home, variables = board

    def said(*arguments):
        return children.run([home / "pleinair", *arguments], env=variables, check=True).stdout.splitlines()

    lines = said("paint", "a photo.jpg", "out.png")
    assert lines[:2] == [str(home / "lib"), f"{home}/deploy"]
    assert lines[4:] == ["paint", "a photo.jpg", "out.png"]
    assert said("run", "--backend", "cpu")[4:] == ["run", "--backend", "cpu"]


def test_on_a_board_its_overlay_paints_unless_the_user_says_otherwise(tmp_path, deployment, monkeypatch, capsys):
    write_image(tmp_path / "photo.png", np.full((32, 64, 3), 90, np.uint8))
    monkeypatch.setenv("PLEINAIR_OVERLAY", str(tmp_path / "none"))
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path))
    paint = ["paint", str(tmp_path / "photo.png"), str(tmp_path / "painting.png")]
    assert main(paint) == 2 and f"{tmp_path / 'none'}/hashes.json: No such file" in capsys.readouterr().err
    given = str(deployment.folder)
    monkeypatch.setitem(sys.modules, "pynq", None)
    assert main([*paint, "--overlay", given]) == 2 and "--backend fpga needs pynq" in capsys.readouterr().err
    (tmp_path / "film.toml").write_text('backend = "reference"\n')
    for options in (["--backend", "reference"], ["--config", str(tmp_path / "film.toml")]):
        assert main([*paint, "--style", "model", *options]) == 0
        (tmp_path / "painting.png").unlink()
    assert main([*paint, "--backend", "cpu", "--overlay", given]) == 2
    assert f"--overlay {given}: needs --backend fpga" in capsys.readouterr().err


def unpack(file, where):
    children.run(["sh", "-c", f"{UNPACK} '{file}'"], cwd=where, check=True)


def test_a_second_deployment_replaces_the_first_and_nothing_of_the_user(tmp_path, deployment):
    (tmp_path / "box.tar.gz").write_bytes(package(deployment.folder))
    home = tmp_path / "pleinair"
    unpack(tmp_path / "box.tar.gz", tmp_path)
    stray = [home / "deploy" / "driver" / "runtime_weights" / "1_0_OLD.dat", home / "lib" / "pleinair" / "old.py"]
    mine = [home / "film.toml", home / "roll" / "roll.json"]
    for path in (*stray, *mine):
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept")
    unpack(tmp_path / "box.tar.gz", tmp_path)
    assert not any(path.exists() for path in stray) and all(path.read_text() == "kept" for path in mine)
    assert read_deployment(home / "deploy").style == "model"


def test_installing_keeps_the_users_film_and_refuses_a_place_that_no_unit_can_name(board):
    home, variables = board
    script = (home / "install.sh").read_text().replace("/etc/systemd/system/pleinair.service", str(home / "unit"))
    (home / "install.sh").write_text(script)
    assert "Kept" not in children.run([home / "install.sh"], env=variables, check=True).stdout
    assert (home / "film.toml").read_text() == (home / "film.default.toml").read_text()
    (home / "film.toml").write_text("mine")
    assert f"Kept:        {home}/film.toml" in children.run([home / "install.sh"], env=variables, check=True).stdout
    assert (home / "film.toml").read_text() == "mine"
    odd = home.with_name("my box & co")
    home.rename(odd)
    done = children.run([odd / "install.sh"], env=variables)
    assert done.returncode == 1 and "cannot be in a folder of this name" in done.stderr


@pytest.mark.parametrize("name", ["box.tar.gz", "my box.tar.gz", "-C.tar.gz", "a:b.tgz", "x; touch gotcha", "it's.tgz"])
def test_the_printed_lines_work_for_any_name(tmp_path, deployment, monkeypatch, capsys, name):
    """With stand-ins for scp and ssh that give their words to a shell once more, as sshd does."""
    for part in ("bin", "here", "board"):
        (tmp_path / part).mkdir()
    board = tmp_path / "board"
    for program, text in (
        (
            "scp",
            '[ "$2" = xilinx@pynq: ] || exit 9\n'
            f'case "$1" in -* | [!./]*:*) exit 9 ;; esac\n[ $# = 2 ] && cp "$1" {board}\n',
        ),
        ("ssh", f'[ "$1" = xilinx@pynq ] || exit 0\ncd {board}\neval "$2"\n'),
    ):
        (tmp_path / "bin" / program).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path / "here")
    assert main(["deploy", str(deployment.folder), f"--out={name}"]) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    for line in lines:
        children.run(["sh", "-c", line], check=True, cwd=tmp_path / "here")
    assert read_deployment(board / "pleinair" / "deploy").style == "model"
    assert sorted(os.listdir(board)) == sorted([name, "pleinair"]) and os.listdir(tmp_path / "here") == [name]
    assert main(["deploy", str(deployment.folder), "--out=a\nb"]) == 2
    assert "cannot be part of a command" in capsys.readouterr().err


def test_deploy_sends_it_by_ssh(tmp_path, deployment, monkeypatch, capsys):
    """The ssh here unpacks where it is told."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(
        f'#!/bin/sh\n[ "$2" = xilinx@board ] || {{ echo "no route to $2" >&2; exit 255; }}\ncd {tmp_path}\neval "$3"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert main(["deploy", str(deployment.folder), "--to", "xilinx@board"]) == 0
    assert "sudo pleinair/install.sh" in capsys.readouterr().out
    assert read_deployment(tmp_path / "pleinair" / "deploy").board == "zcu104"
    assert main(["deploy", str(deployment.folder), "--to", "xilinx@elsewhere"]) == 2
    assert "no route to xilinx@elsewhere" in capsys.readouterr().err
    for address in ("-oProxyCommand=x", "a b", ""):
        assert main(["deploy", str(deployment.folder), f"--to={address}"]) == 2
        assert "USER@BOARD" in capsys.readouterr().err


def test_deploy_writes_a_file_and_three_lines(tmp_path, deployment, capsys):
    file = tmp_path / "box.tar.gz"
    assert main(["deploy", str(deployment.folder), "--out", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-3:] == instructions(file).splitlines()
    assert len(instructions(file).splitlines()) == 3
    with tarfile.open(file) as tar:
        assert "pleinair/deploy/hashes.json" in tar.getnames()
    for options in ([], ["--to", "a@b", "--out", str(file)]):
        assert main(["deploy", str(deployment.folder), *options]) == 2
        assert "give --to" in capsys.readouterr().err
    assert main(["deploy", str(deployment.folder), "--out", str(tmp_path / "no" / "file")]) == 2
    assert "No such file" in capsys.readouterr().err


# -- the doctor


def test_the_doctor_looks_at_the_overlay_first(tmp_path, deployment):
    (finding,) = look_at_board(Overlay(tmp_path / "nowhere"))
    assert finding.state == "bad" and "hashes.json" in finding.found and finding.remedy
    first = next(look_at_board(Overlay(deployment.folder)))
    assert first.state == "good" and "model at 8 bits for zcu104, tiles of 96x64" in first.found
    first = next(look_at_board(Overlay(build_folder(tmp_path / "build"), "emulated")))
    assert first.state == "good" and "a build for kv260" in first.found


def test_the_doctor_names_what_is_amiss_on_a_board(tmp_path, deployment):
    assert look_at_rights(1000, {"XILINX_XRT": "/usr"}).state == "bad"
    assert "XILINX_XRT" in look_at_rights(0, {}).found
    assert look_at_rights(0, {"XILINX_XRT": "/usr"}).state == "good"
    assert look_at_name("ZCU104", deployment).state == "good"
    assert look_at_name("", deployment).state == "doubtful"
    assert look_at_name("Pynq-Z2", deployment).found == "Pynq-Z2, the overlay is for zcu104"
    assert look_at_version("4.0.0", deployment).state == "good"
    small = stand_in(tmp_path / "z2", deployment.model, 8, board="pynq-z2", clock_mhz=100, height=64, width=96)
    assert look_at_version("4.0.0", small).state == "bad" and look_at_version("3.1.2", small).state == "good"
    meminfo = tmp_path / "meminfo"
    for free, state in ((72, "good"), (71, "bad")):
        meminfo.write_text(f"MemTotal: 1 kB\nCmaFree: {free} kB\n")
        assert look_at_buffers(deployment, meminfo).state == state
    meminfo.write_text("MemTotal: 1 kB\n")
    assert look_at_buffers(deployment, meminfo).state == "doubtful"


def test_without_pynq_the_command_says_what_to_do(tmp_path, deployment, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynq", None)
    for overlay in (str(deployment.folder), f"emulated:{deployment.folder}"):
        assert main(["bench", "--backend", "fpga", "--overlay", overlay, "--frames", "1"]) == 2
        said = capsys.readouterr().err
        assert "--backend fpga needs pynq: run it on a PYNQ board, as root" in said


def test_what_a_build_writes_is_what_is_read(tmp_path):
    """The text, too: builds on people's disks are read for ever."""
    made = Build(
        request={"model": "starry-night-small", "board": "kv260", "size": [16, 16]},
        style="The Starry Night",
        bits=8,
        margin=40,
        grain=2,
        height=96,
        width=96,
        board="kv260",
        clock_mhz=300.0,
        network_sha256=64 * "0",
    )
    made.write(tmp_path, "started")
    with pytest.raises(DeploymentError, match="interrupted"):
        read_build(tmp_path)
    made.write(tmp_path, "complete")
    assert read_build(tmp_path) == made and made.size == (16, 16) and made.model == "starry-night-small"
    assert (tmp_path / "build.json").read_text() == (
        '{\n "format": "pleinair-build",\n "version": 1,\n "state": "complete",\n "request": {\n'
        '  "model": "starry-night-small",\n  "board": "kv260",\n  "size": [\n   16,\n   16\n  ]\n },\n'
        ' "style": "The Starry Night",\n "bits": 8,\n "margin": 40,\n "grain": 2,\n "height": 96,\n "width": 96,\n'
        ' "board": "kv260",\n "clock_mhz": 300.0,\n "network_sha256": "' + 64 * "0" + '"\n}\n'
    )


# -- adaptive styles


def adaptive_deployment(tmp_path, metering=True, trimmed=False):
    model = write_model(tmp_path / f"model{metering}", adaptive_network(1, 4, 1, 8, 3), 16)
    options = {"board": "zcu104", "clock_mhz": 300, "height": 64, "width": 96, "metering": metering}
    return stand_in(tmp_path / f"deploy{metering}", model, 8, trimmed=trimmed, **options)


def test_the_map_of_the_light_is_part_of_the_deployment(tmp_path):
    deployment = adaptive_deployment(tmp_path)
    assert read_deployment(deployment.folder) == deployment and len(deployment.light.stations) == 4
    address, size = light_port(deployment.bitfile.with_suffix(".hwh"))
    assert address % size == 0 and size >= deployment.light.bytes
    with tarfile.open(fileobj=io.BytesIO(package(deployment.folder))) as tar:
        settings = json.load(tar.extractfile("pleinair/deploy/driver/settings.json"))
    assert settings["light"] == deployment.light.to_json()
    file = deployment.folder / "driver" / "settings.json"
    settings["light"]["stations"][0]["channels"] += 1
    file.write_text(json.dumps(settings))
    with pytest.raises(DeploymentError, match=r"settings.json is damaged"):
        read_deployment(deployment.folder)
    with pytest.raises(DeploymentError, match=r"settings.json: light: \w+"):
        write_manifest(deployment.folder, board="zcu104", clock_mhz=300, style="model", bits=8)


def test_a_trimmed_builds_facts_are_read_again(tmp_path):
    request = {"model": "starry-night", "board": "kv260", "size": [16, 16]}
    numbers = {"bits": 8, "margin": 32, "grain": 2, "height": 80, "width": 80, "clock_mhz": 300.0, "inset": 32}
    made = Build(request=request, style="The Starry Night", board="kv260", network_sha256=64 * "0", **numbers)
    made.write(tmp_path, "complete")
    assert read_build(tmp_path) == made


def test_a_trimmed_deployment_says_how_much_of_a_frame_comes_out(tmp_path):
    deployment = adaptive_deployment(tmp_path, trimmed=True)
    shapes = deployment.settings["io_shape_dict"]
    inset = deployment.inset
    (_, tall, wide, _), (_, rows, columns, _) = (shapes[f"{end}shape_normal"][0] for end in "io")
    assert (tall, wide) == (deployment.height, deployment.width)
    assert inset > 0 and (rows, columns) == (tall - 2 * inset, wide - 2 * inset)
    assert all(s.height < tall // 2 and s.width < wide // 2 for s in deployment.light.stations)
    file = deployment.folder / "driver" / "settings.json"
    told = json.loads(file.read_text())
    for high, across in ((rows, columns + 2), (rows + 1, columns + 1), (tall + 2, wide + 2), (0, columns)):
        told["driver_information"]["io_shape_dict"]["oshape_normal"] = [[1, high, across, 3]]
        file.write_text(json.dumps(told))
        with pytest.raises(DeploymentError, match="is not the description of an accelerator that paints RGB frames"):
            write_manifest(deployment.folder, board="zcu104", clock_mhz=300, style="model", bits=8)


def test_other_deployments_have_no_port_for_light(deployment):
    assert deployment.light is None and light_port(deployment.bitfile.with_suffix(".hwh")) == (0, 0)
    assert list(look_at_light(deployment)) == []


@pytest.mark.parametrize(
    "metering, installed, state, said",
    (
        (True, False, "good", "; the accelerator meters"),
        (False, True, "good", "; the processor meters"),
        (False, False, "doubtful", "; the processor meters in NumPy, slowly"),
    ),
)
def test_the_doctor_says_who_meters(tmp_path, monkeypatch, metering, installed, state, said):
    monkeypatch.setattr(doctor, "find_spec", lambda _: installed or None)
    deployment = adaptive_deployment(tmp_path, metering)
    (finding,) = look_at_light(deployment)
    assert finding.subject == "light" and finding.state == state and finding.found.endswith(said)
    assert finding.found.startswith("registers for 4 adaptive convolutions, map ") and bool(finding.remedy) != (
        state == "good"
    )


def test_the_doctor_sees_what_lacks_for_light(tmp_path, monkeypatch):
    deployment = adaptive_deployment(tmp_path)
    (finding,) = look_at_light(replace(deployment, light=None))
    assert finding.state == "bad" and "has no registers for light, which model needs" in finding.found
    monkeypatch.setattr(doctor, "light_port", lambda _: (0, 0))
    (finding,) = look_at_light(deployment)
    assert finding.state == "bad" and "no port for all of it" in finding.found
