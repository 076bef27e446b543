#!/usr/bin/env bash
# Every block of pods is on every node and both rack routers, with the next hops that its owner gave it; pods reach
# pods. `verify.sh degraded` expects the same without the reflector rr1 (`make reflector-down`).
cd "$(dirname "$0")" && . ../verify.bash

if [ "${1:-healthy}" = healthy ]; then
    # Four nodes and two rack routers, in two families.
    sessions rr1 12
fi
sessions rr2 12

for node in 1 2 3 4; do
    for other in 1 2 3 4; do
        [ $node = $other ] && continue
        route node$node 10.244.$other.0/24 "via 172.31.$node.1"
        route node$node fd44:0:0:$other::/64 "dev eth1"
    done
done

for node in 1 2; do
    route rack1 10.244.$node.0/24 "via 172.31.$node.2"
    route rack2 10.244.$node.0/24 "via 172.31.30.1"
    route rack1 fd44:0:0:$node::/64 "dev eth$node"
    route rack2 fd44:0:0:$node::/64 "dev eth4"
done
for node in 3 4; do
    route rack1 10.244.$node.0/24 "via 172.31.30.2"
    route rack2 10.244.$node.0/24 "via 172.31.$node.2"
    route rack1 fd44:0:0:$node::/64 "dev eth4"
    route rack2 fd44:0:0:$node::/64 "dev eth$((node - 2))"
done

all_pods_reach node1 node2 node3 node4

finish
