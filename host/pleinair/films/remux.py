"""Encoded frames from one container into another, untouched: no frame is decoded or encoded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from pleinair.films.rate import Rate


def read_packets(path: Path) -> Iterator[tuple[Any, Any]]:
    """The encoded frames of a video file, each with its stream. Raises FFmpeg's errors."""
    import av

    with av.open(str(path)) as source:
        video = source.streams.video[0]
        for packet in source.demux(video):
            if packet.size:  # PyAV ends with an empty packet
                yield packet, video


class Remuxer:
    """Appends encoded frames to a container; frame n of the film is shown at ``n / fps`` seconds.

    Matroska keeps milliseconds and no decoding times, so the source's times are not used.
    """

    def __init__(self, target: Any, *, fps: Rate) -> None:
        self.frames = 0
        self._target, self._tick = target, Fraction(1, fps)
        self._stream: Any = None

    def takes(self, stream: Any) -> bool:
        """Whether frames of ``stream`` can follow those appended so far: they were encoded in the same way."""
        return self._stream is None or stream.codec_context.extradata == self._stream.codec_context.extradata

    def append(self, packets: Iterable[tuple[Any, Any]]) -> int:
        """Append encoded frames, each with its stream; how many frames the film has now."""
        for packet, source in packets:
            if self._stream is None:
                self._stream = self._target.add_stream_from_template(source)
                self._stream.time_base = self._tick
            packet.stream, packet.time_base = self._stream, self._tick
            packet.pts = packet.dts = self.frames
            packet.duration = 1
            self._target.mux(packet)
            self.frames += 1
        return self.frames
