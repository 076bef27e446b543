# What the Makefiles of all scenarios share: `make deploy verify destroy`.

CONTAINERLAB ?= containerlab
SCENARIO := $(notdir $(CURDIR))
TOPOLOGY := $(SCENARIO).clab.yml

.PHONY: deploy verify destroy reload

# All nodes at once: making a pod waits for an agent, and an agent for its router. By default containerlab makes as many
# nodes at a time as there are processors.
deploy:
	$(CONTAINERLAB) deploy -t $(TOPOLOGY) --max-workers 32

destroy:
	$(CONTAINERLAB) destroy -t $(TOPOLOGY) --cleanup

verify:
	./verify.sh

reload: destroy deploy
