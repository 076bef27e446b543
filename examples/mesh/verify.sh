#!/usr/bin/env bash
# Every node has a session with every other one in each family, the way to its pods, and packets pass.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

for node in 1 2 3; do
    sessions n$node 4
    for other in 1 2 3; do
        [ $node = $other ] && continue
        route n$node 10.244.$other.0/24 "via 192.168.30.1$other"
        route n$node fd44:0:0:$other::/64 "dev eth1"
    done
done
all_pods_reach n1 n2 n3

finish
