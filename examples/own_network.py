"""Paint with an integer network of your own: python own_network.py

This one is a single convolution that blurs. What a network may be is in docs/integer-network.md.
"""

import numpy as np

from pleinair.engines.exact import exact_runner
from pleinair.network.integer import Convolution, IntegerNetwork, validate
from pleinair.painting.painter import TILE_PIXELS, NetworkPainter

weight = np.zeros((3, 3, 3, 3), np.int8)  # [outputs, inputs, height, width]
for channel in range(3):
    weight[channel, channel] = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]  # sums to 16, so the result is shifted by 4 bits
shift = np.full(3, 4, np.int64)
blur = Convolution("blur", weight, np.zeros(3, np.int64), shift, stride=1, weight_bits=8, out_bits=8, signed=False)
network = validate(IntegerNetwork(8, (blur,)))

runner = exact_runner(network)  # checks that the engine computes the contract's integers on this machine
frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
with NetworkPainter(runner.name, network, network.halo, runner, TILE_PIXELS) as painter:
    painting = painter.paint(frame)
print(f"{painter.name}: contrast {frame.std():.1f} before, {painting.std():.1f} after")
