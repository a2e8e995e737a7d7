"""Perceptual losses, one class each (Johnson et al. 2016, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Features = dict[str, Tensor]


def gram_matrix(features: Tensor) -> Tensor:
    r"""Gram matrices :math:`F F^T / (c h w)` of features [N, C, H, W], [N, C, C] (equation 3).

    The result is float32. bfloat16 features are multiplied as they are: with float32 products, the Gram matrices took a
    third of a training step.
    """
    n, c, h, w = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(n, h * w, c)  # no copy of channels-last features
    product = flat.transpose(1, 2) @ flat
    return product.to(torch.promote_types(product.dtype, torch.float32)) / (c * h * w)


class ContentLoss(nn.Module):
    """Mean squared difference of one layer's features (equation 2). It measures what is in the picture."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, painted: Features, photo: Features) -> Tensor:
        """Scalar; both arguments hold ``layer`` as float [N, C, H, W] of equal shape."""
        return F.mse_loss(painted[self.layer].float(), photo[self.layer].float())


class StyleLoss(nn.Module):
    """Sum over layers of the mean squared difference of Gram matrices to the painting's (equation 4).

    It is the mean over the C x C entries, where the paper has the squared Frobenius norm; the two differ by a constant
    per layer.

    With ``balanced``, each layer counts by its *relative* error: its difference is divided by the mean square of the
    painting's own Gram matrix of that layer, and multiplied by the average of this mean square over the layers. Without
    it, VGG-16's relu4_3, which holds the large strokes, weighs 1e-5 of the rest, and flat areas fill with fine
    hatching.
    """

    def __init__(self, painting: Features, layers: tuple[str, ...], *, balanced: bool = False) -> None:
        """``painting``: features of one image, [1, C, H, W] each."""
        super().__init__()
        self.layers = layers
        grams = {layer: gram_matrix(painting[layer]) for layer in layers}
        powers = {layer: float(gram.square().mean()) for layer, gram in grams.items()}
        mean_power = sum(powers.values()) / len(powers)
        self.weights = {layer: mean_power / max(powers[layer], 1e-30) if balanced else 1.0 for layer in layers}
        for layer in layers:
            self.register_buffer(f"gram_{layer}", grams[layer], persistent=False)

    def forward(self, painted: Features) -> Tensor:
        """Scalar, averaged over the batch."""
        total = torch.zeros((), device=next(self.buffers()).device)
        for layer in self.layers:
            target: Tensor = getattr(self, f"gram_{layer}")
            gram = gram_matrix(painted[layer])
            total = total + self.weights[layer] * F.mse_loss(gram, target.expand_as(gram))
        return total


class TotalVariationLoss(nn.Module):
    """Mean squared difference of neighbouring pixels, as fractions of their range. It keeps surfaces quiet."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Scalar from float [N, 3, H, W] in 0..255."""
        x = pixels / 256
        horizontal = (x[..., 1:] - x[..., :-1]).square().mean()
        return horizontal + (x[..., 1:, :] - x[..., :-1, :]).square().mean()


class StabilityLoss(nn.Module):
    """Mean squared difference of two paintings that should agree, as fractions of the range: a film must not flicker.

    A frame is changed as one frame of a scene differs from the next, and painted again. The noise has a standard
    deviation of ``noise`` grey levels, the brightness changes by up to the fraction ``gain``, and the frame is shifted
    by up to ``shift`` pixels. The shift is undone in the painting before the two are compared. This is the loss of
    Ruder et al., *Artistic Style Transfer for Videos* (2016), for a camera that stands still.
    """

    def __init__(self, noise: float = 4.0, gain: float = 0.04, shift: int = 2) -> None:
        super().__init__()
        self.noise, self.gain, self.shift = noise, gain, shift

    def forward(self, paint: Callable[[Tensor], Tensor], pixels: Tensor, painting: Tensor, seed: int) -> Tensor:
        """Scalar; ``paint`` maps pixels float [N, 3, H, W] in 0..255 to ``painting``'s shape and scale."""
        g = torch.Generator().manual_seed(seed)
        gain = 1 + self.gain * (2 * torch.rand(len(pixels), 1, 1, 1, generator=g) - 1)
        noise = self.noise * torch.randn(pixels.shape, generator=g)
        dy, dx = torch.randint(-self.shift, self.shift + 1, (2,), generator=g).tolist()
        changed = torch.roll(pixels * gain.to(pixels) + noise.to(pixels), (dy, dx), (2, 3)).clamp(0, 255)
        again = torch.roll(paint(changed), (-dy, -dx), (2, 3))
        # The roll brought the far edge in; leave out what it can reach.
        edge = 16
        inner = (again - painting)[..., edge:-edge, edge:-edge] / 256
        return inner.square().mean()


