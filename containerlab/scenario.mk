# What the Makefiles of all scenarios share: `make deploy verify destroy`.
#
# WITH=containerlab (the default) uses containerlab and Docker; WITH=namespaces runs the same topology file with
# `muslin lab`, on plain network namespaces and the daemons that this machine has.

WITH ?= containerlab
CONTAINERLAB ?= containerlab
MUSLIN ?= muslin
SCENARIO := $(notdir $(CURDIR))
TOPOLOGY := $(SCENARIO).clab.yml

export WITH MUSLIN

.PHONY: deploy verify destroy reload

ifeq ($(WITH),namespaces)
deploy:
	$(MUSLIN) lab --topology $(TOPOLOGY) --keep
destroy:
	$(MUSLIN) lab down
else
deploy:
	$(CONTAINERLAB) deploy -t $(TOPOLOGY)
destroy:
	$(CONTAINERLAB) destroy -t $(TOPOLOGY) --cleanup
endif

verify:
	./verify.sh

reload: destroy deploy
