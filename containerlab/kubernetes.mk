# What the Makefiles of the scenarios with a kind cluster share, beside scenario.mk.

include ../scenario.mk

MUSLIN_IMAGE ?= ghcr.io/muslin-net/muslin:0.1.0
KIND ?= kind
KUBECTL ?= kubectl --context kind-$(SCENARIO)
HELM ?= helm --kube-context kind-$(SCENARIO)

.PHONY: cluster muslin
# verify.sh asks the same cluster.
export KUBECTL

# The cluster and the fabric by containerlab, then Muslin by its chart, the peers, and a pod on every node.
cluster: deploy muslin

muslin:
	$(KIND) load docker-image $(MUSLIN_IMAGE) --name $(SCENARIO)
	$(HELM) upgrade --install muslin ../../deploy/helm/muslin --namespace muslin-system --create-namespace
	$(KUBECTL) apply -f bgp.yaml -f ../pods.yaml
	$(KUBECTL) -n muslin-system rollout status daemonset/muslin --timeout 120s
	$(KUBECTL) rollout status daemonset/echo --timeout 120s