class DistillationLoss(nn.Module):
    """Mean squared difference to a teacher's painting of the same photo, as fractions of the range.

    The perceptual losses say how good a painting is; the teacher shows a good one, pixel for pixel. The idea is that of
    Hinton et al., *Distilling the Knowledge in a Neural Network* (2015).
    """

    def forward(self, painting: Tensor, taught: Tensor) -> Tensor:
        """Scalar from two paintings, float [N, 3, H, W] in 0..255."""
        return F.mse_loss(painting / 256, taught / 256)


class GridLoss(nn.Module):
    """How much of a painting is a screen or a mosaic, with a period of 2 or 4 pixels.

    A network that computes blocks of pixels at once shows its blocks in two ways, and both are summed here.

    **A screen**: every block's corner is lighter than its centre. For each period p, the pixels that have the same
    place in their block make up one phase, so there are p * p phases. Each phase is blurred over 4 x 4 of its own
    pixels. The loss is the mean square of what the phases differ from their mean.

    **A mosaic**: there are steps where two blocks meet. For each axis, the differences of neighbouring pixels that
    have the same place in their block of 4 make up one phase. The loss is the variance of the four phases' root mean
    squares.

    Either is next to nothing for a picture without blocks, whatever its texture: neighbouring pixels of a texture
    differ, too, but not always in the same way, nor always in the same places.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        """Scalar, in squared levels, from float [N, 3, H, W] in 0..255, H and W at least 16."""
        n, c, h, w = pixels.shape
        pixels = pixels[..., : h // 16 * 16, : w // 16 * 16]
        total = torch.zeros((), device=pixels.device)
        for period in (2, 4):
            phases = F.avg_pool2d(F.pixel_unshuffle(pixels, period), 4, 2).view(n, c, period * period, -1)
            total = total + (phases - phases.mean(2, keepdim=True)).square().mean()
        for axis in (2, 3):
            squares = pixels.diff(dim=axis).square().transpose(axis, 3)
            # 1 more, so that a picture without any differences has a slope.
            steps = torch.stack([(squares[..., k::4].mean((2, 3)) + 1).sqrt() for k in range(4)])
            total = total + (steps - steps.mean(0)).square().mean()
        return total


class LightLoss(nn.Module):
    r"""How little a painting's light and dark follow the photo's: :math:`1 - r`, averaged over two blurs.

    Each picture is averaged over cells of 16 pixels, and again over cells of 40 pixels; r is the correlation of the
    painting's luma with the photo's over these cells. The loss is needed because instance norm evens out the scene's
    own light: the content and style losses do not notice, but the eye does. The square of ``floor``, in levels, is
    added to both variances. So a photo without contrast hardly counts, and a painting with little contrast is pressed
    to have more.
    """

    def __init__(self, floor: float = 5.5) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, painting: Tensor, photo: Tensor) -> Tensor:
        """Scalar 0..2 from two float [N, 3, H, W] in 0..255, H and W at least 80."""
        total = torch.zeros((), device=painting.device)
        for cell in (16, 40):
            a, b = (self._cells(pixels, cell) for pixels in (painting, photo))
            covariance = (a * b).mean(1)
            deviations = [(v.square().mean(1) + self.floor**2).sqrt() for v in (a, b)]
            total = total + (1 - covariance / (deviations[0] * deviations[1])).mean()
        return total / 2

    @staticmethod
    def _cells(pixels: Tensor, cell: int) -> Tensor:
        """Luma (ITU-R BT.601) of cells that overlap by half, less the mean of all: [N, cells]."""
        luma = (pixels * pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        flat = F.avg_pool2d(luma, cell, cell // 2).flatten(1)
        return flat - flat.mean(1, keepdim=True)
