# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What building for arm64 takes on another machine: Debian 12's libraries and headers for arm64,
# unpacked in a folder of the cache. Nothing of it is installed in this system. Sourced after
# scripts/lib/vm_prepare.sh, whose cache and mirror it uses; this file's text is part of what
# decides whether a folder that is there is the right one.

: "${vm_checkout:?}" "${vm_cache:?}"
arm64_release=bookworm
# What the programs and their tests are linked with, and a guest's tools.
arm64_packages=libc6-dev,libevent-dev,libprotobuf-c-dev,libjansson-dev,libseccomp-dev,libsystemd-dev,check,libsubunit-dev,busybox-static,python3
# Where cmake/arm64.cmake looks: the same place whatever the folder behind it is called.
arm64_sysroot=$vm_cache/sysroot-arm64

arm64_make_sysroot() {
    local folder=$1 mirror vm_apt_options=()
    mirror=$(vm_mirror)
    [[ -n $mirror ]] || vm_die "apt names no Debian mirror: see its sources, run 'apt-get update'"
    vm_read_apt_options
    vm_say "unpacking $arm64_release's libraries for arm64 in $folder (half a minute, once)"
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include="$arm64_packages" \
        "${vm_apt_options[@]}" --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        "$arm64_release" "$folder/root" "deb $mirror $arm64_release main" >&2 || return 1
    chmod 755 "$folder/root" && arm64_relative_links "$folder/root"
}

# arm64_relative_links ROOT: a link to /lib/... means one below the root.
arm64_relative_links() {
    local link target
    find "$1/usr" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
        target=$1$(readlink "$link")
        [[ ! -e $target ]] || ln -sfnr "$target" "$link" || return 1
    done
}

# Prints the folder with the libraries, after unpacking them when it is not there yet.
arm64_prepare_sysroot() {
    local part
    part=$(vm_part sysroot-arm64 arm64_make_sysroot "$vm_checkout/scripts/lib/arm64_prepare.sh") || return 1
    ln -sfn "${part##*/}/root" "$arm64_sysroot" || return 1
    echo "$arm64_sysroot"
}
