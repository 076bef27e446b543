#!/usr/bin/env bash
# Nodes find both leaves without an address on any link, use both, and packets of pods and of nodes pass.
# `verify.sh degraded` expects the same without the link between node1 and leaf1 (`make link-down`).
cd "$(dirname "$0")" && . ../verify.bash

ways1="dev eth1 eth2"
if [ "${1:-healthy}" = degraded ]; then
    ways1="dev eth2"
else
    sessions node1 2
    sessions leaf2 3
fi
sessions node2 2
sessions node3 2

for other in 2 3; do
    route node1 10.244.$other.0/24 "$ways1"
    route node1 fd44:0:0:$other::/64 "$ways1"
    route node1 10.255.0.$other/32 "$ways1"
done
# Every leaf has the nodes' routes by the links to them.
for node in 2 3; do
    route leaf1 10.244.$node.0/24 "dev eth$node"
    route leaf1 fd44:0:0:$node::/64 "dev eth$node"
    route leaf2 10.244.$node.0/24 "dev eth$node"
    route leaf2 fd44:0:0:$node::/64 "dev eth$node"
done
route leaf2 10.244.1.0/24 "dev eth1"
route node2 10.244.3.0/24 "dev eth1 eth2"
route node3 10.244.2.0/24 "dev eth1 eth2"

for node in 1 2 3; do
    for other in 1 2 3; do
        [ $node = $other ] && continue
        reach node$node 10.255.0.$node 10.255.0.$other
        pods_reach -4 node$node pod1 node$other pod1
        pods_reach -6 node$node pod1 node$other pod1
    done
done

finish
