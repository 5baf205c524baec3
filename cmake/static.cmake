# SPDX-License-Identifier: MIT
# libpasid.a: one object with all that libpasid needs of this project in it (the protocol too), in which only the names
# of client/libpasid.map are left global. What else it needs is libprotobuf-c: pkg-config --static says so.

file(STRINGS ${MAP} lines REGEX "^[ \t]*pasid_[a-z0-9_]+;")
list(TRANSFORM lines REPLACE "^[ \t]*(pasid_[a-z0-9_]+);.*" "\\1")
list(JOIN lines "\n" names)
file(CONFIGURE OUTPUT libpasid.names CONTENT "@names@\n" @ONLY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${MAP})

set(LIBPASID_A ${CMAKE_CURRENT_BINARY_DIR}/libpasid.a)
add_custom_command(
  OUTPUT ${LIBPASID_A}
  COMMAND ${CMAKE_LINKER} -r -o libpasid.o $<TARGET_OBJECTS:pasid_client> $<TARGET_FILE:pasid_wire>
    $<TARGET_FILE:pasid_proto> $<TARGET_FILE:pasid_core>
  # what only this compiler could optimise again stays here
  COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=libpasid.names --remove-section=.gnu.lto_*
    --remove-section=.gnu.debuglto_* libpasid.o
  COMMAND ${CMAKE_COMMAND} -E rm -f ${LIBPASID_A}
  COMMAND ${CMAKE_AR} qcD ${LIBPASID_A} libpasid.o
  COMMAND ${CMAKE_RANLIB} -D ${LIBPASID_A}
  DEPENDS pasid_client pasid_wire pasid_proto pasid_core ${CMAKE_CURRENT_BINARY_DIR}/libpasid.names
  WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}
  COMMAND_EXPAND_LISTS VERBATIM
  COMMENT "Making libpasid.a")
add_custom_target(pasid_archive ALL DEPENDS ${LIBPASID_A})
