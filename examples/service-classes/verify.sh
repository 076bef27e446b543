#!/usr/bin/env bash
# Each router has the Services of its class and no other ones; pods are for the company alone.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

sessions core 2
sessions edge 2
route core 10.20.0.80/32 "via 172.29.11.2 172.29.12.2"
route edge 198.51.100.80/32 "via 172.29.21.2 172.29.22.2"
no_route core 198.51.100.80/32
no_route edge 10.20.0.80/32
for node in 1 2; do
    route core 10.244.$node.0/24 "via 172.29.1$node.2"
    no_route edge 10.244.$node.0/24
done
pods_reach -4 n1 pod1 n2 pod1
marked() { on edge muslin explain 198.51.100.80/32 --output json | grep -c 65002:100 | sed 's/^[1-9].*/marked/'; }
check edge 198.51.100.80/32 marked marked

finish
