#!/usr/bin/env bash
# As k8s-single-tor, in both families.
cd "$(dirname "$0")" && . ../kubernetes.bash

link=0
for node in $NODES; do
    link=$((link + 1))
    route tor "$(block "$node" 4)" "via 172.31.1$link.2"
    route tor "$(block "$node" 6)" "dev eth$link"
    for other in $NODES; do
        [ "$node" = "$other" ] && continue
        route "$node" "$(block "$other" 4)" "via 172.31.1$link.1"
        route "$node" "$(block "$other" 6)" "dev net1"
    done
done
pods_connect

finish
