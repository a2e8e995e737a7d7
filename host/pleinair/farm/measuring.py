"""What sharing costs: one film painted by a cluster, by one machine, and the painter alone, on the same cores.

    python -m pleinair.farm.measuring                                             # 2,000 frames of 640x480
    python -m pleinair.farm.measuring --frames 100000 --size 48x48 --ways farm

The film is a roll of the synthetic day, drawn beforehand. Each way paints it in a process of its own:

``painter``   the painter alone: frames that are decoded already, in the film's light, and nothing is done with them
``alone``     `pleinair repaint ROLL`: this machine reads, steadies, paints, tones, steadies, encodes and keeps
``farm``      `pleinair repaint ROLL --on ray`: the same on a cluster of Ray's on the same cores
``apart``     the same with one worker that has the last core to itself; the machine with the roll has the others
``painter1``  the painter alone on that last core

Each way first begins its processes, opens its painters and paints or meters a few frames. The seconds of that, and of
ending, are told beside the rate, which is that of all frames without them. Processor time is that of all processes, by
what they are; what they took for that opening is told by itself, since it does not grow with the film, and a frame's
processor time is without it. (The command of ``farm`` opens a painter of its own for audits; that counts as painting.)

Memory is that of the processes' own (anonymous pages), and the most that lies in Ray's store; both are looked at once
a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pleinair.cameras.opening import CameraSource
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.durable import file_sha256
from pleinair.errors import OptionError
from pleinair.farm.cluster import Cluster, Where
from pleinair.farm.ray_cluster import RayCluster
from pleinair.farm.repaint import paint_on
from pleinair.farm.work import METER, PAINT, Job, work
from pleinair.films.lighting import choose_lighting, default_every
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.films.tone import choose_tone
from pleinair.machine import cores, this_machine
from pleinair.models import DEFAULT_STYLE, load_model
from pleinair.painting.painter import Painter
from pleinair.rolls.developer import load_network, open_look
from pleinair.rolls.finish import paint_all
from pleinair.rolls.originals import find_originals, load_original, original_path
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings

#: Frames that are drawn; a longer film shows them again, backwards and forwards.
_DISTINCT = 32
#: Seconds of scene between two of them.
_STEP = 30.0
#: Frames before those that count, for each core, where the painter is alone.
_WARM_UP = 2
#: Seconds between two looks at the processes.
_LOOK = 1.0
#: The least side that the day is drawn at; smaller frames are scaled down from it.
_LEAST = 160
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Kind:
    """Processes of one kind: processor seconds of all, and the most memory of their own, in MB, by part of the film.

    ``opening``: those of them that opening took. ``memory`` has the most of each tenth of the time.
    """

    processor: float = 0.0
    opening: float = 0.0
    memory: list[float] = field(default_factory=list)


@dataclass
class Way:
    """How one way went: seconds of beginning, painting and ending; frames a second of painting; the film's pieces."""

    frames: int
    begin: float
    paint: float
    end: float
    rate: float
    kinds: dict[str, Kind] = field(default_factory=dict)
    #: Processor seconds of opening, by kind of process.
    opened: dict[str, float] = field(default_factory=dict)
    #: The most bytes in Ray's store, in MB.
    store: float = 0.0
    #: Processor milliseconds of a frame in each thread of the machine with the roll, and of work at workers.
    stages: dict[str, float] = field(default_factory=dict)
    #: SHA-256 of each piece.
    pieces: dict[str, str] = field(default_factory=dict)

    @property
    def processor_ms(self) -> float:
        """Processor time of a frame, of all processes together and without opening, in milliseconds."""
        return 1e3 * sum(kind.processor - kind.opening for kind in self.kinds.values()) / self.frames


