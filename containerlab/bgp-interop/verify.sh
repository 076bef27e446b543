#!/usr/bin/env bash
# Every network is where it belongs, by the right next hop, and packets take those ways.
cd "$(dirname "$0")" && . ../verify.bash

# What GoBGP has for a prefix, as "next hop, AS path".
gobgp_route() {
    on gobgp gobgp global rib -a "$1" "$2" | awk -v prefix="$2" '
        $2 == prefix { for (i = 4; $i !~ /:..:/; i++) path = path " " $i; print $3 path }'
}

# Why Muslin refuses a prefix, or "not refused".
refusal() {
    on muslin muslin routes received --rejected --peer "$1" | awk -v prefix="$2" '
        $1 == prefix { found = 1; print "refused" } END { if (!found) print "not refused" }'
}

sessions muslin 6

# What the neighbours announce is in Muslin's kernel.
route muslin 10.1.0.0/24 "via 172.31.1.2"
route muslin 10.2.0.0/24 "via 172.31.2.2"
route muslin 10.3.0.0/24 "via 172.31.3.2"
# In IPv6 a neighbour may name its link-local address beside the global one (RFC 2545): the interface tells the way.
route muslin fd00:0:1::/48 "dev eth1"
route muslin fd00:0:2::/48 "dev eth2"
route muslin fd00:0:3::/48 "dev eth3"

# Muslin passes on its own network, and those of the others.
route frr 10.0.0.0/24 "via 172.31.1.1"
route frr 10.2.0.0/24 "via 172.31.1.1"
route frr 10.3.0.0/24 "via 172.31.1.1"
route frr fd00::/48 "dev eth1"
route frr fd00:0:2::/48 "dev eth1"
route frr fd00:0:3::/48 "dev eth1"
route bird 10.0.0.0/24 "via 172.31.2.1"
route bird 10.1.0.0/24 "via 172.31.2.1"
route bird 10.3.0.0/24 "via 172.31.2.1"
route bird fd00::/48 "dev eth1"
route bird fd00:0:1::/48 "dev eth1"
route bird fd00:0:3::/48 "dev eth1"
check gobgp 10.0.0.0/24 "172.31.3.1 65000" gobgp_route ipv4 10.0.0.0/24
check gobgp 10.1.0.0/24 "172.31.3.1 65000 65001" gobgp_route ipv4 10.1.0.0/24
check gobgp 10.2.0.0/24 "172.31.3.1 65000 65002" gobgp_route ipv4 10.2.0.0/24
check gobgp fd00:0:1::/48 "fd00:31:3::1 65000 65001" gobgp_route ipv6 fd00:0:1::/48

# FRR announces a network that the filter does not let in: it is refused here, and is nowhere else.
check muslin 192.0.2.0/24 refused refusal frr-ipv4 192.0.2.0/24
no_route muslin 192.0.2.0/24
no_route bird 192.0.2.0/24

# Every network reaches every other one through Muslin.
reach muslin 10.0.0.1 10.1.0.1
reach muslin 10.0.0.1 10.2.0.1
reach muslin 10.0.0.1 10.3.0.1
reach frr 10.1.0.1 10.2.0.1
reach frr 10.1.0.1 10.3.0.1
reach bird 10.2.0.1 10.3.0.1
reach frr fd00:0:1::1 fd00:0:2::1
reach frr fd00:0:1::1 fd00:0:3::1
reach bird fd00:0:2::1 fd00:0:3::1

finish
