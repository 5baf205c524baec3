# SPDX-License-Identifier: MIT
# tests/unit/test_<module>.c is one executable each; the other files there are linked into every one.

pkg_check_modules(CHECK IMPORTED_TARGET check)
file(GLOB TEST_SOURCES CONFIGURE_DEPENDS tests/unit/test_*.c)
if(TEST_SOURCES AND NOT CHECK_FOUND)
  message(FATAL_ERROR "The tests need Check (Debian: check); -DBUILD_TESTING=OFF leaves them out")
endif()

file(GLOB SUPPORT_SOURCES CONFIGURE_DEPENDS tests/unit/*.c)
list(REMOVE_ITEM SUPPORT_SOURCES ${TEST_SOURCES})
if(TEST_SOURCES)
  pasid_library(test_support SOURCES ${SUPPORT_SOURCES}
    LINK pasid_client pasid_daemon PkgConfig::CHECK)
  target_include_directories(test_support PUBLIC tests/unit)
endif()

add_custom_target(unit-tests)
foreach(source IN LISTS TEST_SOURCES)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE pasid_flags test_support)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/unit)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/tests/unit)
  add_dependencies(unit-tests ${name})
endforeach()
