#!/usr/bin/env bash
# The same holds in each family: sessions, routes of pods and Services, and packets.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

sessions tor 4
route tor 10.96.0.0/16 "via 192.168.41.2 192.168.42.2"
route tor fd96::/112 "dev eth1 eth2"
for node in 1 2; do
    other=$((3 - node))
    sessions n$node 2
    route tor 10.244.$node.0/24 "via 192.168.4$node.2"
    route tor fd44:0:0:$node::/64 "dev eth$node"
    route n$node 10.244.$other.0/24 "via 192.168.4$node.1"
    route n$node fd44:0:0:$other::/64 "dev eth1"
    pods_reach -4 n$node pod1 n$other pod1
    pods_reach -6 n$node pod1 n$other pod1
done

finish
