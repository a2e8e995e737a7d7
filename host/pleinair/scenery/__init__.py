"""The synthetic day: a valley drawn in exact arithmetic, for every test and demonstration.

From the ground up: :mod:`~pleinair.scenery.exact` (arithmetic), ``noise``, ``light`` (sun, moon and the colours of the
hour), ``layers`` (the frame and what every layer of it can do), the layers themselves in ``clouds``, ``sky``, ``land``,
``lamps``, ``village``, ``lake`` and ``bank``, and ``day``, which stacks them.

The same on every machine, bit for bit
--------------------------------------
The first film and the tests compare frames by their hash, on x86-64, aarch64 and 32-bit Arm, under any NumPy from 1.21.
So every value that reaches a pixel comes from operations whose result IEEE 754 fixes to the last bit, one element at a
time: ``+ - *`` on floats, ``/`` and ``sqrt`` on float64 only, floor, minimum, maximum, comparisons, integer arithmetic
and indexing. The scenery does not use:

* sin, cos, exp, log, power and their like, from NumPy or from ``math``: their last bit differs between C libraries and
  between NumPy's SIMD builds. ``exact`` has a polynomial sine.
* sum, mean, dot, matmul, einsum, interp, convolve, cumsum over floats: the order in which they add differs between
  builds, and Python's own sum rounds differently from 3.12 on.
* float32 division and square root: NumPy on 32-bit Arm makes them from NEON estimates.
* np.random: its streams have changed between NumPy versions. ``noise`` has an integer hash.

A scalar that meets a float32 array is a Python float, never a NumPy scalar: NumPy 1 and NumPy 2 promote the latter
differently.

Coordinates
-----------
Scene units are frame heights: x runs from 0 to 16/9 across the frame whatever its shape (other shapes stretch the
scene), v runs from 0 at the top to 1 at the bottom. Hours are local, 0 to 24. Angles are in turns: 1.0 is a circle.
"""
