# SPDX-License-Identifier: MIT
# Builds for arm64 on another machine: Debian's cross compiler, its libraries for arm64 in a folder of their own, and
# an emulator that runs what was built. PASIDD_ARM64_SYSROOT (environment) names another folder; scripts/prepare-arm64
# makes the usual one.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(ARM64_TRIPLE aarch64-linux-gnu)

if(DEFINED ENV{PASIDD_ARM64_SYSROOT})
  set(CMAKE_SYSROOT $ENV{PASIDD_ARM64_SYSROOT})
elseif(DEFINED ENV{PASIDD_CACHE})
  set(CMAKE_SYSROOT $ENV{PASIDD_CACHE}/sysroot-arm64)
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(CMAKE_SYSROOT $ENV{XDG_CACHE_HOME}/pasidd-vm/sysroot-arm64)
else()
  set(CMAKE_SYSROOT $ENV{HOME}/.cache/pasidd-vm/sysroot-arm64)
endif()

# CMake reads this file again for each of its own small tests, which find all prepared.
find_program(ARM64_GCC ${ARM64_TRIPLE}-gcc)
find_program(ARM64_EMULATOR NAMES qemu-aarch64 qemu-aarch64-static)
if(NOT ARM64_GCC OR NOT ARM64_EMULATOR OR NOT EXISTS ${CMAKE_SYSROOT}/usr/include)
  if(DEFINED ENV{PASIDD_ARM64_SYSROOT})
    set(how "has no /usr/include: unset it, or let it name a folder with Debian's libraries for ${ARM64_TRIPLE}")
    message(FATAL_ERROR "PASIDD_ARM64_SYSROOT=${CMAKE_SYSROOT} ${how}; ${ARM64_TRIPLE}-gcc and qemu-aarch64 are needed")
  endif()
  message(STATUS "Preparing what building for arm64 takes (scripts/prepare-arm64)")
  execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/../scripts/prepare-arm64 OUTPUT_QUIET RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "scripts/prepare-arm64 failed, see above. Needed: ${ARM64_TRIPLE}-gcc, qemu-aarch64, and the "
      "libraries for arm64 in ${CMAKE_SYSROOT}; PASIDD_ARM64_SYSROOT names another folder")
  endif()
  find_program(ARM64_EMULATOR NAMES qemu-aarch64 qemu-aarch64-static REQUIRED)
endif()

set(CMAKE_C_COMPILER ${ARM64_TRIPLE}-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR ${ARM64_EMULATOR} -L ${CMAKE_SYSROOT})

# Programs are this machine's, all else is the other's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE ${ARM64_TRIPLE})
set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/${ARM64_TRIPLE}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
