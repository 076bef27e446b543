#!/usr/bin/env bash
# Every node uses both of its routers, also to the other rack; `verify.sh degraded` expects the same without tor1a.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

both1="dev eth1 eth2"
if [ "${1:-healthy}" = degraded ]; then
    both1="dev eth2"
else
    sessions n1 2
    sessions n2 2
fi
sessions n3 2

route n1 0.0.0.0/0 "$both1"
route n1 10.244.2.0/24 "$both1"
route n1 10.244.3.0/24 "$both1"
route n2 10.244.1.0/24 "$both1"
route n3 10.244.1.0/24 "dev eth1 eth2"
for node in 1 2 3; do
    for other in 1 2 3; do
        [ $node = $other ] && continue
        pods_reach -4 n$node pod1 n$other pod1
        reach n$node 10.255.0.$node 10.255.0.$other
    done
done

finish
