"""Network cameras by RTSP, through PyAV (FFmpeg), over TCP.

For each picture the stream is opened anew and closed after its next key frame, which is whole by itself. So nothing is
received or decoded between two frames of a time-lapse, and a frame is never an old one.
"""

from __future__ import annotations

import time
from typing import Any

from pleinair.cameras.address import login, public
from pleinair.cameras.camera import check_size
from pleinair.cameras.remote import RefusedError, RemoteCamera
from pleinair.cameras.video import upright
from pleinair.damage import CHECKED, packet_fault
from pleinair.errors import CameraError
from pleinair.images import Photo
from pleinair.pyav import MISSING, reformatter

#: Seconds to open the stream and for each packet; for a key frame to come.
TIMEOUT, DEADLINE = 10.0, 20.0
_OPTIONS = {
    "rtsp_transport": "tcp",
    "allowed_media_types": "video",
    "protocol_whitelist": "rtsp,rtp,tcp",
    "timeout": str(int(TIMEOUT * 1e6)),
    # A size that nobody told is found in the key frame, and the rate is of no use.
    "analyzeduration": "500000",
    "fpsprobesize": "0",
    # Else it makes grey of what it cannot read.
    "err_detect": "explode",
}


class RtspCamera(RemoteCamera):
    """The next key frame of a stream, at an address that may hold user and password."""

    def __init__(self, address: str) -> None:
        """Raises CameraError when there is no picture."""
        self._address = address.partition("#")[0]
        super().__init__(public(address))

    def take(self) -> Photo:
        """See :class:`RemoteCamera`."""
        try:
            import av
        except ImportError as error:
            raise CameraError(f"rtsp: {MISSING}", option="camera") from error
        problem, began = CameraError, time.monotonic()
        try:
            with av.open(self._address, options=_OPTIONS, timeout=(TIMEOUT, TIMEOUT)) as container:
                return Photo(self._key_frame(container))
        except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError) as error:
            problem, why = RefusedError, "refuses: " + (error.strerror or "")
            if login(self._address) is None:
                why += "; give the address as rtsp://USER:PASSWORD@HOST/PATH"
        except CameraError as error:
            why = str(error)
        except (av.error.FFmpegError, OSError) as error:
            # Its whole text would repeat the address.
            why = error.strerror or type(error).__name__
            if time.monotonic() - began >= TIMEOUT:
                why = f"did not answer within {TIMEOUT:g} s"
        except Exception as error:
            why = f"gave a stream that cannot be read ({type(error).__name__})"
        raise problem(f"camera {self.name}: {why}")

    def _key_frame(self, container: Any) -> Any:
        """uint8 [H, W, 3] RGB. Raises CameraError that names no camera."""
        import av

        if not container.streams.video:
            raise CameraError("has no video in its stream")
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec.width:
            check_size((codec.width, codec.height), "its pictures")
        codec.skip_frame = "NONKEY"
        end, damaged = time.monotonic() + DEADLINE, False
        for packet in container.demux(stream):
            if time.monotonic() > end:
                break
            if packet.is_corrupt or (codec.name in CHECKED and packet_fault(codec.name, bytes(packet), False)):
                damaged = True
                continue
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                damaged = True
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    damaged = True
                    continue
                check_size((picture.width, picture.height), "its pictures")
                return upright(picture, reformatter(), stream.sample_aspect_ratio)
        raise CameraError("gave only damaged pictures" if damaged else f"gave no picture within {DEADLINE:g} s")
