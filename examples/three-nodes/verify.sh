#!/usr/bin/env bash
# Pods of every rack are reached from every other one and from outside; Services are announced by who has their endpoints.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

for node in 1 2 3; do
    sessions n$node 2
    route router 10.244.$node.0/24 "via 172.30.$node.2"
    route router fd44:0:0:$node::/64 "dev eth$node"
    for other in 1 2 3; do
        [ $node = $other ] && continue
        route n$node 10.244.$other.0/24 "via 172.30.$node.1"
        pods_reach -4 n$node pod1 n$other pod1
        pods_reach -6 n$node pod1 n$other pod1
    done
    pod_address -4 n$node pod1
    reach outside 203.0.113.2 "$ADDRESS"
done

# Every node announces the range and what any node may answer for; a Service with the policy Local is where its pod is.
route router 10.96.0.0/16 "via 172.30.1.2 172.30.2.2 172.30.3.2"
route router 198.51.100.80/32 "via 172.30.1.2 172.30.2.2 172.30.3.2"
route router 192.0.2.25/32 "via 172.30.2.2"
no_route n1 192.0.2.25/32

finish
