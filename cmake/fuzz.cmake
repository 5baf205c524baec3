# SPDX-License-Identifier: MIT
# tests/fuzz/fuzz_<target>.c is one fuzz target each. With PASIDD_FUZZ it is linked with libFuzzer; otherwise it replays
# files, and as a test its corpus and the inputs that once found something.

file(GLOB FUZZ_TARGETS CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
file(GLOB FUZZ_COMMON CONFIGURE_DEPENDS tests/fuzz/*.c)
file(GLOB FUZZ_RECORDER CONFIGURE_DEPENDS tests/fuzz/record*.c)
list(REMOVE_ITEM FUZZ_COMMON ${FUZZ_TARGETS} ${FUZZ_RECORDER} ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/replay.c)

# The models of the unit tests, without Check's runner (an assertion of theirs ends the program), and smaller.
add_library(fuzz_common STATIC ${FUZZ_COMMON} tests/unit/fixture.c tests/unit/fake_export.c
  tests/unit/hardware_model.c)
target_include_directories(fuzz_common PUBLIC tests/fuzz tests/unit)
target_compile_definitions(fuzz_common PUBLIC MODEL_ENTRIES=640 MODEL_DEVICES=80 MODEL_OPS=160)
target_link_libraries(fuzz_common PRIVATE pasid_flags PUBLIC pasid_daemon pasid_fault)

# What the fuzzer is not to be led by: the judges themselves; and the namespace, all of which each recount goes through,
# and which has a model and random histories of its own (test_space_random, there with all sanitizers).
if(PASIDD_FUZZ)
  target_compile_options(fuzz_common PRIVATE -fno-sanitize=fuzzer-no-link)
  set_source_files_properties(src/space.c PROPERTIES COMPILE_OPTIONS "-fno-sanitize=all;-fno-sanitize=fuzzer-no-link;-O2")
endif()

add_custom_target(fuzz-targets)
foreach(source IN LISTS FUZZ_TARGETS)
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE fuzz_ "" target ${name})
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE pasid_flags fuzz_common)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/fuzz)
  add_dependencies(fuzz-targets ${name})
  if(PASIDD_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    continue()
  endif()
  target_sources(${name} PRIVATE tests/fuzz/replay.c)
  set(folders "")
  foreach(kind corpus regressions)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/${kind}/${target})
      list(APPEND folders ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/${kind}/${target})
    endif()
  endforeach()
  if(folders)
    add_test(NAME ${name}_corpus COMMAND ${name} ${folders})
  endif()
  add_dependencies(unit-tests ${name})
endforeach()

if(NOT PASIDD_FUZZ)
  add_executable(fuzz_record ${FUZZ_RECORDER})
  target_link_libraries(fuzz_record PRIVATE pasid_flags fuzz_common pasid_client)
  set_target_properties(fuzz_record PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/fuzz)
endif()
