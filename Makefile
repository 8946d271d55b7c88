# Two commands: `make course` and `make test`. Everything else is a convenience around them.
PYTHON ?= python3
VENV := .venv
COURSE := $(VENV)/bin/course
SAMPLE := build/sample

.PHONY: course test quick lab site setup lock slow gpu fuzz clean
.DEFAULT_GOAL := course

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + " (choose another with: make PYTHON=python3.11)")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

course: setup  ## build the labs, grade a sample class, print the gradebook, write build/report/index.html
	$(COURSE) build
	$(VENV)/bin/python tests/sample_class.py $(SAMPLE)
	$(COURSE) grade --all --submissions $(SAMPLE)
	$(COURSE) gradebook
	$(COURSE) report

test: setup  ## every test
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

quick: setup  ## the tests that depend on what was changed, in two minutes; SINCE=main: changed since that revision
	$(VENV)/bin/python tests/quick.py $(SINCE)

slow: setup  ## the exhaustive tests, minutes long
	$(VENV)/bin/python -m pytest -m slow

MINUTES ?= 10
fuzz: setup  ## what reads strangers' files and messages, fed with damaged ones for so many MINUTES
	$(VENV)/bin/python tests/fuzz.py $(MINUTES)

gpu: setup  ## on a machine with a CUDA GPU, minutes: the formats' tests there, and their speed, written into docs/numerics.md
	$(VENV)/bin/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("torch finds no CUDA GPU: nothing was tested")'
	$(VENV)/bin/python -m pytest -n 0 tests/helpers/numerics/test_formats_on_a_device.py
	$(VENV)/bin/python benchmarks/formats.py --gpu --write

lab: setup  ## open JupyterLab at the start page; formgrader, in its menu Nbgrader, needs the course as root
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(COURSE) lab

site: setup  ## the labs to read, the guides and the reference, in build/site/index.html
	$(COURSE) site

lock: setup  ## rewrite constraints.txt from what is installed
	$(VENV)/bin/python -m pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf build $(VENV)
