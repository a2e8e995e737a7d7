#!/usr/bin/env bash
# Install pleinair by pip in an emulated 64-bit Arm userland (Debian bookworm, as Raspberry Pi OS), look at it with the
# doctor, paint a picture, film a roll and finish it, and compare with the same done on this machine: equal hashes of
# painting, originals and the roll's paintings. Then every engine that installs there is compared with the reference,
# value by value, on random networks and a shipped one. The processor is a Raspberry Pi 5's, or what QEMU_CPU names.
# Needs root, qemu-user-static, debootstrap, and the network the first time; the userland stays in $1 (build/arm64).
# For whether it installs and paints the same pixels; never for how fast.
set -euo pipefail
cd "$(dirname "$0")/.."
ROOT=$(realpath -m "${1:-build/arm64}")
PLEINAIR=${PLEINAIR:-.venv/bin/pleinair}
PYTHON=$(dirname "$PLEINAIR")/python

for tool in qemu-aarch64-static debootstrap; do
  command -v "$tool" >/dev/null || { echo "check-arm64: needs $tool (apt install qemu-user-static debootstrap)" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "check-arm64: needs root, for chroot" >&2; exit 2; }

# The kernel runs Arm programs by qemu; F: the emulator is opened now, and found from inside the chroot, too.
FMT=/proc/sys/fs/binfmt_misc
[ -e $FMT/register ] || mount -t binfmt_misc binfmt_misc $FMT
if ! grep -qs '^enabled' $FMT/qemu-aarch64; then
  printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$(command -v qemu-aarch64-static)"':F' > $FMT/register
fi

if [ ! -e "$ROOT/.complete" ]; then
  rm -rf "$ROOT"
  mkdir -p "$ROOT"
  debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$ROOT"
  touch "$ROOT/.complete"
fi
mountpoint -q "$ROOT/proc" || mount -t proc proc "$ROOT/proc"
trap 'umount "$ROOT/proc"' EXIT
# Libraries count the processors in /sys, and XNNPACK does not start without; in the real one they would find x86's.
mkdir -p "$ROOT/sys/devices/system/cpu"
echo 0-1 | tee "$ROOT/sys/devices/system/cpu/present" > "$ROOT/sys/devices/system/cpu/possible"
cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e "$file" ] || cp "$file" "$ROOT$file"
done

rm -rf "$ROOT/check" build/check-arm64
mkdir -p "$ROOT/check" build/check-arm64
"$PYTHON" -m pip --quiet wheel --no-deps --wheel-dir "$ROOT/check" .
inside() { chroot "$ROOT" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 QEMU_CPU="${QEMU_CPU:-cortex-a76}" "$@"; }
inside python3 -m venv /check/venv
inside /check/venv/bin/pip --quiet install "$(cd "$ROOT" && echo ./check/pleinair-*.whl | sed 's|^\./|/|')[cpu,litert]" pytest

cat > build/check-arm64/commands.sh <<'END'
set -eu
cd "$1"
pleinair doctor --style starry-night-small --roll .
python - <<'PY'
import numpy, cv2
y, x = numpy.mgrid[:90, :160]
cv2.imwrite("photo.png", numpy.stack([x + y, 255 - x, (x * y) % 256], 2).astype("uint8"))
PY
pleinair paint photo.png painting.png --style starry-night-small
pleinair run --camera synthetic:3 --size 160x90 --every 1h --for 8h --style starry-night-small --deflicker 16 \
  --keep-free 0 --roll roll
pleinair finish roll --out film.mp4
python - > hashes <<'PY'
import av, cv2, hashlib
from pathlib import Path
from pleinair.films.deflicker import Deflicker
from pleinair.models import load_model
from pleinair.painting.painter import open_painter
from pleinair.rolls.originals import load_original
from pleinair.films.steadiness import Steady
def told(name, *arrays):
    print(name, hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest())
told("painting", cv2.imread("painting.png"))
originals = [load_original(p)[1] for p in sorted(Path("roll").glob("originals/*/*.jpg"))]
told("originals", *originals)
# As the roll painted them, before H.264, which is lossy and rounds in its own way on each machine.
painter, even, first, last = open_painter(load_model("starry-night-small", 8)), Deflicker(16), Steady(4), Steady(4)
paintings = [last(painter.paint(first(even(image)))) for image in originals]
told("paintings", *paintings)
with av.open("film.mp4") as film:
    frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
near = [abs(f.astype(int) - p).mean() < 12 for f, p in zip(frames, paintings)]
print("film", len(frames), "frames,", sum(near), "near their paintings")
PY
END
cp build/check-arm64/commands.sh "$ROOT/check/commands.sh"
mkdir -p "$ROOT/check/tests/host"
cp tests/__init__.py tests/networks.py "$ROOT/check/tests/"
cp tests/host/__init__.py tests/host/engines/test_exact.py "$ROOT/check/tests/host/"
inside PATH=/check/venv/bin:/usr/bin:/bin sh /check/commands.sh /check
mkdir build/check-arm64/here
PATH=$(realpath "$(dirname "$PLEINAIR")"):$PATH sh build/check-arm64/commands.sh build/check-arm64/here
diff "$ROOT/check/hashes" build/check-arm64/here/hashes
echo "aarch64 and $(uname -m) agree:"
cat build/check-arm64/here/hashes
echo "engines on aarch64 against the reference:"
inside PATH=/check/venv/bin:/usr/bin:/bin sh -c 'cd /check && python -m pytest -q -p no:cacheprovider tests/host/engines/test_exact.py \
  -k "shipped or 8-2-9 or own or at_once or worst"'
