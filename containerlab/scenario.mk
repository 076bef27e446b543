# What the Makefiles of all scenarios share: `make deploy verify destroy`.

CONTAINERLAB ?= containerlab
SCENARIO := $(notdir $(CURDIR))
TOPOLOGY := $(SCENARIO).clab.yml

.PHONY: deploy verify destroy reload

deploy:
	$(CONTAINERLAB) deploy -t $(TOPOLOGY)

destroy:
	$(CONTAINERLAB) destroy -t $(TOPOLOGY) --cleanup

verify:
	./verify.sh

reload: destroy deploy
