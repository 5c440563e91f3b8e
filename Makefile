# make demo   the whole chain on a laptop, from simulated electrons to the tritium endpoint
# make test   lint, types and the test suite
# make help   everything else

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python

# Page faults cost more than arithmetic on many machines: keep freed memory instead of giving it back.
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296
export MALLOC_TOP_PAD_ ?= 268435456

# Compiled once and kept, whatever the environment says (that of many containers forbids it): every start of a program
# would compile torch and Lightning anew, for eight seconds.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.PHONY: help demo demo-showers demo-higgs demo-jets demo-detectors model test test-all test-gpu docs test-cluster lint format clean-demo

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

# Installation ------------------------------------------------------------------------------------------------------

# a torch that is there already, built for the machine's GPUs, stays
TORCH = $$($(RUN) -c 'import torch' 2>/dev/null || echo -c constraints-torch.txt)

# tell COMMAND…: run it, and say every few seconds how much of .venv is on the disk; pip alone says nothing for a minute
TELL = tell() { local pid seconds start=$$SECONDS; "$$@" & pid=$$!; while kill -0 $$pid 2>/dev/null; do sleep 1; \
  seconds=$$((SECONDS - start)); if ((seconds % 4 == 0)); then echo "  $$seconds s: $$(du -sh .venv | cut -f1) on the disk"; fi; \
  done; wait $$pid; }

