#!/usr/bin/env bash
# Nodes find both routers, use both, and packets of nodes and pods pass.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

for node in 1 2; do
    other=$((3 - node))
    sessions n$node 2
    route n$node 10.244.$other.0/24 "dev eth0 eth1"
    route n$node fd44:0:0:$other::/64 "dev eth0 eth1"
    route n$node 0.0.0.0/0 "dev eth0 eth1"
    route tor1 10.255.0.$node/32 "dev n$node"
    route tor2 fd44:0:0:$node::/64 "dev n$node"
    pods_reach -4 n$node pod1 n$other pod1
    pods_reach -6 n$node pod1 n$other pod1
done

finish