def make_roll(folder: Path, frames: int, size: tuple[int, int], style: str, bits: int) -> Path:
    """A captured roll that nobody has painted, as `pleinair run --camera video:...` keeps one."""
    model = load_model(style, bits)
    every = default_every(CameraSource("video"), None)
    lighting = choose_lighting(None, None, adaptive=model.adaptive, default=every)
    look = Look(
        style,
        bits,
        steady=DEFAULT_STRENGTH,
        light=lighting.light,
        light_every=lighting.every,
        tone=choose_tone(None, adaptive=model.adaptive),
        network=model.sha256,
    )
    factor = max(1, -(-_LEAST // min(size)))
    drawn = SyntheticCamera((size[0] * factor, size[1] * factor), _DISTINCT, every=_STEP, start=12 * 3600.0).frames()
    pictures = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in drawn]
    with Roll.create(folder, Settings(camera="synthetic", size=size, look=look, frames=frames)) as roll:
        roll.begin(time.time(), 0.0)
        there_and_back = itertools.cycle([*pictures, *pictures[-2:0:-1]])
        for number, picture in enumerate(itertools.islice(there_and_back, frames)):
            roll.keep(picture, Captured(t=number / 24, wall=1.8e9 + number / 24))
    return folder


# -- the ways, each in a process of its own


def _pictures(roll: Roll) -> list[np.ndarray]:
    """The first frames of a roll, uint8 [H, W, 3] each."""
    numbers = itertools.islice(find_originals(roll.originals, roll.settings.spool), _DISTINCT)
    return [load_original(original_path(roll.originals, n, roll.settings.spool))[1] for n in numbers]


def _warm(look: Look, frames: Iterable[np.ndarray]) -> Painter:
    """The painter of a look on all cores, which has painted a few of ``frames``."""
    painter = open_look(look, "cpu", 0)
    for _ in painter.lit_by(look.treatment().light).paint_each(itertools.islice(frames, _WARM_UP * cores())):
        pass
    return painter


def _painter(folder: Path) -> Way:
    began = time.monotonic()
    with Roll.open(folder) as roll:
        look, count, frames = roll.settings.look, roll.ledger.frames, itertools.cycle(_pictures(roll))
    with _warm(look, frames) as painter:
        ready, opened = time.monotonic(), _computed()
        for _ in painter.lit_by(look.treatment().light).paint_each(itertools.islice(frames, count)):
            pass
        return _way(count, began, ready, time.monotonic(), opened)


def _alone(folder: Path) -> Way:
    began = time.monotonic()
    with Roll.open(folder) as roll:
        painter = _warm(roll.settings.look, _pictures(roll))
        ready, opened = time.monotonic(), _computed()
        paint_all(roll, roll.settings.look, painter=lambda *_: painter)
        return _way(roll.ledger.frames, began, ready, time.monotonic(), opened)


def _farm(folder: Path) -> Way:
    return _on_ray(folder, lambda: None)


def _apart(folder: Path) -> Way:
    every = os.sched_getaffinity(0)
    last = max(every)
    # Ray's processes stay on the core that this one begins them on.
    os.sched_setaffinity(0, {last})

    def move() -> None:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), every - {last} or every)

    return _on_ray(folder, move)


def _painter1(folder: Path) -> Way:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return _painter(folder)


def _on_ray(folder: Path, joined: Callable[[], None]) -> Way:
    # Ray's workers give way to all other programs (niceness 15); the painter alone does not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    began = time.monotonic()
    with Roll.open(folder) as roll:
        cluster = RayCluster(Where())
        joined()
        _open_workers(cluster, roll)
        ready, opened = time.monotonic(), _computed()
        harvest = paint_on(cluster, roll, roll.settings.look)
        done = time.monotonic()
        cluster.close()
        # A worker's process that Ray began later.
        opened["workers"] += sum(tally.opening for tally in harvest.tallies.values())
        way = _way(roll.ledger.frames, began, ready, done, opened)
        spent = {**harvest.spent, "work": sum(tally.processor for tally in harvest.tallies.values())}
        way.stages = {stage: 1e3 * seconds / way.frames for stage, seconds in spent.items()}
        return way


