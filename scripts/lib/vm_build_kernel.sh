#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: vm_build_kernel.sh bzImage|Image.gz
# Builds the guest's kernel, for x86_64 or arm64, from Debian's source package. Runs inside the system
# that vm_prepare.sh makes for it, in which /build has the configuration fragments; leaves the image
# and config there.

set -eu

image=$1
if [ "$image" = bzImage ]; then
    folder=x86 own=x86_64.config
else
    folder=arm64 own=arm64.config
    export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-
fi

progress() {
    echo "vm-test: kernel: $*" >&2
}

cd /build
progress "unpacking the source"
tar -xf /usr/src/linux-source-*.tar.xz
cd linux-source-*

make -s tinyconfig
scripts/kconfig/merge_config.sh -m .config ../common.config "../$own" >/build/merge.log
make -s olddefconfig

# An option that a newer kernel renamed would silently be missing.
grep -h '^CONFIG_' ../common.config "../$own" | while read -r option; do
    grep -qx "$option" .config || progress "warning: $option did not take effect"
done

progress "compiling (about 1500 files)"
make -j"$(nproc)" "$image" >/build/make.log 2>&1 &
compiler=$!
while kill -0 "$compiler" 2>/dev/null; do
    sleep 20
    progress "$(grep -c '^  CC' /build/make.log) files compiled"
done
wait "$compiler" || {
    tail -n 30 /build/make.log >&2
    exit 1
}
cp "arch/$folder/boot/$image" .config /build/
mv /build/.config /build/config
