# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the VM tests need and Debian 12 does not have: QEMU >= 11.1 and a kernel >= 6.15 with
# iommufd. Both are made once, from packages of Debian 13 and its backports, and kept in a cache
# outside the checkout; so is the disk of a guest with systemd, from Debian 12 itself. Sourced by
# scripts/vm-test, which sets vm_checkout.
#
# A part's folder carries a hash of all that it is made from in its name: a change makes a new one,
# and a part that is there is complete, because it gets its name last.

: "${vm_checkout:?}"
vm_cache=${PASIDD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pasidd-vm}
vm_release=trixie
vm_qemu_minimum=11.1
vm_kernel_package=linux-source-7.3
vm_machine=x86_64
vm_guest_release=bookworm
vm_guest_size=400M

vm_say() {
    printf 'vm-test: %s\n' "$*" >&2
}

vm_die() {
    vm_say "$*"
    exit 1
}

# Prints the address of the Debian mirror that this machine's own apt uses.
vm_mirror() {
    # shellcheck disable=SC2016 # the variables are apt's
    local codename format='$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)'
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get indextargets --format "$format" 'Created-By: Packages' |
        awk -v name="$codename" '$1 == "Debian" && $2 == name && $3 == "main" { print $4; exit }'
}

# Fills vm_apt_options with what this machine's apt is told about reaching mirrors.
vm_read_apt_options() {
    local key value
    vm_apt_options=()
    for key in Acquire::{http::Proxy,https::Proxy,Check-Valid-Until,Check-Date}; do
        value=
        eval "$(apt-config shell value "$key")"
        [[ -z $value ]] || vm_apt_options+=(--aptopt="$key \"$value\"")
    done
}

# vm_debian TARGET PACKAGES [OPTION...]: installs Debian 13 with packages, backports preferred, into
# a folder (or, with the target "-" and --format=null, for the hooks alone).
vm_debian() {
    local target=$1 packages=$2 mirror
    shift 2
    mirror=$(vm_mirror)
    [[ -n $mirror ]] || vm_die "apt names no Debian mirror: see its sources, run 'apt-get update'"
    vm_read_apt_options
    mmdebstrap --quiet --variant=apt --include="$packages" "$@" "${vm_apt_options[@]}" \
        --aptopt="APT::Default-Release \"$vm_release-backports\"" \
        --aptopt='APT::Install-Recommends "false"' "$vm_release" "$target" \
        "deb $mirror $vm_release main" "deb $mirror $vm_release-backports main" >&2
}

