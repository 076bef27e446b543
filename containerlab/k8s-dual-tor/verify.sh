#!/usr/bin/env bash
# Both routers have every node's block of pods, every node has the others' by both routers, and pods connect.
cd "$(dirname "$0")" && . ../kubernetes.bash

link=0
for node in $NODES; do
    link=$((link + 1))
    route tor1 "$(block "$node" 4)" "via 172.31.1$link.2"
    route tor2 "$(block "$node" 4)" "via 172.31.2$link.2"
    for other in $NODES; do
        [ "$node" = "$other" ] || route "$node" "$(block "$other" 4)" "via 172.31.1$link.1 172.31.2$link.1"
    done
done
pods_connect

finish