def _open_workers(cluster: Cluster, roll: Roll) -> None:
    """Have as many workers meter a frame as can at a time. Raises FarmError."""
    look, frame = roll.settings.look, _pictures(roll)[0]
    model = load_network(look)
    kind = METER if model.adaptive else PAINT
    job, shared, part = Job(kind, model.sha256, model.bits, look.strokes), cluster.keep(model), cluster.keep((frame,))
    tasks = [cluster.submit(work, job, shared, part, cores=1, name=kind) for _ in range(cluster.slots(1))]
    while tasks:
        for task in cluster.ready(tasks, _LOOK):
            tasks.remove(task)
            cluster.result(task)


def _computed() -> dict[str, float]:
    """Processor seconds that this process and those that come from it have taken, by kind."""
    watch = _Watch(os.getpid())
    watch.look()
    return {name: kind.processor for name, kind in watch.kinds().items()}


def _way(frames: int, began: float, ready: float, done: float, opened: dict[str, float]) -> Way:
    end, rate = time.monotonic() - done, frames / (done - ready)
    return Way(frames, ready - began, done - ready, end, rate, opened=opened)


#: A film's pieces in its roll's folder.
_PIECES = "paintings/*/*.mkv"

WAYS: dict[str, Callable[[Path], Way]] = {
    "painter": _painter,
    "alone": _alone,
    "farm": _farm,
    "painter1": _painter1,
    "apart": _apart,
}


def _child(name: str, folder: Path, answer: Connection) -> None:
    answer.send(WAYS[name](folder))


def measure(name: str, folder: Path) -> Way:
    """Go one way with a roll, in a process of its own, and watch it. Raises ValueError where it fails."""
    there = set(folder.glob(_PIECES))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(name, folder, theirs))
    process.start()
    theirs.close()
    watch = _Watch(process.pid or 0)
    watch.look()
    while not ours.poll(_LOOK):
        watch.look()
    try:
        way: Way = ours.recv()
    except EOFError:
        raise ValueError(f"{name}: it failed") from None
    watch.look()
    process.join()
    way.kinds, way.store = watch.kinds(), watch.store / 1e6
    for kind, seconds in way.opened.items():
        way.kinds.setdefault(kind, Kind()).opening = seconds
    way.pieces = {path.name: file_sha256(path) for path in sorted(set(folder.glob(_PIECES)) - there)}
    return way


