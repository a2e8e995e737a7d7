# make setup | timelapse | test | lint: everything a checkout needs, in .venv; PYTHON is Python 3.10 or later, 3.11 for
# the compiler of accelerators. make finn-image | finn: the same compiler in a container, where Vivado may join it.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check install --quiet
# What hw/toolchain.sh asks pip for; any build from 2.9 on serves, one for processors alone is the smallest.
export TORCH ?= torch==2.13.0

# No run waits for ever: after so long it is told to stop, and half a minute later killed.
WITHIN := timeout --foreground --kill-after=30

.PHONY: setup timelapse test test-slow test-rtl test-open test-release check-arm64 check-image lint audit clean finn-image finn

setup: $(VENV)/.complete

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Painting alone: no torch, no FINN.
$(VENV)/.painting: pyproject.toml $(VENV)/.made
	@echo 'Installing what painting needs into $(VENV) ...'
	$(PIP) --editable '.[cpu]'
	@touch $@

# What painting needs is among it, within FINN's pins. FINN wants Python 3.11; all the rest does with 3.10.
$(VENV)/.complete: pyproject.toml hw/toolchain.sh $(VENV)/.made
	@echo 'Installing training, the compiler of accelerators and tests into $(VENV), some minutes ...'
	@if $(VENV)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		hw/toolchain.sh $(VENV)/bin/python cpu,train,hw,pi,dev; \
	else \
		echo 'Without the compiler of accelerators, which needs Python 3.11 (make setup PYTHON=python3.11).'; \
		$(PIP) '$(TORCH)' && $(PIP) --editable '.[cpu,train,pi,dev]'; \
	fi
	@touch $(VENV)/.painting $@

timelapse: $(VENV)/.painting
	$(WITHIN) 2h $(VENV)/bin/pleinair run --camera synthetic --size 640x360 --every 5m --for 1d --fps 24 --out timelapse.mp4
	@echo
	@echo "A painted day: $(CURDIR)/timelapse.mp4"
	@echo "Next: $(VENV)/bin/pleinair run --camera frames:DIR --out film.mp4      your own frames"
	@echo "      $(VENV)/bin/pleinair paint photo.jpg painting.png                one photo"
	@echo "      $(VENV)/bin/pleinair run --camera synthetic:7 --out other.mp4    another valley"

# Environments with pynq, which does not go with the rest; tests that need one which could not be made are skipped.
.PHONY: boards
boards:
	@tests/board/environments.sh || echo 'make boards: not all environments could be made; tests that need them are skipped' >&2

# Two files of tests at a time; the tests of a file share what they have made.
JOBS ?= 2
test: $(VENV)/.complete boards
	$(WITHIN) 3h $(VENV)/bin/python -m pytest -m "not slow and not rtl and not routed" -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.complete
	$(WITHIN) 8h $(VENV)/bin/python -m pytest -m slow

# Whole shipped networks, cycle by cycle.
test-rtl: $(VENV)/.complete
	$(WITHIN) 8h $(VENV)/bin/python -m pytest -m rtl

# Small networks and shipped ones placed, routed and turned to bits, their netlists against the reference; needs nextpnr and its data
# (docs/bitstream.md).
test-open: $(VENV)/.complete
	$(WITHIN) 4h $(VENV)/bin/python -m pytest -m routed

# Whether paintings, films, rolls and builds are, to the bit, those of the last release; tests/releases/fingerprints.py
# says what is compared and how an intended change is noted.
test-release: $(VENV)/.complete boards
	$(WITHIN) 8h $(VENV)/bin/python tests/releases/fingerprints.py --check

# Installing, painting, filming and resuming in an emulated 64-bit Arm userland: the same hashes as here. As root, with
# qemu-user-static and debootstrap; the first run fetches a Debian.
check-arm64: $(VENV)/.complete
	PLEINAIR=$(VENV)/bin/pleinair pi/check_arm64.sh

# The steps of Dockerfile.finn, one by one, in a Debian made by debootstrap, then a build and its simulation inside. As
# root, with debootstrap and the network; CHECK_IMAGE="--show DIR" shows it a folder with packages.
check-image:
	$(WITHIN) 3h $(PYTHON) hw/check_image.py $(CHECK_IMAGE)

lint: $(VENV)/.complete
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Known holes in what is installed; pip-audit comes into an environment of its own. A package that its data does not know
# ends it. PyPI knows no local versions such as 2.13.0+cpu.
AUDIT ?=
audit: $(VENV)/.complete
	$(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip --disable-pip-version-check install --quiet pip-audit
	$(VENV)/bin/pip freeze --exclude-editable | sed 's/+.*//' > .venv-audit/installed.txt
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement .venv-audit/installed.txt $(AUDIT)

clean:
	rm -rf $(VENV) .venv-pynq31 .venv-pynq40 .venv-finn-driver .venv-audit .pytest_cache .mypy_cache .ruff_cache

FINN_IMAGE := pleinair-finn
DOCKER ?= docker
# The user's Vivado, mounted read-only at the place it was installed to: its scripts name that.
XILINX ?= $(if $(XILINX_VIVADO),$(abspath $(XILINX_VIVADO)/../..))

finn-image:
	@command -v $(DOCKER) >/dev/null || \
		{ echo 'make finn-image: $(DOCKER) was not found; it is only needed for the image, "make setup" installs the same here' >&2; exit 1; }
	$(DOCKER) build --file Dockerfile.finn --tag $(FINN_IMAGE) --build-arg TORCH --build-arg PIP_EXTRA_INDEX_URL .

# make finn ARGS="models/starry-night-board --bits 8 --board zcu104 --size 640x480 --out build/zcu104"
finn:
	@command -v $(DOCKER) >/dev/null || \
		{ echo 'make finn: $(DOCKER) was not found; "make setup" installs the same here: $(VENV)/bin/pleinair build ...' >&2; exit 1; }
	@$(DOCKER) image inspect $(FINN_IMAGE) >/dev/null 2>&1 || \
		{ echo 'make finn: the image $(FINN_IMAGE) was not found; "make finn-image" makes it' >&2; exit 1; }
	@mkdir -p "$(HOME)/.cache/pleinair"
	$(DOCKER) run --rm --init --user "$$(id -u):$$(id -g)" --volume "$(CURDIR):/work" --workdir /work \
		--volume "$(HOME)/.cache/pleinair:/home/pleinair/.cache/pleinair" \
		$(if $(XILINX),--volume "$(XILINX):$(XILINX):ro" --env XILINX_VIVADO="$(XILINX_VIVADO)" --env XILINXD_LICENSE_FILE) \
		$(FINN_IMAGE) build $(ARGS)
