"""Signatures as minisign makes them; the format is written here a second time, from minisign's description."""

import base64
import hashlib
import shutil

import pytest

from pleinair.errors import ModelError, OptionError
from pleinair.sharing import minisign
from tests import children

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")


class Signer:
    def __init__(self, number=b"\1\2\3\4\5\6\7\x08"):
        self.secret, self.number = ed25519.Ed25519PrivateKey.generate(), number
        raw = self.secret.public_key().public_bytes_raw()
        self.public = base64.b64encode(b"Ed" + number + raw).decode()

    def sign(self, path, comment="by me", kind=b"ED"):
        data = path.read_bytes()
        proof = self.secret.sign(hashlib.blake2b(data).digest() if kind == b"ED" else data)
        second = self.secret.sign(proof + comment.encode())
        lines = ["untrusted comment: x", base64.b64encode(kind + self.number + proof).decode()]
        lines += [f"trusted comment: {comment}", base64.b64encode(second).decode()]
        path.with_name(path.name + ".minisig").write_text("\n".join(lines) + "\n")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.pleinair"
    path.write_bytes(b"a style")
    return path


def check(file, signer):
    return minisign.check(file, file.read_bytes(), minisign.read_key(signer.public))


@pytest.mark.parametrize("kind", [b"ED", b"Ed"])
def test_a_signature_is_believed_and_its_comment_told(file, kind):
    signer = Signer()
    signer.sign(file, "made in Delft", kind)
    assert check(file, signer) == "made in Delft"


def test_a_key_may_be_a_file(file, tmp_path):
    signer = Signer()
    (tmp_path / "minisign.pub").write_text(f"untrusted comment: minisign public key\n{signer.public}\n")
    assert minisign.read_key(str(tmp_path / "minisign.pub")) == minisign.read_key(signer.public)
    for bad in ("RWnothing", str(tmp_path / "none"), str(file), "RW" + "A" * 54):
        with pytest.raises(OptionError, match="key"):
            minisign.read_key(bad)


def test_everything_else_is_refused(file):
    signer, other = Signer(), Signer()
    with pytest.raises(ModelError, match="minisig"):
        check(file, signer)
    signer.sign(file)
    with pytest.raises(ModelError, match="not of mine"):
        check(file, other)  # a key of the same number
    with pytest.raises(ModelError, match="another key, 0000000000000000"):
        other.number = bytes(8)
        other.sign(file)
        check(file, signer)
    signer.sign(file)
    text = (signed := file.with_name(file.name + ".minisig")).read_text()
    for damaged in (
        text.replace("by me", "by you"),
        text[:-20],
        "",
        "a\nb\nc\nd\n",
        text.replace("trusted comment", "x"),
    ):
        signed.write_text(damaged)
        with pytest.raises(ModelError, match="signature"):
            check(file, signer)
    signed.write_text(text)
    file.write_bytes(b"a stylf")
    with pytest.raises(ModelError, match="not of mine"):
        check(file, signer)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
@pytest.mark.parametrize("kind", [(), ("-l",)], ids=["hash", "whole file"])
def test_minisign_itself_made_it(file, tmp_path, kind):
    key, changed = tmp_path / "minisign.pub", tmp_path / "other.pleinair"
    changed.write_bytes(b"a stylf")
    children.run(["minisign", "-GW", "-p", str(key), "-s", str(tmp_path / "k.sec")], check=True)
    children.run(["minisign", "-S", *kind, "-s", str(tmp_path / "k.sec"), "-t", "truly", "-m", str(file)], check=True)
    signed, public = file.with_name(file.name + ".minisig"), minisign.read_key(str(key))
    assert signed.read_text().splitlines()[1].startswith("RW" if kind else "RU")  # of the kind that was asked for
    assert minisign.check(file, file.read_bytes(), public) == "truly"
    shutil.copy(signed, changed.with_name(changed.name + ".minisig"))
    with pytest.raises(ModelError, match="not of other"):
        minisign.check(changed, changed.read_bytes(), public)
    signed.write_text(signed.read_text().replace("truly", "falsely"))
    with pytest.raises(ModelError, match="not of mine"):
        minisign.check(file, file.read_bytes(), public)
