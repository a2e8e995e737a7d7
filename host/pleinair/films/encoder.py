"""The encoder: paintings into H.264 packets (yuv420p, BT.709), by PyAV. Films and a roll's pieces both use it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from pleinair.films.rate import Rate
from pleinair.pyav import reformatter

#: The longest side that x264 takes.
MAX_SIDE = 16384
#: How paintings are encoded. Against x264's usual veryfast at CRF 20 this has the same PSNR and SSIM in less than half
#: the processor time. Files are 12 % larger, of which 9 % are the price of plain variable-length codes. The encoder
#: holds no frame back.
ENCODING = {"preset": "superfast", "crf": "22", "coder": "vlc", "tune": "zerolatency"}
#: For frames that were encoded before, in films that nobody waits for: finer, and in about the same space. Frames stay
#: in order, as copying them needs.
FINE = {"preset": "faster", "crf": "18", "bf": "0"}


#: Macroblocks, of 16x16 pixels, of the largest frame of level 5.2, the highest that browsers play (ITU-T H.264, A.3.1).
_PLAYED = 36_864
#: And of a second of it.
_PLAYED_A_SECOND = 2_073_600


def plays_everywhere(width: int, height: int, fps: Rate = 24) -> bool:
    """Whether browsers, and the chips of phones and televisions, play a film of this size and rate."""
    blocks = -(-width // 16) * -(-height // 16)
    return blocks <= _PLAYED and blocks * fps <= _PLAYED_A_SECOND


def even(image: np.ndarray) -> np.ndarray:
    """The picture with even sides, as yuv420p needs them: an odd side gains a repeated column or row."""
    height, width = image.shape[:2]
    if height % 2 == width % 2 == 0:
        return image
    padded: np.ndarray = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return padded


class Encoder:
    """A stream of H.264 in a PyAV container. FFmpeg's errors pass through."""

    def __init__(self, container: Any, *, width: int, height: int, fps: Rate, threads: int = 1) -> None:
        """``threads`` share the rows of each frame."""
        self._container, self._tick, self._frames = container, Fraction(1, fps), 0
        self._reformat = reformatter()
        self._stream = container.add_stream("libx264", rate=fps)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {**ENCODING, "threads": str(threads)}
        context = self._stream.codec_context
        context.time_base = self._tick
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # 16..235

    def set_options(self, options: Mapping[str, str]) -> None:
        """Encode in another way than :data:`ENCODING`; before the first frame."""
        self._stream.options = {**options, "threads": self._stream.options["threads"]}

    def add(self, image: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB of the stream's size."""
        import av

        picture = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")
        frame = self._reformat(picture, format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = self._frames, self._tick
        self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def end(self) -> None:
        """Append what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
