"""Network cameras by HTTP: a snapshot picture, or the first picture of an MJPEG stream.

The camera is untrusted: times, sizes and redirects are bounded; redirects lead to HTTP alone, never from HTTPS to it,
and take no password to another host. Proxies of the environment are not used. Basic and Digest (RFC 7616: MD5, SHA-1,
SHA-256) are the standard library's.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from pleinair.cameras.address import login, public, without_login
from pleinair.cameras.remote import RefusedError, RemoteCamera
from pleinair.errors import CameraError
from pleinair.images import Photo

#: Seconds to connect and for each part of the answer; for all of it.
TIMEOUT, DEADLINE = 8.0, 12.0
#: Bytes of a picture, and of the lines before one in a stream.
MAX_PICTURE, _MAX_HEAD = 64 << 20, 16 << 10
_CHUNK = 64 << 10
_STREAM = "multipart/x-mixed-replace"


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl).scheme != "https" and req.type == "https":
            raise CameraError("leads from https away")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Takes the first Digest challenge that it can answer, and answers each request once."""

    def http_error_401(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        for challenge in headers.get_all("www-authenticate", []):
            found = re.search(r"\balgorithm\s*=\s*\"?([\w-]+)", challenge)
            known = found is None or found[1].upper() in ("MD5", "SHA", "SHA-256")
            if challenge[:6].lower() == "digest" and known and not req.has_header("Authorization"):
                one = http.client.HTTPMessage()
                one["www-authenticate"] = challenge
                # Else five refusals, however long ago, would be the end.
                self.reset_retry_count()
                return super().http_error_401(req, fp, code, msg, one)
        return None

    def get_algorithm_impls(self, algorithm: str) -> Any:
        if algorithm.upper() != "SHA-256":
            return super().get_algorithm_impls(algorithm)

        def hashed(text: str) -> str:
            return hashlib.sha256(text.encode()).hexdigest()

        return hashed, lambda secret, data: hashed(f"{secret}:{data}")


class _Basic(urllib.request.HTTPBasicAuthHandler):
    """Answers each request once, and nothing where Basic is not offered."""

    def http_error_401(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_401(req, fp, code, msg, headers)
        except ValueError:
            return None


def _opener(address: str) -> urllib.request.OpenerDirector:
    """Only what pictures need: nothing here opens files, FTP or data addresses."""
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if (known := login(address)) is not None:
        passwords.add_password(None, public(address), *known)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        _Digest(passwords),
        _Basic(passwords),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "pleinair"), ("Accept", "image/*, multipart/x-mixed-replace")]
    return opener


class HttpCamera(RemoteCamera):
    """A picture for each question, at an address that may hold user and password."""

    def __init__(self, address: str) -> None:
        """Raises CameraError when there is no picture."""
        self._url, self._opener = without_login(address), _opener(address)
        super().__init__(public(address))

    def take(self) -> Photo:
        """See :class:`RemoteCamera`."""
        return self.decode(self._fetch())

    def _fetch(self) -> bytes:
        problem = CameraError
        try:
            with self._opener.open(self._url, timeout=TIMEOUT) as answer:
                end = time.monotonic() + DEADLINE
                if answer.headers.get_content_type() == _STREAM:
                    return _first_part(lambda: _some(answer, end), answer.headers.get_boundary() or "")
                data = bytearray()
                while more := _some(answer, end):
                    _grow(data, more)
                return bytes(data)
        except urllib.error.HTTPError as error:
            with error:
                why = _said(error.code)
            if error.code in (401, 403):
                problem = RefusedError
        except CameraError as error:
            why = str(error)
        except (TimeoutError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", error)
            why = _reason(reason)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Their texts may repeat the address.
            why = _reason(error)
        raise problem(f"camera {self.name}: {why}")


def _said(code: int) -> str:
    """A status in words; those that the camera sends with it are not repeated."""
    phrase = next((status.phrase for status in HTTPStatus if status == code), "")
    if code == 401:
        return "answered 401 Unauthorized; give the address as http://USER:PASSWORD@HOST/PATH"
    if 300 <= code < 400:
        return f"answered {code} {phrase}, which leads to no picture"
    return f"answered {code} {phrase}".rstrip()


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"did not answer within {TIMEOUT:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"gave an answer that cannot be read ({type(error).__name__})"


def _some(answer: http.client.HTTPResponse, end: float) -> bytes:
    """What has come of an answer, b"" for its end. Raises CameraError after the deadline."""
    if time.monotonic() > end:
        raise CameraError(f"took longer than {DEADLINE:g} s for a picture")
    return answer.read1(_CHUNK)


def _grow(data: bytearray, more: bytes) -> None:
    data += more
    if len(data) > MAX_PICTURE:
        raise CameraError(f"sent more than {MAX_PICTURE >> 20} MiB for a picture")


def _first_part(read: Callable[[], bytes], boundary: str) -> bytes:
    """The first picture of a stream of pictures. Raises CameraError."""
    data = bytearray()
    while (head := data.find(b"\r\n\r\n")) < 0:
        more = read()
        if not more or len(data) > _MAX_HEAD:
            raise CameraError("sent a stream without a picture")
        data = (data + more).lstrip(b"\r\n")
    length = re.search(rb"(?im)^content-length:[ \t]*([0-9]{1,10})[ \t\r]*$", bytes(data[:head]))
    del data[: head + 4]
    mark = b"--" + boundary.strip('"').lstrip("-").encode(errors="replace")
    while (end := int(length[1]) if length else data.find(mark)) < 0 or len(data) < end:
        if not (more := read()):
            raise CameraError("ended its stream within a picture")
        _grow(data, more)
    return bytes(data[:end])
