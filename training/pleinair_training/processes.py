"""One training step by one process or by several, on one machine or more, with the same result.

``torchrun --nproc-per-node 2 --no-python pleinair train ...`` starts several; Lightning Fabric joins them. Each
takes its share of a step's batch and the gradients are averaged, so that the losses are those of one process
with the whole batch, up to the order in which floats are added.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pleinair.errors import OptionError


class Processes:
    """The processes of a run; alone unless torchrun started this one. ``rank`` 0 writes the files."""

    def __init__(self, device: str = "cpu") -> None:
        """``device``: ``cpu`` or ``cuda``. Raises OptionError when several were started without lightning-fabric."""
        self.rank, self.count = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self.device = torch.device(device)
        self._fabric: Any = None
        if self.count == 1:
            return
        try:
            from lightning_fabric import Fabric
        except ImportError as error:
            raise OptionError(f"several processes need {error.name}: pip install '.[train]' in a checkout") from error
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        self._fabric = Fabric(accelerator=device, devices=local, num_nodes=self.count // local, strategy="ddp")
        self._fabric.launch()
        self.rank, self.device = self._fabric.global_rank, self._fabric.device
        # Left to the interpreter's end, the group's threads may outlive what they use, and a process aborts.
        atexit.register(torch.distributed.destroy_process_group)

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints, logs and previews."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here."""
        if self._fabric is not None:
            self._fabric.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """The average of a float tensor over the processes, the same in each."""
        if self._fabric is None:
            return values
        averaged: Tensor = self._fabric.all_reduce(values, reduce_op="mean")
        return averaged

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its average over the processes, in one exchange."""
        if self._fabric is None:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([g.reshape(-1) for g in gradients]))
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
