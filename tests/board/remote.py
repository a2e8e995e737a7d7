"""A board on the network: the services that PYNQ 4.0's remote device calls, over the emulated fabric.

The .proto definitions come with pynq; the real server is PYNQ.remote's on the board.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
from pynq.remote import (
    buffer_pb2,
    buffer_pb2_grpc,
    gpio_pb2_grpc,
    mmio_pb2,
    mmio_pb2_grpc,
    remote_device_pb2,
    remote_device_pb2_grpc,
)

from pleinair.emulator.fabric import Fabric, Memory

FIRMWARE = "/lib/firmware/"
LOAD = "/sys/class/fpga_manager/fpga0/firmware"
_PS = 0xF0000000
_RESET = {0xFF5E0020: 90 << 8 | 1 << 16, 0xFF5E0030: 90 << 8 | 1 << 16, 0xFD1A002C: 72 << 8} | {
    0xFF5E00C0 + 4 * i: 1 << 24 | 1 << 16 | 15 << 8 for i in range(4)
}


class RemoteBoard(
    remote_device_pb2_grpc.RemoteDeviceServicer, mmio_pb2_grpc.MmioServicer, buffer_pb2_grpc.RemoteBufferServicer
):
    """Files, registers and buffers. ``load`` makes a fabric of a bitstream's bytes; ``deaf`` lets calls hang."""

    def __init__(self, load: Callable[[Memory, bytes], Fabric]) -> None:
        self.memory, self.fabric, self._load = Memory(), None, load
        self.files = {
            "/proc/version": b"Linux version 6.6 (aarch64)",
            "/proc/device-tree/chosen/pynq_board": b"ZCU104\0",
            "/sys/class/fpga_manager/fpga0/state": b"operating\n",
            "/sys/class/fpga_manager/fpga0/flags": b"0\n",
        }
        self.loaded: list[str] = []
        self.answering = threading.Event()
        self.answering.set()
        self._system, self._maps, self._ids = dict(_RESET), dict[str, int](), itertools.count(1)
        self.buffers: dict[str, tuple[int, np.ndarray]] = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        remote_device_pb2_grpc.add_RemoteDeviceServicer_to_server(self, self._server)
        # The three services have methods of the same names, so each gets a face of its own.
        mmio_pb2_grpc.add_MmioServicer_to_server(_Registers(self), self._server)
        buffer_pb2_grpc.add_RemoteBufferServicer_to_server(_Buffers(self), self._server)
        gpio_pb2_grpc.add_GpioServicer_to_server(gpio_pb2_grpc.GpioServicer(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """The board is gone."""
        self.answering.set()
        self._server.stop(0).wait()

    # -- files

    def existsfile(self, request: Any, _: Any) -> Any:
        return remote_device_pb2.ExistsFileResponse(exists=request.file_path in self.files)

    def readfile(self, request: Any, _: Any) -> Iterator[Any]:
        yield remote_device_pb2.ReadFileResponse(data=self.files.get(request.file_path, b""))

    def writefile(self, requests: Iterator[Any], context: Any) -> Any:
        path, data = "", b""
        for request in requests:
            path, data = request.file_path, data + request.data
        self.files[path] = data
        if path == LOAD:
            name = data.decode().strip()
            if FIRMWARE + name not in self.files:
                context.abort(grpc.StatusCode.NOT_FOUND, name)
            self.loaded.append(name)
            if self.fabric is not None:
                self.fabric.switch_off()
            self.fabric = self._load(self.memory, self.files[FIRMWARE + name])
        return remote_device_pb2.WriteFileResponse()

    def set_bitstream_attrs(self, request: Any, _: Any) -> Any:
        return remote_device_pb2.SetBitstreamAttrsResponse(status=True)

    # -- registers

    def register(self, address: int) -> int:
        self.answering.wait()
        return self._system.get(address, 0) if address >= _PS else self.fabric.read(address)

    def set_register(self, address: int, value: int) -> None:
        self.answering.wait()
        if address >= _PS:
            self._system[address] = value
        else:
            self.fabric.write(address, value)


class _Registers(mmio_pb2_grpc.MmioServicer):
    def __init__(self, board: RemoteBoard) -> None:
        self.board, self.maps, self.ids = board, dict[str, int](), itertools.count(1)

    def get_mmio(self, request: Any, _: Any) -> Any:
        name = str(next(self.ids))
        self.maps[name] = request.base_addr
        return mmio_pb2.GetMmioResponse(status=True, mmio_id=name)

    def read(self, request: Any, _: Any) -> Any:
        value = self.board.register(self.maps[request.mmio_id] + request.offset)
        return mmio_pb2.ReadResponse(status=True, data=value)

    def write(self, request: Any, _: Any) -> Any:
        for k in range(0, len(request.data), 4):
            address = self.maps[request.mmio_id] + request.offset + k
            self.board.set_register(address, int.from_bytes(request.data[k : k + 4], "little"))
        return mmio_pb2.WriteResponse(status=True)


class _Buffers(buffer_pb2_grpc.RemoteBufferServicer):
    def __init__(self, board: RemoteBoard) -> None:
        self.board, self.ids = board, itertools.count(1)

    def allocate(self, request: Any, _: Any) -> Any:
        name = str(next(self.ids))
        self.board.buffers[name] = self.board.memory.allocate(request.size), np.zeros(request.size, np.uint8)
        return buffer_pb2.AllocateResponse(buffer_id=name)

    def freebuffer(self, request: Any, _: Any) -> Any:
        self.board.memory.free(self.board.buffers.pop(request.buffer_id)[0])
        return buffer_pb2.FreeBufferResponse()

    def write(self, requests: Iterator[Any], _: Any) -> Any:
        at = 0
        for request in requests:
            data = np.frombuffer(request.data, np.uint8)
            self.board.buffers[request.buffer_id][1][at : at + data.size] = data
            at += data.size
        return buffer_pb2.BufferWriteResponse()

    def read(self, request: Any, _: Any) -> Iterator[Any]:
        data = self.board.buffers[request.buffer_id][1].tobytes()
        for at in range(0, len(data), 1 << 20):
            yield buffer_pb2.BufferReadResponse(data=data[at : at + (1 << 20)])

    def flush(self, request: Any, _: Any) -> Any:
        address, data = self.board.buffers[request.buffer_id]
        self.board.memory.view(address, data.size)[:] = data
        return buffer_pb2.FlushResponse()

    def invalidate(self, request: Any, _: Any) -> Any:
        address, data = self.board.buffers[request.buffer_id]
        data[:] = self.board.memory.view(address, data.size)
        return buffer_pb2.InvalidateResponse()

    def physical_address(self, request: Any, _: Any) -> Any:
        return buffer_pb2.AddressResponse(address=self.board.buffers[request.buffer_id][0])

    virtual_address = physical_address
