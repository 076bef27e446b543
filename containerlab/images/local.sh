#!/usr/bin/env bash
# Makes the images of the scenarios from the programs of this machine, without a registry: each program with the
# libraries that it needs, and nothing else.
#
#   local.sh FOLDER          FOLDER holds muslin and muslin-cni, e.g. target/release
#
# It needs the packages iproute2, iputils-ping, jq, bird2, gobgpd and frr. Then:
#   export LAB_IMAGE=local/muslin-lab FRR_IMAGE=local/frr
set -euo pipefail

muslin=${1:?usage: local.sh FOLDER-OF-MUSLIN}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# root NAME: an empty root file system; prints its folder.
root() {
    mkdir -p "$work/$1"/{usr/{bin,sbin,lib,lib64,local/bin},etc,run,tmp,var/{lib,log,tmp},root,proc,sys,dev}
    chmod 1777 "$work/$1"/{tmp,var/tmp}
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$work/$1/"
    ln -s ../run "$work/$1/var/run"
    printf 'root:x:0:0:root:/root:/bin/sh\nfrr:x:92:92::/run/frr:/usr/sbin/nologin\n' >"$work/$1/etc/passwd"
    printf 'root:x:0:\nfrr:x:92:\nfrrvty:x:93:frr\n' >"$work/$1/etc/group"
    echo "$work/$1"
}

# take ROOT FILE...: copies programs, and the libraries that they are linked with, to where they are here.
take() {
    local root=$1 file part
    shift
    for file; do
        for part in "$file" $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do
            [ -e "$root$part" ] && continue
            mkdir -p "$root$(dirname "$part")"
            cp --dereference "$part" "$root$part"
        done
    done
}

# place NAME...: where programs are.
place() {
    local name
    for name; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$name" || { echo "local.sh: there is no $name here" >&2; return 1; }
    done
}

tools=(bash ip ss ping sysctl mkdir sleep cat ls chown)

lab=$(root lab)
take "$lab" $(place "${tools[@]}" jq bird birdc gobgpd gobgp)
mkdir -p "$lab/run/bird"
ln -sf bash "$lab/usr/bin/sh"
cp "$here/pod" "$lab/usr/local/bin/pod"
for program in muslin muslin-cni; do
    cp "$muslin/$program" "$lab/usr/local/bin/$program"
    take "$lab" $(ldd "$muslin/$program" | grep -o '/[^ ]*')
done
tar -C "$lab" -c . | docker import --change 'CMD ["sleep", "infinity"]' - local/muslin-lab >/dev/null

frr=$(root frr)
take "$frr" $(place "${tools[@]}" vtysh) /usr/lib/frr/{zebra,staticd,bgpd,bfdd,watchfrr}
take "$frr" $(find /usr/lib/*/frr/modules -name '*.so') $(find /lib/*/security -name pam_permit.so)
mkdir -p "$frr/usr/share" && cp -a /usr/share/yang "$frr/usr/share/"
ln -sf bash "$frr/usr/bin/sh"
mkdir -p "$frr/etc"/{frr,pam.d} "$frr/var/log/frr"
for service in frr other; do
    printf 'auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n' >"$frr/etc/pam.d/$service"
done
cp "$here/frr-start" "$frr/usr/local/bin/frr-start"
tar -C "$frr" -c . | docker import --change 'CMD ["frr-start"]' - local/frr >/dev/null

docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep '^local/'
