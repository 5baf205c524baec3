#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the guest's kernel from Debian's source package. Runs inside the system that vm_prepare.sh
# makes for it, in which /build has the configuration fragments; leaves bzImage and config there.

set -eu

progress() {
    echo "vm-test: kernel: $*" >&2
}

cd /build
progress "unpacking the source"
tar -xf /usr/src/linux-source-*.tar.xz
cd linux-source-*

make -s tinyconfig
scripts/kconfig/merge_config.sh -m .config ../common.config ../x86_64.config >/build/merge.log
make -s olddefconfig

# An option that a newer kernel renamed would silently be missing.
grep -h '^CONFIG_' ../common.config ../x86_64.config | while read -r option; do
    grep -qx "$option" .config || progress "warning: $option did not take effect"
done

progress "compiling (about 1500 files)"
make -j"$(nproc)" bzImage >/build/make.log 2>&1 &
compiler=$!
while kill -0 "$compiler" 2>/dev/null; do
    sleep 20
    progress "$(grep -c '^  CC' /build/make.log) files compiled"
done
wait "$compiler" || {
    tail -n 30 /build/make.log >&2
    exit 1
}
cp arch/x86/boot/bzImage .config /build/
mv /build/.config /build/config