# pip would also compile 12 000 files to bytecode, one after another, of which a third is ever imported: these are, once,
# at the end.
INSTALL = $(TELL); install() { echo "installing $$2 into .venv: about 0.3 GB from the network (CPU), 1.2 GB on the disk, 1.7 GB with the tests"; \
  tell packages "$$1"; }; packages() { \
  $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt $(TORCH) -e "$$1" && \
  $(RUN) -c 'import cres.training, cres.endpoint, cres.evaluation, reconstruction.training.command_line.cli'; }; install

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; say which to use: make PYTHON=/path/to/python3.11 …" >&2; exit 2; }
	@echo "$(PYTHON) -m venv .venv"
	@$(TELL); tell $(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt constraints-torch.txt | .venv/bin/python
	@$(INSTALL) '.[dev,collider]' "cres with what its tests need"
	@touch $@

# what the demo needs; an installation for the tests has it too
.venv/.demo: pyproject.toml constraints.txt constraints-torch.txt | .venv/bin/python
	@if [ .venv/.installed -nt pyproject.toml ]; then exit 0; fi; $(INSTALL) . "cres"
	@touch $@

# what collisions need beside: Pythia, FastJet, awkward, boosted trees
.venv/.collider: pyproject.toml constraints.txt constraints-torch.txt | .venv/bin/python
	@if [ .venv/.installed -nt pyproject.toml ]; then exit 0; fi; $(INSTALL) '.[collider]' "cres with what collisions need"
	@touch $@

# go on with RUN, DATA: a training that was ended early goes on where it stopped, if its data are older than it; `trained`
# says that it came to its end. The checkpoints are no targets: make removes those when it is interrupted.
GO_ON = $(if $(shell test $(1)/checkpoints/last.ckpt -nt $(2) && echo yes),--resume)

# The demo ----------------------------------------------------------------------------------------------------------

DEMO := runs/demo
EVENTS ?= 14000
TRITIUM_EVENTS ?= 4000
EPOCHS ?= 8

# a log hears of long work every four seconds; on a terminal it is a bar
demo: export CRES_PROGRESS_S ?= 4

demo: $(DEMO)/report.html $(DEMO)/electrons.html ## simulate, prepare, train, evaluate, fit the endpoint: ten to twenty minutes, runs/demo/report.html
	@cat $(DEMO)/summary.txt
	@echo "All of it is in $(DEMO)/; nothing is made twice: 'make clean-demo' starts afresh."

clean-demo: ## forget the demo's files
	rm -rf $(DEMO)

$(DEMO)/raw/simulation.json: | .venv/.demo
	@echo "== 1/5 simulate $(EVENTS) electrons to train and test on"
	$(RUN) scripts/simulate.py --events $(EVENTS) --output $(DEMO)/raw --seed 1

$(DEMO)/cres.hdf5: $(DEMO)/raw/simulation.json
	@echo "== 2/5 prepare the pickles for training"
	$(RUN) scripts/data_prep.py --input $(DEMO)/raw --output $@

# Two cores have room beside the main line: a training does not fill them, a report fills one.
# beside LOCK TARGETS…: make these in the background, when what holds the lock is done. If that fails, make makes them
# again afterwards, in the open. They end when this make ends, whatever ended it. A lock that is free is taken at once,
# so that nobody who waits for it comes too early. They leave the cores to a training; what is waited for soon does not.
# A group of their own (set -m) and no session (setsid): Linux shares its cores among sessions, whatever is nice in them.
AGAIN := $(MAKE)  # by this name, `make -n` runs nothing
BESIDE = beside() { local job lock=$(DEMO)/$$1.lock; shift; command -v flock >/dev/null || return 0; \
  exec 7>$$lock; flock -n 7 || true; \
  { flock 7; kill -0 $$PPID || exit; set -m; \
    OMP_NUM_THREADS=1 nice -n $${niceness:-19} $(AGAIN) --no-print-directory -o .venv/.demo "$$@" & job=$$!; \
    while kill -0 $$job && kill -0 $$PPID; do sleep 1; done 2>/dev/null; kill -TERM -- -$$job 2>/dev/null; \
  } >>$(DEMO)/beside.log 2>&1 </dev/null & exec 7>&-; }
# await LOCK: wait for what is made beside, and say how far it is
AWAIT = await() { ! command -v flock >/dev/null || until flock -w 3 $(DEMO)/$$1.lock true; do \
  echo "  beside: $$(tail -n 1 $(DEMO)/beside.log)"; done; }

$(DEMO)/trained: $(DEMO)/cres.hdf5 configs/s4d.yaml
	@echo "== 3/5 train the S4D network; beside it, what needs no network ($(DEMO)/beside.log)"
	@$(BESIDE); beside tritium $(DEMO)/tritium.hdf5; beside known $(DEMO)/carrier.hdf5 $(DEMO)/bound.hdf5
	$(RUN) cli.py fit -c configs/s4d.yaml --run=$(DEMO) --data.data=$(DEMO)/cres.hdf5 --trainer.max_epochs=$(EPOCHS) \
	  $(call GO_ON,$(DEMO),$(DEMO)/cres.hdf5)
	@touch $@

$(DEMO)/predictions.hdf5: $(DEMO)/trained
	@echo "== 4/5 reconstruct the test electrons: network, the likelihood that it seeds; beside it, the tritium electrons"
	@$(BESIDE); niceness=0 beside tritium $(DEMO)/tritium_seeded.hdf5
	$(RUN) cli.py test --run=$(DEMO) --predictions=$@

# what was begun beside is there, or will not come
$(DEMO)/met: $(DEMO)/seeded.hdf5
	@$(AWAIT); await known; await tritium
	@touch $@

$(DEMO)/carrier.hdf5: $(DEMO)/cres.hdf5
	$(RUN) scripts/estimate.py --method carrier --data $< --output $@

$(DEMO)/bound.hdf5: $(DEMO)/cres.hdf5
	$(RUN) scripts/estimate.py --method bound --data $< --output $@

$(DEMO)/seeded.hdf5: $(DEMO)/predictions.hdf5
	$(RUN) scripts/estimate.py --method seeded --network $< --data $(DEMO)/cres.hdf5 --output $@

$(DEMO)/tritium/simulation.json: configs/simulation/tritium.yaml | .venv/.demo
	@echo "== simulate $(TRITIUM_EVENTS) tritium electrons"
	$(RUN) scripts/simulate.py -c configs/simulation/tritium.yaml --events $(TRITIUM_EVENTS) --output $(DEMO)/tritium

$(DEMO)/tritium.hdf5: $(DEMO)/tritium/simulation.json
	$(RUN) scripts/data_prep.py --input $(DEMO)/tritium --output $@

$(DEMO)/tritium_predictions.hdf5: $(DEMO)/trained $(DEMO)/tritium.hdf5
	@echo "== reconstruct the tritium electrons"
	$(RUN) cli.py predict --run=$(DEMO) --data.data=$(DEMO)/tritium.hdf5 --predictions=$@

$(DEMO)/tritium_seeded.hdf5: $(DEMO)/tritium_predictions.hdf5
	$(RUN) scripts/estimate.py --method seeded --network $< --data $(DEMO)/tritium.hdf5 --split all --output $@

TABLES := $(addprefix $(DEMO)/,carrier.hdf5 predictions.hdf5 seeded.hdf5 bound.hdf5)
TRITIUM_TABLES := $(addprefix $(DEMO)/,tritium_predictions.hdf5 tritium_seeded.hdf5)

# In this order: where nothing is left to be made beside, make finds it made.
$(DEMO)/report.html: $(DEMO)/trained $(DEMO)/predictions.hdf5 $(DEMO)/met $(TABLES) $(TRITIUM_TABLES)
	@echo "== 5/5 evaluate, fit the endpoint, write the report; beside it, a page to look at electrons one by one"
	@$(BESIDE); niceness=5 beside page $(DEMO)/electrons.html
	@$(RUN) scripts/evaluate.py $(TABLES) --tritium $(TRITIUM_TABLES) \
	  --names "carrier alone" "S4D network" "seeded likelihood" "Cramér–Rao bound" --output $(DEMO) > $(DEMO)/summary.tmp
	@$(AWAIT); await page
	@mv $(DEMO)/summary.tmp $(DEMO)/summary.txt

$(DEMO)/electrons.html: $(TABLES)
	@echo "== and a page to look at electrons one by one"
	$(RUN) scripts/browse.py $(DEMO)/predictions.hdf5 $(DEMO)/seeded.hdf5 $(DEMO)/bound.hdf5 --run $(DEMO) \
	  --names "S4D network" "seeded likelihood" "Cramér–Rao bound" --data $(DEMO)/cres.hdf5 --electrons 500 --output $@

# Showers in calorimeters, a second system --------------------------------------------------

SHOWERS := runs/showers
SHOWER_EVENTS ?= 5000

demo-showers: $(SHOWERS)/validation_report.html ## simulate showers in a calorimeter and judge them: about a minute, runs/showers/
	@echo "Look at $(SHOWERS)/validation_report.html and $(SHOWERS)/shower_sample_0.png; the events are in $(SHOWERS)/*.hdf5"

$(SHOWERS)/validation_report.html: configs/showers/pbwo4.yaml | .venv/.demo
	$(RUN) scripts/showers.py -c pbwo4 --events $(SHOWER_EVENTS) --output $(SHOWERS)

# A search for charged Higgs bosons ---------------------------------------------------------
# Forced decays with their weights, the set of seven, a small network that is told the masses, three dedicated ones.

HIGGS := runs/demo_higgs
HIGGS_EVENTS ?= 300
HIGGS_BACKGROUNDS ?= 300
HIGGS_STAGES := configs/higgs/stages

demo-higgs: export CRES_PROGRESS_S ?= 4

demo-higgs: $(HIGGS)/report.html ## one network for all masses of a charged Higgs boson, from collisions to limits: runs/demo_higgs/report.html
	@echo "Look at $(HIGGS)/report.html; every figure is in $(HIGGS)/comparison.json"

$(HIGGS)/data/samples.json: configs/higgs/demo.yaml | .venv/.collider
	@echo "== 1/4 collisions: signal at 35 mass points, three backgrounds"
	$(RUN) scripts/higgs.py -c demo --events $(HIGGS_EVENTS) --background-events $(HIGGS_BACKGROUNDS) --output $(HIGGS)/data

$(HIGGS)/joint/stages.json: $(HIGGS)/data/samples.json $(HIGGS_STAGES)/demo_joint.yaml
	@echo "== 2/4 one network for all masses"
	$(RUN) scripts/stages.py $(HIGGS_STAGES)/demo_joint.yaml --run=$(HIGGS)/joint --data.data=$(HIGGS)/data

$(HIGGS)/dedicated/stages.json: $(HIGGS)/data/samples.json $(HIGGS_STAGES)/demo_dedicated.yaml
	@echo "== 3/4 three dedicated networks"
	$(RUN) scripts/stages.py $(HIGGS_STAGES)/demo_dedicated.yaml --run=$(HIGGS)/dedicated --data.data=$(HIGGS)/data

$(HIGGS)/report.html: $(HIGGS)/joint/stages.json $(HIGGS)/dedicated/stages.json
	@echo "== 4/4 judge them, beside boosted trees, on events that none of them met"
	$(RUN) scripts/higgs_compare.py $(HIGGS)/joint/together --dedicated $(HIGGS)/dedicated/alone --data $(HIGGS)/data \
	  --output $(HIGGS)

# Jets, a third system -----------------------------------------------------------------------------------------------

JETS := runs/demo_jets
JET_EVENTS ?= 6000
JET_EPOCHS ?= 8
# $(call JET_FIT,NAME,OLDER): train by a configuration; OLDER is a file that is there before a training begins
JET_FIT = $(RUN) cli.py fit -c configs/jets/$(1).yaml --run=$(JETS)/$(1) --data.data=$(JETS)/data \
  --trainer.accelerator=cpu --trainer.max_epochs=$(JET_EPOCHS) $(call GO_ON,$(JETS)/$(1),$(2))
PRETRAINED = --fine_tune.checkpoint=$(JETS)/pretrain/checkpoints/best.ckpt

demo-jets: export CRES_PROGRESS_S ?= 4

demo-jets: $(JETS)/jets.json ## jets of ten classes: generate, pre-train, tell classes, weigh: runs/demo_jets/
	@echo "All of it is in $(JETS)/; nothing is made twice: 'rm -r $(JETS)' starts afresh."

$(JETS)/data/made: | .venv/.collider
	@echo "== 1/5 $(JET_EVENTS) jets of ten classes"
	$(RUN) scripts/jets.py --events $(JET_EVENTS) --output $(JETS)/data
	@touch $@

$(JETS)/pretrained: $(JETS)/data/made configs/jets/pretrain.yaml
	@echo "== 2/5 pre-train: hide particles and rebuild them"
	$(call JET_FIT,pretrain,$(JETS)/data/made)
	@touch $@

$(JETS)/classified: $(JETS)/pretrained configs/jets/classify.yaml
	@echo "== 3/5 tell the classes apart"
	$(call JET_FIT,classify,$(JETS)/pretrained) $(PRETRAINED)
	@touch $@

$(JETS)/classes.hdf5: $(JETS)/classified
	$(RUN) cli.py test --run=$(JETS)/classify --predictions=$@

$(JETS)/weighed: $(JETS)/pretrained configs/jets/mass.yaml
	@echo "== 4/5 weigh them"
	$(call JET_FIT,mass,$(JETS)/pretrained) $(PRETRAINED)
	@touch $@

$(JETS)/masses.hdf5: $(JETS)/weighed
	$(RUN) cli.py test --run=$(JETS)/mass --predictions=$@

$(JETS)/jets.json: $(JETS)/classes.hdf5 $(JETS)/masses.hdf5
	@echo "== 5/5 judge them, beside boosted trees and the plain sum"
	$(RUN) scripts/jets.py --trees $(JETS)/data --output $(JETS)
	$(RUN) scripts/evaluate.py $(JETS)/classes.hdf5 $(JETS)/trees.hdf5 --names "LorentzParT" "boosted trees" --output $(JETS)
	$(RUN) scripts/jets.py --judge $(JETS)/classes.hdf5 $(JETS)/trees.hdf5 $(JETS)/masses.hdf5 --output $(JETS)

# Four detectors read as one -----------------------------------------------------------------------------------------
# All events by rules; then what a network says of who is who, on the events that it was not trained on.

DETECTORS := runs/demo_detectors
DETECTOR_EVENTS ?= 8000
DETECTOR_EPOCHS ?= 2
# candidates of 5 GeV or more: a tenth of all, and what peaks are made of
DETECTOR_LEAST_GEV ?= 5

demo-detectors: export CRES_PROGRESS_S ?= 4

demo-detectors: $(DETECTORS)/network/report.html ## four detectors, from collisions to the Z and W peaks: runs/demo_detectors/
	@echo "Look at $(DETECTORS)/rules/report.html, of all events, and at $(DETECTORS)/network/report.html"

$(DETECTORS)/data/events.json: configs/detectors/events.yaml | .venv/.collider
	@echo "== 1/4 $(DETECTOR_EVENTS) events in four detectors"
	$(RUN) scripts/detectors.py --events $(DETECTOR_EVENTS) --output $(DETECTORS)/data

$(DETECTORS)/rules/report.html: $(DETECTORS)/data/events.json
	@echo "== 2/4 particle flow by rules: jets, missing momentum, the peaks of Z, H, W and t"
	$(RUN) scripts/detectors_physics.py $(DETECTORS)/data --output $(DETECTORS)/rules

$(DETECTORS)/identified: $(DETECTORS)/rules/report.html configs/detectors/identity.yaml
	@echo "== 3/4 a network that tells electrons, photons, muons and hadrons apart"
	$(RUN) cli.py fit -c configs/detectors/identity.yaml --run=$(DETECTORS)/identity --data.data=$(DETECTORS)/data \
	  --data.least_gev=$(DETECTOR_LEAST_GEV) --trainer.accelerator=cpu --trainer.max_epochs=$(DETECTOR_EPOCHS) \
	  $(call GO_ON,$(DETECTORS)/identity,$(DETECTORS)/data/events.json)
	@touch $@

$(DETECTORS)/identity.hdf5: $(DETECTORS)/identified
	$(RUN) cli.py test --run=$(DETECTORS)/identity --predictions=$@

$(DETECTORS)/network/report.html: $(DETECTORS)/identity.hdf5
	@echo "== 4/4 particle flow with what it says, beside the rules, on the same events"
	$(RUN) scripts/detectors_physics.py $(DETECTORS)/data --identity $(DETECTORS)/identity.hdf5 --output $(DETECTORS)/network

# A model to keep ---------------------------------------------------------------------------------------------------
# It is trained on electrons that never come twice; those of the file fit its scales, calibrate and judge it.

MODEL := runs/model
MODEL_EVENTS ?= 20000
MODEL_ELECTRONS ?= 40000
MODEL_EPOCHS ?= 10

model: $(MODEL)/model.pt2 ## train the default model at length and export it with its card: about 45 minutes, runs/model/model.pt2

$(MODEL)/raw/simulation.json: | .venv/.demo
	$(RUN) scripts/simulate.py --events $(MODEL_EVENTS) --output $(MODEL)/raw --seed 2

$(MODEL)/cres.hdf5: $(MODEL)/raw/simulation.json
	$(RUN) scripts/data_prep.py --input $(MODEL)/raw --output $@

$(MODEL)/trained: $(MODEL)/cres.hdf5 configs/s4d.yaml
	$(RUN) cli.py fit -c configs/s4d.yaml --run=$(MODEL) --data.data=$(MODEL)/cres.hdf5 \
	  --data.fractions='[0.6,0.2,0.2]' --data.stream=cres.simulation.SimulatedElectrons \
	  --data.stream_electrons=$(MODEL_ELECTRONS) --trainer.max_epochs=$(MODEL_EPOCHS) \
	  $(call GO_ON,$(MODEL),$(MODEL)/cres.hdf5)
	@touch $@

$(MODEL)/predictions.hdf5: $(MODEL)/trained
	$(RUN) cli.py test --run=$(MODEL) --predictions=$@

$(MODEL)/model.pt2: $(MODEL)/predictions.hdf5
	$(RUN) cli.py export --run=$(MODEL) --output=$@

# Tests -------------------------------------------------------------------------------------------------------------

lint: .venv/.installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A file's tests stay with one worker: what they share is made once. mypy runs beside them, on one core for a minute; it
# speaks when it has found something.
test: .venv/.installed ## lint, types and the test suite, ten minutes on two cores, twice that on slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@types=$$(mktemp); trap 'rm -f $$types' EXIT; echo "$(BIN)/mypy, and beside it"; \
	  $(BIN)/mypy >$$types 2>&1 & mypy=$$!; tests=0; \
	  echo "pytest -n auto -m 'not slow and not gpu'"; \
	  OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not gpu" || \
	    tests=$$?; wait $$mypy || { cat $$types; exit 1; }; exit $$tests

test-all: lint ## the slow tests too: they need a browser, root for Slurm, and time, and say what they lack
	OMP_NUM_THREADS=1 $(BIN)/pytest -q

# Drivers and a torch that fits them are the machine's own: no .venv is made.
test-gpu: ## the chain on a GPU, with the machine's own Python: make test-gpu PYTHON=/path/to/python
	PYTHONPATH=src$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m pytest -q -m gpu tests/device

test-cluster: .venv/.installed ## sweeps, two nodes and interruptions on a real Slurm: root; installs Debian's packages if missing
	$(BIN)/pytest -q -s -m slow tests/cluster

docs: .venv/.docs ## the documentation site in site/ (open site/index.html); warnings are errors
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html."

.venv/.docs: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

format: .venv/.installed ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
