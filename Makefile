# make setup | timelapse | test | lint: everything a checkout needs, in .venv; PYTHON is Python 3.10 or later.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check install --quiet
# The CPU build where the index has one; any build from 2.9 on serves.
TORCH ?= torch==2.13.0

.PHONY: setup timelapse test test-slow lint clean

setup: $(VENV)/.complete

# Painting alone: no torch.
$(VENV)/.painting: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing what painting needs into $(VENV) ...'
	$(PIP) --editable '.[cpu]'
	@touch $@

# Torch by itself first: another package's wish for it would choose another build.
$(VENV)/.complete: $(VENV)/.painting
	@echo 'Installing training and tests into $(VENV), some minutes ...'
	$(PIP) '$(TORCH)'
	$(PIP) --editable '.[cpu,train,hw,pi,dev]'
	@touch $@

timelapse: $(VENV)/.painting
	$(VENV)/bin/pleinair run --camera synthetic --size 640x360 --every 5m --for 1d --fps 24 --out timelapse.mp4
	@echo
	@echo "A painted day: $(CURDIR)/timelapse.mp4"
	@echo "Next: $(VENV)/bin/pleinair run --camera frames:DIR --out film.mp4      your own frames"
	@echo "      $(VENV)/bin/pleinair paint photo.jpg painting.png                one photo"
	@echo "      $(VENV)/bin/pleinair run --camera synthetic:7 --out other.mp4    another valley"

test: $(VENV)/.complete
	$(VENV)/bin/python -m pytest -m "not slow"

test-slow: $(VENV)/.complete
	$(VENV)/bin/python -m pytest -m slow

lint: $(VENV)/.complete
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