# vm_part NAME FUNCTION [INPUT-FILE...]: prints the folder of a cached part; FUNCTION fills the
# folder that it is given when none is there yet. The function's own text and those of its inputs
# decide whether one is.
vm_part() {
    local name=$1 make=$2 hash part lock fresh
    shift 2
    hash=$({
        declare -f "$make" vm_debian
        [[ $name != kernel* ]] || declare -f vm_make_kernel
        echo "$vm_release $vm_qemu_minimum $vm_kernel_package $vm_machine"
        [[ $name != guest ]] || echo "$vm_guest_release $vm_guest_size"
        [[ $# -eq 0 ]] || cat -- "$@"
    } | sha256sum | cut -c1-16)
    part=$vm_cache/$name-$hash
    mkdir -p "$vm_cache"
    exec {lock}>"$vm_cache/$name.lock"
    if ! flock --nonblock "$lock"; then
        vm_say "waiting for another run that prepares the $name"
        flock "$lock"
    fi
    if [[ ! -d $part ]]; then
        rm -rf -- "$vm_cache/$name".new.*
        fresh=$(mktemp -d "$vm_cache/$name.new.XXXXXX")
        chmod 755 "$fresh"
        "$make" "$fresh" "$@" || vm_die "could not prepare the $name"
        vm_drop_parts "$name"
        mv -- "$fresh" "$part"
    fi
    exec {lock}>&-
    echo "$part"
}

# vm_drop_parts NAME: removes what earlier inputs made.
vm_drop_parts() {
    local old
    for old in "$vm_cache/$1"-????????????????; do
        [[ ! -d $old ]] || rm -rf -- "$old"
    done
}

vm_make_qemu() {
    local folder=$1 version
    vm_say "installing QEMU of $vm_release-backports in $folder (about a minute, once)"
    vm_debian "$folder/root" qemu-system-x86 || return 1
    version=$(vm_qemu_version "$folder/root") || return 1
    printf '%s\n' "$vm_qemu_minimum" "$version" | sort --check=quiet --version-sort ||
        vm_die "QEMU is $version; the tests need $vm_qemu_minimum"
    vm_say "QEMU $version is ready"
}

# The one for arm64 guests has a folder of its own: neither is made anew for the other's sake.
vm_make_qemu_arm64() {
    local folder=$1 version
    vm_say "installing QEMU of $vm_release-backports for arm64 guests in $folder (two minutes, once)"
    vm_debian "$folder/root" qemu-system-arm,qemu-efi-aarch64 || return 1
    version=$(vm_qemu_version "$folder/root" aarch64) || return 1
    printf '%s\n' "$vm_qemu_minimum" "$version" | sort --check=quiet --version-sort ||
        vm_die "QEMU is $version; the tests need $vm_qemu_minimum"
    vm_say "QEMU $version is ready"
}

# vm_qemu_version ROOT [ARCHITECTURE]
vm_qemu_version() {
    "$1/lib64/ld-linux-x86-64.so.2" --library-path "$1/usr/lib/x86_64-linux-gnu" \
        "$1/usr/bin/qemu-system-${2-x86_64}" --version |
        sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p'
}

vm_make_kernel_x86_64() {
    vm_make_kernel "$1" bzImage "${@:2}"
}

vm_make_kernel_arm64() {
    vm_make_kernel "$1" Image.gz "${@:2}"
}

# The kernel is built in a system of its own, which is thrown away: it only lives while mmdebstrap
# runs its hooks.
vm_make_kernel() {
    local folder=$1 image=$2 inputs
    local tools=bc,bison,flex,gcc,kmod,libc6-dev,libelf-dev,libssl-dev,make,xz-utils
    [[ $image == bzImage ]] || tools+=,gcc-aarch64-linux-gnu
    shift 2
    inputs=$(printf '%q ' "$@")
    vm_say "building the kernel from $vm_kernel_package (about ten minutes, once)"
    # shellcheck disable=SC2016 # the hooks' shell expands $1
    vm_debian - "$vm_kernel_package,$tools" --format=null \
        --customize-hook='mkdir "$1/build"' \
        --customize-hook="copy-in $inputs /build" \
        --customize-hook="chroot \"\$1\" sh /build/vm_build_kernel.sh $image" \
        --customize-hook="copy-out /build/$image /build/config $(printf %q "$folder")"
}

# The disk of a guest with systemd and what pasidd's packages depend on, which dpkg finds there. Its one
# service of ours runs what a second disk brings, so that this one changes seldom. What mmdebstrap mounts
# in the system must not come along, nor what keeps services from being started there.
vm_make_guest() {
    local folder=$1 unit=$2 mirror
    local packages=systemd,systemd-sysv,udev,kmod,dbus,procps,adduser
    packages+=,libevent-core-2.1-7,libevent-extra-2.1-7,libjansson4,libprotobuf-c-dev,libseccomp2,libsystemd0
    mirror=$(vm_mirror)
    [[ -n $mirror ]] || vm_die "apt names no Debian mirror: see its sources, run 'apt-get update'"
    vm_read_apt_options
    vm_say "making the disk of a guest with systemd, $vm_guest_release (a minute or two, once)"
    # shellcheck disable=SC2016 # the hooks' shell expands $1
    mmdebstrap --quiet --variant=apt --format=null --include="$packages" "${vm_apt_options[@]}" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="copy-in $(printf %q "$unit") /etc/systemd/system" \
        --customize-hook='chroot "$1" systemctl enable guest.service' \
        --customize-hook='mkdir "$1.copy" && tar -C "$1" --one-file-system --exclude="./var/*/apt/*" --exclude=./usr/sbin/policy-rc.d -c . | tar -C "$1.copy" -x' \
        --customize-hook="mke2fs -q -t ext4 -d \"\$1.copy\" \"\$1/image\" $vm_guest_size; rm -rf \"\$1.copy\"" \
        --customize-hook="copy-out /image $(printf %q "$folder")" \
        "$vm_guest_release" - "deb $mirror $vm_guest_release main" >&2
}

# Prints the path of that disk.
vm_prepare_guest() {
    local part
    part=$(vm_part guest vm_make_guest "$vm_checkout/tests/vm/guest/guest.service") || return 1
    echo "$part/image"
}

# Prints the folder of a system with QEMU.
vm_prepare_qemu() {
    local part
    part=$(vm_part qemu vm_make_qemu) || return 1
    echo "$part/root"
}

# The same for arm64 guests.
vm_prepare_qemu_arm64() {
    local part
    part=$(vm_part qemu-arm64 vm_make_qemu_arm64) || return 1
    echo "$part/root"
}

# vm_prepare_kernel [build]: prints the path of the guest's kernel: one that is given, or one that
# is built.
vm_prepare_kernel() {
    vm_kernel kernel "$vm_machine" bzImage "${1-}"
}

# The same for arm64 guests.
vm_prepare_kernel_arm64() {
    vm_kernel kernel-arm64 arm64 Image.gz "${1-}"
}

# vm_kernel PART MACHINE IMAGE build|''
vm_kernel() {
    local part config=$vm_checkout/tests/vm/kernel
    local given=${PASIDD_KERNELS:-$vm_checkout/../shared/vm/kernels}/$2-$3
    if [[ $4 != build && -f $given ]]; then
        vm_say "using the kernel $given"
        echo "$given"
        return
    fi
    [[ -z ${PASIDD_KERNELS-} || $4 == build ]] || vm_die "PASIDD_KERNELS: there is no $given"
    part=$(vm_part "$1" "vm_make_kernel_$2" "$vm_checkout/scripts/lib/vm_build_kernel.sh" \
        "$config/common.config" "$config/$2.config") || return 1
    echo "$part/$3"
}
