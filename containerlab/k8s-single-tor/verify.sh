#!/usr/bin/env bash
# The router has every node's block of pods by its link, every node has the others' by the router, and pods connect.
cd "$(dirname "$0")" && . ../kubernetes.bash

link=0
for node in $NODES; do
    link=$((link + 1))
    route tor "$(block "$node" 4)" "via 172.31.1$link.2"
    for other in $NODES; do
        [ "$node" = "$other" ] || route "$node" "$(block "$other" 4)" "via 172.31.1$link.1"
    done
done
pods_connect

finish
