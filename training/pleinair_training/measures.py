"""Measures of paintings that training does not use: likeness of two paintings, light kept, flicker, border lines.

Pictures are uint8 [H, W, 3] RGB and results are floats. Nothing here knows of networks or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity

from pleinair_training.losses import Features

#: A pixel moves where, over a sequence, some channel of it ranges over this many grey levels or more.
_MOVING = 24
#: A pixel is not static, either, when one moves in the square of this side around it: a network paints that here, too.
_REACH = 9
#: A blurred channel of L*a*b* counts as flat when its standard deviation is not above this; the rest is rounding.
_FLAT = 1e-3
#: Pixels from the edge: the width of the border strip, and where the band begins and ends that it is compared with.
_STRIP, _BAND = 4, (24, 40)
#: The comparison is made once more so many pixels further inwards, which shows what the picture itself does.
_INWARDS = 40


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two pictures, 1 for equal ones (Wang et al., *Image Quality Assessment*, 2004; scikit-image's)."""
    value: float = structural_similarity(a, b, channel_axis=2)  # type: ignore[no-untyped-call]
    return float(value)


@dataclass(frozen=True)
class KeptLight:
    """How well a painting's light and colours follow its photo's, in CIE L*a*b* after a Gaussian blur.

    ``l_correlation_N`` is the correlation of L* when both are blurred by N pixels (standard deviation), 1 for a
    painting that is light and dark where the photo is. ``l_spread_N`` is the standard deviation of the painting's L*
    as a multiple of the photo's: 0.5 where the painting has half of its contrast. ``chroma_correlation_16`` is the mean
    of the correlations of a* and of b*. All are NaN where a picture has no contrast.
    """

    l_correlation_4: float
    l_correlation_16: float
    l_correlation_40: float
    l_spread_4: float
    l_spread_16: float
    l_spread_40: float
    chroma_correlation_16: float


def kept_light(painting: np.ndarray, photo: np.ndarray) -> KeptLight:
    """The light that a painting keeps of its photo."""
    pair = [cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for picture in (painting, photo)]
    found: dict[str, float] = {}
    for blur in (4, 16, 40):
        a, b = (cv2.GaussianBlur(lab, (0, 0), blur).reshape(-1, 3).astype(np.float64) for lab in pair)
        found[f"l_correlation_{blur}"] = _correlation(a[:, 0], b[:, 0])
        found[f"l_spread_{blur}"] = a[:, 0].std() / b[:, 0].std() if b[:, 0].std() > _FLAT else np.nan
        if blur == 16:
            found["chroma_correlation_16"] = (_correlation(a[:, 1], b[:, 1]) + _correlation(a[:, 2], b[:, 2])) / 2
    return KeptLight(**found)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation, NaN where one of the two is flat."""
    if min(a.std(), b.std()) <= _FLAT:
        return np.nan
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))


def feature_distance(a: Features, b: Features, layers: Iterable[str]) -> float:
    """How unlike two pictures look to a loss network: 0 for equal ones, at most 2.

    At each place, the features [1, C, H, W] of a layer are scaled to unit length. The squared distance of the two is
    averaged over places and then over ``layers``. That is the perceptual distance of Zhang et al. (*The Unreasonable
    Effectiveness of Deep Features as a Perceptual Metric*, 2018, equation 1) with the weight 1 for every channel. It is
    not LPIPS, whose weights are learned.
    """
    distances = []
    for layer in layers:
        x, y = (F.normalize(features[layer].float(), dim=1, eps=1e-10) for features in (a, b))
        distances.append((x - y).square().sum(1).mean())
    return float(torch.stack(distances).mean())


def static_pixels(frames: Iterable[np.ndarray]) -> np.ndarray:
    """The pixels that nothing crosses, bool [H, W].

    Over the frames, every channel of such a pixel, and of all pixels in the 9 x 9 around it, ranges over less than 24
    levels.
    """
    frames = iter(frames)
    low = high = next(frames)
    for frame in frames:
        low, high = np.minimum(low, frame), np.maximum(high, frame)
    still = (high - low).max(2) < _MOVING
    eroded: np.ndarray = cv2.erode(still.astype(np.uint8), np.ones((_REACH, _REACH), np.uint8)) > 0
    return eroded


def flicker(frames: Iterable[np.ndarray], static: np.ndarray) -> float:
    """Mean absolute difference of successive frames on ``static`` pixels (bool [H, W]), in grey levels.

    Two frames or more are needed, and one static pixel or more.
    """
    return changes(frames, static)[0]


def changes(frames: Iterable[np.ndarray], static: np.ndarray) -> tuple[float, float]:
    """Mean absolute difference of successive frames on ``static`` pixels and on all others, in grey levels.

    ``static`` is bool [H, W]. Two frames or more are needed. NaN stands for a part that has no pixels.
    """
    differences, before = [], None
    for frame in frames:
        now = frame.astype(np.int16)
        if before is not None:
            change = np.abs(now - before)
            differences.append([float(change[part].mean()) if part.any() else np.nan for part in (static, ~static)])
        before = now
    still, moving = np.mean(differences, axis=0)
    return float(still), float(moving)


def _edge_differences(picture: np.ndarray, shift: int) -> np.ndarray:
    """The mean colour of the strip less that of the band, signed, float [4 sides, 3].

    Both are counted from ``shift`` pixels inside the picture's edge.
    """
    h, w = picture.shape[:2]
    inner = picture[shift : h - shift, shift : w - shift].astype(np.float64)
    sides = []
    for turns in range(4):
        rows = np.rot90(inner, turns)
        # Only columns that the band has as well: the neighbouring sides' own strips stay out.
        columns = slice(_BAND[1], -_BAND[1])
        sides.append(rows[:_STRIP, columns].mean((0, 1)) - rows[_BAND[0] : _BAND[1], columns].mean((0, 1)))
    return np.stack(sides)


def border_line(picture: np.ndarray) -> float:
    """How much more a picture's edge stands out than a place further inside, in grey levels; about 0 means not at all.

    On each side, the mean colour of the outermost 4 rows or columns is compared with that of the band which lies 24 to
    40 pixels inside. The absolute difference is averaged over sides and channels. The same is measured 40 pixels
    further inside, where there is no border, and taken off. Colours are means along a whole side, so that strokes
    average out. The comparison is with the same picture's interior and not with the photo, whose contrast differs.

    Two 8-bit networks with a halo of 39 pixels gave, averaged over photos, 63 and 23 without a margin, 21 and 5 with a
    margin of 8 pixels, and 0.0 and 2.1 with margins of 40 and of 56 pixels. The photos themselves gave -6.

    ``picture`` is uint8 [H, W, 3] with sides over 160 pixels.
    """
    edge, inner = (np.abs(_edge_differences(picture, shift)).mean() for shift in (0, _INWARDS))
    return float(edge - inner)
