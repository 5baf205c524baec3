# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Installs what a script needs from Debian, saying what.

# What building and running takes, and what the checks take on top of it.
# shellcheck disable=SC2034 # used by those who source this file
BUILD_PACKAGES=(cmake ninja-build gcc libc6-dev pkg-config libevent-dev libprotobuf-c-dev protobuf-c-compiler
  libjansson-dev libsystemd-dev scdoc python3 libseccomp-dev)
# shellcheck disable=SC2034
TEST_PACKAGES=("${BUILD_PACKAGES[@]}" check libsubunit-dev clang libclang-rt-dev llvm clang-format clang-tidy cppcheck
  shellcheck python3-protobuf python3-setuptools protobuf-compiler ccache git procps g++ make groff-base zsh systemd)
# What the tests in virtual machines take on top of building.
# shellcheck disable=SC2034
VM_PACKAGES=(mmdebstrap busybox-static python3 e2fsprogs)
# What building for arm64 elsewhere, and running its tests there, takes on top of building.
# shellcheck disable=SC2034
ARM64_PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user mmdebstrap)
# What Debian packages take on top of building, and what looks at them.
# shellcheck disable=SC2034
PACKAGE_PACKAGES=(dpkg-dev debhelper lintian abigail-tools git)

# need_packages NAME...: installs the ones that are missing; fails when it cannot.
need_packages() {
  local name missing=() as_root=()
  if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian system: what is needed is (by Debian's names): $*" >&2
    return 0
  fi
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "missing packages; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "installing from Debian: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