class _Watch:
    """Processor time and memory of a process and of all that come from it."""

    def __init__(self, root: int) -> None:
        self._root = root
        #: Processor seconds and kind of each process; the last that was seen.
        self._spent = dict[int, tuple[str, float]]()
        self._memory = list[dict[str, float]]()
        self.store = 0.0

    def look(self) -> None:
        """Look once."""
        memory = dict[str, float]()
        for pid in [self._root, *_descendants(self._root)]:
            try:
                kind = "command" if pid == self._root else _kind(Path(f"/proc/{pid}/cmdline").read_bytes())
                numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                told = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue  # it has ended
            self._spent[pid] = (kind, (int(numbers[11]) + int(numbers[12])) / _TICK)
            table = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
            if "RssAnon" not in table:
                continue  # it ends
            memory[kind] = memory.get(kind, 0.0) + 1024 * int(table["RssAnon"].split()[0]) / 1e6
            self.store = max(self.store, 1024.0 * int(table["RssShmem"].split()[0]))
        self._memory.append(memory)

    def kinds(self) -> dict[str, Kind]:
        """What was seen, by kind."""
        found = dict[str, Kind]()
        for kind, seconds in self._spent.values():
            found.setdefault(kind, Kind()).processor += seconds
        count = len(self._memory)
        for kind, one in found.items():
            tenths = [self._memory[i * count // 10 : (i + 1) * count // 10] for i in range(10)]
            one.memory = [max((seen.get(kind, 0.0) for seen in tenth), default=0.0) for tenth in tenths]
        return found


def _kind(command: bytes) -> str:
    if command.startswith(b"ray::") and b"Agent" not in command:  # ray::DashboardAgent, ray::RuntimeEnvAgent
        return "workers"
    name = command.partition(b"\0")[0].rpartition(b"/")[2].decode(errors="replace")
    return name if name in ("raylet", "gcs_server") else "Ray's others"


def _descendants(root: int) -> Iterator[int]:
    children = dict[int, list[int]]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            yield child


def _lines(name: str, way: Way) -> Iterator[str]:
    kinds = ", ".join(
        f"{kind} {1e3 * (spent.processor - spent.opening) / way.frames:.1f}" for kind, spent in way.kinds.items()
    )
    opening = ", ".join(f"{kind} {spent.opening:.1f}" for kind, spent in way.kinds.items())
    yield (
        f"{name:>9}: {way.frames} frames in {way.paint:.1f} s, {way.rate:.2f} a second; "
        f"beginning {way.begin:.1f} s, ending {way.end:.1f} s"
    )
    yield f"{'':11}processor time of a frame: {way.processor_ms:.1f} ms ({kinds}); of opening, s: {opening}"
    if way.stages:
        stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in way.stages.items())
        yield f"{'':11}of a frame, by thread of the command, and work at workers: {stages} ms"
    for kind, spent in way.kinds.items():
        yield f"{'':11}{kind}: MB by tenth of the time: {' '.join(f'{m:.0f}' for m in spent.memory)}"
    if way.store:
        yield f"{'':11}store: {way.store:.0f} MB at most"


def _compared(ways: dict[str, Way]) -> Iterator[str]:
    for over, under in (("farm", "painter"), ("farm", "alone"), ("alone", "painter"), ("apart", "painter1")):
        if over in ways and under in ways:
            one, other = ways[over], ways[under]
            line = f"{over} / {under}: {one.rate / other.rate:.1%} of the rate"
            if other.processor_ms:  # so few frames that the system counted none
                line += f", {one.processor_ms / other.processor_ms:.2f} times the processor time"
            yield line
    films = {name: way.pieces for name, way in ways.items() if way.pieces}
    if len(films) > 1:
        same = all(pieces == next(iter(films.values())) for pieces in films.values())
        yield "the same film, byte for byte" if same else "THE FILMS DIFFER"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; --json keeps all figures."""
    parser = argparse.ArgumentParser(prog="python -m pleinair.farm.measuring", description=main.__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", default="640x480", metavar="WIDTHxHEIGHT")
    parser.add_argument("--style", default=DEFAULT_STYLE)
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--ways", default="painter,alone,farm,painter1,apart", help="which of them, in this order")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    width, _, height = options.size.partition("x")
    if unknown := set(names := options.ways.split(",")) - WAYS.keys():
        raise OptionError(f"{', '.join(unknown)}: choose from {', '.join(WAYS)}", option="ways")
    machine, ways = this_machine(), dict[str, Way]()
    print(f"{machine.processor}, {machine.cores} cores; {options.style} {options.bits}-bit, {options.size}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pleinair-farm-") as name:
        roll = make_roll(Path(name) / "roll", options.frames, (int(width), int(height)), options.style, options.bits)
        for way in names:
            ways[way] = measure(way, roll)
            for painting in roll.glob("paintings/*"):
                shutil.rmtree(painting)
                painting.mkdir()
            print("\n".join(_lines(way, ways[way])), flush=True)
            if options.json is not None:
                told: dict[str, Any] = {w: {**asdict(one), "processor_ms": one.processor_ms} for w, one in ways.items()}
                options.json.write_text(json.dumps({"machine": asdict(machine), "ways": told}, indent=1))
    print("\n".join(_compared(ways)))


if __name__ == "__main__":
    main()
