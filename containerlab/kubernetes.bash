# What the verify.sh of the scenarios with a kind cluster share, beside verify.bash.

. ../verify.bash
NODES="$SCENARIO-control-plane $SCENARIO-worker $SCENARIO-worker2"
KUBECTL=${KUBECTL:-kubectl --context kind-$SCENARIO}

cluster() {
    $KUBECTL "$@"
}

# The block of pod addresses of a node in a family (4 or 6).
block() {
    local all
    all=$(cluster get node "$1" -o jsonpath='{.spec.podCIDRs[*]}')
    for block in $all; do
        case $2$block in 4*:*) ;; 4* | 6*:*) echo "$block" ;; esac
    done
}

# connects POD-OF-NODE ADDRESS: "connected", or what the pod says.
connects() {
    local pod
    pod=$(cluster get pods -l app=echo --field-selector "spec.nodeName=$1" -o jsonpath='{.items[0].metadata.name}')
    cluster exec "$pod" -- /agnhost connect "$2:8080" --timeout 2s >/dev/null && echo connected
}

# Every pod connects to every other one, in every family that pods have.
pods_connect() {
    local node other address
    for node in $NODES; do
        for other in $NODES; do
            [ "$node" = "$other" ] && continue
            for address in $(cluster get pods -l app=echo --field-selector "spec.nodeName=$other" \
                -o jsonpath='{.items[0].status.podIPs[*].ip}'); do
                case $address in *:*) address="[$address]" ;; esac
                check "$node" "$address" connected connects "$node" "$address"
            done
        done
    done
}
