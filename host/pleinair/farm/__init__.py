"""The farm: work shared among machines, whose results are those of one machine.

Every machine paints the same integers, so a film's frames may be painted on any of them. This room says what the pieces
of such work are, and checks what comes back. Handing the pieces to machines is the business of a library: Ray, which
:mod:`pleinair.farm.ray_cluster` alone imports.
"""
