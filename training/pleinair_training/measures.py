"""Measures of paintings that are no losses: likeness of two paintings, light kept, flicker of a film, border lines.

Pixels are uint8 [H, W, 3] RGB, results floats; nothing here knows of networks or files.
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

#: A pixel whose range over a sequence reaches this many grey levels in some channel is not static.
_MOVING = 24
#: Nor is one with such a pixel in the square of this side around it: what moves there is painted here too.
_REACH = 9
#: A blurred channel of L*a*b* that deviates by less is flat: what is left is rounding.
_FLAT = 1e-3
#: The border strip and the band it is compared with, in pixels from the edge.
_STRIP, _BAND = 4, (24, 40)
#: How far inwards the same comparison is repeated, for what the picture itself does.
_INWARDS = 40


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two pictures, 1 for equal ones (Wang et al., *Image Quality Assessment*, 2004; scikit-image's)."""
    value: float = structural_similarity(a, b, channel_axis=2)  # type: ignore[no-untyped-call]
    return float(value)


@dataclass(frozen=True)
class KeptLight:
    """How a painting's light and colours follow its photo's, in CIE L*a*b* after a Gaussian blur.

    ``l_correlation_N`` is the correlation of L* when both are blurred by N pixels (standard deviation), 1 for a
    painting that is light and dark where the photo is. ``l_spread_N`` is the standard deviation of the painting's L*
    as a multiple of the photo's: 0.5 where the painting has half of its contrast. ``chroma_correlation_16`` is the mean
    of the correlations of a* and of b*. NaN where a picture has no contrast.
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

    At each place the features [1, C, H, W] of a layer are brought to unit length; the squared distance of the
    two, averaged over places and then over ``layers``. That is the perceptual distance of Zhang et al. (*The
    Unreasonable Effectiveness of Deep Features as a Perceptual Metric*, 2018, equation 1) with every channel's
    weight 1: not LPIPS, whose weights are learned.
    """
    distances = []
    for layer in layers:
        x, y = (F.normalize(features[layer].float(), dim=1, eps=1e-10) for features in (a, b))
        distances.append((x - y).square().sum(1).mean())
    return float(torch.stack(distances).mean())


def static_pixels(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Pixels that nothing crosses, bool [H, W]: range below 24 levels in all channels, nothing moving within 9 x 9."""
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
    differences, before = [], None
    for frame in frames:
        now = frame[static].astype(np.int16)
        if before is not None:
            differences.append(float(np.abs(now - before).mean()))
        before = now
    return float(np.mean(differences))


def _edge_differences(picture: np.ndarray, shift: int) -> np.ndarray:
    """Mean colour of the strip less that of the band, signed, float [4 sides, 3], counted from ``shift`` pixels in."""
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
    """How much more the frame's edge stands out than the same place further in, in grey levels; about 0 is none.

    The mean absolute difference between the mean colour of the outermost 4 rows or columns and that of the band
    24 to 40 pixels in, over sides and channels; less the same measured 40 pixels further inwards, where no border
    is. Means along a whole side, so that strokes average out; the interior of the same picture for comparison and
    not the photo, whose contrast is another. Averaged over photos: two 8-bit networks (halo 39) gave 63 and 23 with
    no margin, 21 and 5 with 8 pixels, 0.0 and 2.1 with 40 pixels and with 56; the photos themselves -6.

    ``picture`` is uint8 [H, W, 3], sides over 160 pixels.
    """
    edge, inner = (np.abs(_edge_differences(picture, shift)).mean() for shift in (0, _INWARDS))
    return float(edge - inner)
