# What the verify.sh of all scenarios share. Source it from a scenario's folder.
#
# A check asks until it gets the answer that it expects; all checks of a run share WAIT seconds (30), so a lab that has
# just been deployed has time to converge and a broken one does not take a minute for each line. They run side by side,
# and `finish` prints them in order. A check that fails says which node, which prefix, what was expected and what was
# found, and `finish` makes the script exit with 1.

set -u
SCENARIO=$(basename "$PWD")
WAIT=${WAIT:-30}
DEADLINE=$((SECONDS + WAIT))
AT_ONCE=8
CHECKS=0
RESULTS=$(mktemp -d)
trap 'rm -rf "$RESULTS"' EXIT

# on NODE COMMAND...: runs a command in a node of the lab. LAB_EXEC is what goes before `NODE -- COMMAND` where the nodes
# are no containers, as in `muslin lab --topology`.
on() {
    local node=$1
    shift
    if [ -n "${LAB_EXEC:-}" ]; then
        $LAB_EXEC "$node" -- "$@"
        return
    fi
    case $node in
        # A node of a kind cluster, which is no container of containerlab's.
        "$SCENARIO"-*) docker exec "$node" "$@" ;;
        *) docker exec "clab-$SCENARIO-$node" "$@" ;;
    esac
}

# check NODE SUBJECT EXPECTED COMMAND...: COMMAND prints exactly EXPECTED.
check() {
    while [ "$(jobs -pr | wc -l)" -ge $AT_ONCE ]; do wait -n; done
    CHECKS=$((CHECKS + 1))
    check_now "$@" >"$RESULTS/$CHECKS" &
}

check_now() {
    local node=$1 subject=$2 expected=$3 found
    shift 3
    while :; do
        found=$("$@" 2>&1)
        [ "$found" = "$expected" ] && break
        if [ $SECONDS -ge $DEADLINE ]; then
            printf 'FAIL  %-8s %-26s expected: %s; found: %s\n' "$node" "$subject" "$expected" "${found:-nothing}"
            return
        fi
        sleep 0.2
    done
    printf 'ok    %-8s %-26s %s\n' "$node" "$subject" "$expected"
}

# Prints how the kernel of a node sends packets for exactly this prefix: "via A B" (the next hops), or "dev D E" (the
# interfaces), or "no route". A next hop that is link-local is not the same in every lab: "via fe80".
kernel_route() {
    local what=$1 node=$2 prefix=$3 family=-4
    case $prefix in *:*) family=-6 ;; esac
    on "$node" ip "$family" route show "$prefix" | awk -v what="$what" '
        /^(blackhole|unreachable|prohibit)/ { print $1 }
        {
            for (i = 1; i < NF; i++) {
                if ($i != what) continue
                way = $(i + 1) ~ /^inet6?$/ ? $(i + 2) : $(i + 1)
                print way ~ /^fe80:/ ? "fe80" : way
            }
        }' | sort -u | awk -v what="$what" '
        { words = words " " $1 }
        END { print (words == "" ? "no route" : what words) }'
}

# route NODE PREFIX "via A B": the kernel of the node has exactly this prefix, by exactly these next hops; or, with
# "dev D E", by these interfaces; or it has it not, with "no route".
route() {
    check "$1" "$2" "$3" kernel_route "${3%% *}" "$1" "$2"
}

no_route() {
    check "$1" "$2" "no route" kernel_route dev "$1" "$2"
}

# Asks with one packet; "answered" or what ping has to say.
ping_once() {
    local node=$1 source=$2 destination=$3 said
    shift 3
    said=$(on "$node" "$@" ping -c 1 -W 1 -I "$source" "$destination" 2>&1) && echo answered && return
    echo "no answer ($(printf '%s' "$said" | grep -E 'loss|nreachable|ping:|exceeded' | head -n 1))"
}

# reach NODE SOURCE DESTINATION: a packet from one address to the other one, and its answer.
reach() {
    check "$1" "$2 > $3" answered ping_once "$1" "$2" "$3"
}

# The address of a pod in a family (-4 or -6), as its node has it; asked once.
declare -A POD_ADDRESS
pod_address() {
    local family=$1 node=$2 pod=$3 key="$*"
    if [ -z "${POD_ADDRESS[$key]:-}" ]; then
        POD_ADDRESS[$key]=$(on "$node" ip netns exec "$pod" ip "$family" -o address show dev eth0 scope global 2>/dev/null |
            awk '{ sub("/.*", "", $4); print $4; exit }')
    fi
    ADDRESS=${POD_ADDRESS[$key]:-missing}
}

# pods_reach FAMILY NODE POD NODE POD: a packet from pod to pod, by their own addresses, and its answer.
pods_reach() {
    local source destination
    pod_address "$1" "$2" "$3" && source=$ADDRESS
    pod_address "$1" "$4" "$5" && destination=$ADDRESS
    check "$2" "$source > $destination" answered ping_once "$2" "$source" "$destination" ip netns exec "$3"
}

# all_pods_reach NODE...: a packet from the pod `pod1` of every node to that of every other one, in both families.
all_pods_reach() {
    local node other
    for node; do
        for other; do
            [ "$node" = "$other" ] && continue
            pods_reach -4 "$node" pod1 "$other" pod1
            pods_reach -6 "$node" pod1 "$other" pod1
        done
    done
}

# How many of the sessions of a Muslin node are established, as "3 of 4".
established() {
    on "$1" muslin peers --output json | awk '
        /"state":/ { all++ } /"state": *"[Ee]stablished"/ { up++ } END { printf "%d of %d\n", up, all }'
}

# sessions NODE NUMBER: the Muslin node has so many sessions, all established.
sessions() {
    check "$1" sessions "$2 of $2" established "$1"
}

finish() {
    local failed passed
    wait
    [ $CHECKS -gt 0 ] && (cd "$RESULTS" && cat $(seq $CHECKS))
    failed=$(cat "$RESULTS"/* 2>/dev/null | grep -c '^FAIL')
    passed=$((CHECKS - failed))
    printf '%s: %d passed, %d failed\n' "$SCENARIO" "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
