#!/bin/bash
# Pods' packets past netfilter by tc-BPF (docs/decisions/0014): round trips of four ways in turns, then what a Service and a
# policy of somebody else become, and which capabilities it takes. As root; wants clang, iproute2, nftables, Python.
set -euo pipefail
[ "${1-}" = inside ] || exec unshare --mount --net "$(realpath "$0")" inside
folder=$(mktemp -d)
trap 'rm -rf "$folder"; kill $(jobs -p) 2>/dev/null || true' EXIT
here=$(dirname "$(realpath "$0")")
for ask in 0 1; do
    "${CLANG:-clang}" -Wall -O2 -g -target bpf -mcpu=v3 -DASK=$ask -I"/usr/include/$(uname -m)-linux-gnu" \
        -c "$here/redirect.c" -o "$folder/redirect-$ask.o"
done
mkdir -p /run/netns
mount -t tmpfs none /run/netns

in_netns() { ip netns exec "$@"; }

# Two hosts with a pod each, and a router between them.
world() {
    local name=$1 host other
    for place in router host1 host2 pod1 pod2; do
        ip netns add "$name-$place"
        ip -n "$name-$place" link set lo up
    done
    for host in 1 2; do
        other=$((3 - host))
        ip -n "$name-router" link add "eth$host" type veth peer name eth0 netns "$name-host$host"
        ip -n "$name-router" address add "172.30.$host.1/24" dev "eth$host"
        ip -n "$name-router" link set "eth$host" up
        ip -n "$name-host$host" address add "172.30.$host.2/24" dev eth0
        ip -n "$name-host$host" link set eth0 up
        ip -n "$name-host$host" link add pod0 type veth peer name eth0 netns "$name-pod$host"
        ip -n "$name-host$host" address add 169.254.1.1/32 dev pod0
        ip -n "$name-host$host" link set pod0 up
        ip -n "$name-pod$host" address add "10.244.$host.2/32" dev eth0
        ip -n "$name-pod$host" link set eth0 up
        ip -n "$name-pod$host" route add 169.254.1.1 dev eth0
        ip -n "$name-pod$host" route add default via 169.254.1.1
        ip -n "$name-host$host" route add "10.244.$host.2" dev pod0
        ip -n "$name-host$host" route add "10.244.$other.0/24" via "172.30.$host.1"
        ip -n "$name-router" route add "10.244.$host.0/24" via "172.30.$host.2"
        in_netns "$name-host$host" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    done
    in_netns "$name-router" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
}

# Masquerade and the check of sources, as Muslin has them.
guard() {
    for host in 1 2; do
        in_netns "$1-host$host" nft 'table inet m {
            chain out { type nat hook postrouting priority srcnat; ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade; };
            chain in { type filter hook prerouting priority raw; iifname "pod*" fib saddr . iif oif missing drop; }; }'
    done
}

attach() {
    for host in 1 2; do
        for place in pod0:pod eth0:uplink; do
            in_netns "$1-host$host" tc qdisc add dev "${place%:*}" clsact
            in_netns "$1-host$host" tc filter add dev "${place%:*}" ingress bpf direct-action object-file "$2" section "tc/${place#*:}"
        done
    done
}

world static
world guarded && guard guarded
world redirected && guard redirected && attach redirected "$folder/redirect-1.o"
world unasked && guard unasked && attach unasked "$folder/redirect-0.o"

python3 "$here/redirect.py" static guarded redirected unasked
for name in guarded redirected unasked; do
    ip netns exec "$name-pod2" python3 -m http.server 8000 --bind 10.244.2.2 --directory "$folder" >"$folder/$name.log" 2>&1 &
    in_netns "$name-host1" nft 'table ip proxy { chain c { type nat hook prerouting priority dstnat; ip daddr 10.96.0.10 dnat to 10.244.2.2; }; }'
    until in_netns "$name-pod2" curl -so "$folder/answer" http://10.244.2.2:8000/; do sleep 0.1; done
    ask() { in_netns "$name-pod1" curl -so "$folder/answer" --connect-timeout 2 "http://$1:8000/" && echo yes || echo no; }
    echo "$name: the pod answers: $(ask 10.244.2.2), its Service: $(ask 10.96.0.10)"
    in_netns "$name-host2" nft 'table ip others { chain c { type filter hook forward priority 0; tcp dport 8000 drop; }; }'
    echo "$name: although a policy forbids it: $(ask 10.244.2.2)"
done

in_netns static-host1 tc qdisc add dev pod0 clsact
for capabilities in net_admin net_admin,+bpf net_admin,+bpf,+perfmon; do
    load="mount -t bpf bpf /sys/fs/bpf; exec setpriv --bounding-set=-all,+$capabilities --inh-caps=-all \
          tc filter replace dev pod0 ingress pref 1 handle 1 bpf direct-action object-file $folder/redirect-1.o section tc/pod"
    in_netns static-host1 sh -c "$load" >"$folder/log" 2>&1 && loads=yes || loads=no
    echo "loads with $capabilities: $loads"
done
