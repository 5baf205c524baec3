# SPDX-License-Identifier: MIT
# Everything that decides how C is compiled here; targets take it by linking pasid_flags.

set(PASIDD_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined)")
set(PASIDD_MUTANT "" CACHE STRING "Break one rule on purpose: a MUTANT_<letter> of src/base.h, by letter; or ANY")
option(PASIDD_WERROR "Warnings are errors" OFF)
option(PASIDD_COVERAGE "Count which lines run" OFF)
option(PASIDD_LTO "Optimise the daemon and the library as a whole (gcc, release)" ON)
option(PASIDD_FUZZ "Link tests/fuzz with libFuzzer (clang); without it they replay files" OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Debug CACHE STRING "Debug or Release" FORCE)
endif()
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Assertions guard other people's memory: a release keeps them (no -DNDEBUG).
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
include(CheckPIESupported)
check_pie_supported()

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(pasid_flags INTERFACE)
# Empty, so that a file which defines it as well does not clash.
target_compile_options(pasid_flags INTERFACE -D_GNU_SOURCE=
  -Wall -Wextra -Wshadow -Wvla -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wswitch-enum -Wformat=2 -Wundef -Wpointer-arith)
if(PASIDD_WERROR)
  target_compile_options(pasid_flags INTERFACE -Werror)
endif()

if(PASIDD_SANITIZE)
  target_compile_options(pasid_flags INTERFACE -fsanitize=${PASIDD_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PASIDD_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL Release)
  target_compile_options(pasid_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
    -fstack-protector-strong)
  add_link_options(-Wl,-z,relro,-z,now)
  if(CMAKE_C_COMPILER_ID STREQUAL GNU AND PASIDD_LTO)
    # The daemon and the library are optimised as a whole, which takes a sixth of the daemon's instructions away; what
    # is not installed is linked the short way.
    target_compile_options(pasid_flags INTERFACE -flto=auto -ffat-lto-objects)
    set(PASIDD_IN_PARTS -fno-lto)
  endif()
endif()

if(PASIDD_FUZZ)
  target_compile_options(pasid_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(PASIDD_COVERAGE)
  target_compile_options(pasid_flags INTERFACE --coverage -O0 -include ${CMAKE_CURRENT_SOURCE_DIR}/tests/coverage/end.h)
  add_link_options(--coverage)
endif()

if(PASIDD_MUTANT STREQUAL "ANY") # the one that the environment names by its number, or none
  target_compile_definitions(pasid_flags INTERFACE PASIDD_MUTANT_ANY)
elseif(NOT PASIDD_MUTANT STREQUAL "") # a letter N alone would be false
  file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/src/base.h known REGEX "^#define MUTANT_[A-Z]+ +[1-9]")
  list(TRANSFORM known REPLACE "^#define MUTANT_([A-Z]+) .*" "\\1")
  if(NOT PASIDD_MUTANT IN_LIST known)
    message(FATAL_ERROR "PASIDD_MUTANT=${PASIDD_MUTANT} is none of: ${known} (src/base.h)")
  endif()
  target_compile_definitions(pasid_flags INTERFACE PASIDD_MUTANT=MUTANT_${PASIDD_MUTANT})
endif()
