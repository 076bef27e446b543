#!/usr/bin/env bash
# Every block of pods is on every router by all equal paths, and pods reach pods. `verify.sh degraded` expects the same
# without the link between tor1 and spine1 (`make link-down`).
cd "$(dirname "$0")" && . ../verify.bash

up="dev eth1 eth2" down="dev eth1 eth2"
if [ "${1:-healthy}" = degraded ]; then
    # tor1 has lost a link, and spine1 has no other one to that rack.
    up="dev eth2" down="dev eth2"
fi

for node in 1 2 3 4; do
    sessions node$node 2
    for other in 1 2 3 4; do
        [ $node = $other ] && continue
        route node$node 10.244.$other.0/24 "via 172.31.$node.1"
        route node$node fd44:0:0:$other::/64 "dev eth1"
    done
done

# The way up has two equal paths, the way down leads to the node.
for node in 1 2; do
    route tor1 10.244.$node.0/24 "via 172.31.$node.2"
    route tor2 10.244.$node.0/24 "$down"
    route tor2 fd44:0:0:$node::/64 "$down"
    route spine2 10.244.$node.0/24 "dev eth1"
done
for node in 3 4; do
    route tor2 10.244.$node.0/24 "via 172.31.$node.2"
    route tor1 10.244.$node.0/24 "$up"
    route tor1 fd44:0:0:$node::/64 "$up"
    route spine2 10.244.$node.0/24 "dev eth2"
done

all_pods_reach node1 node2 node3 node4

finish
