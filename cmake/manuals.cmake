# SPDX-License-Identifier: MIT
# Manual pages: man/NAME.SECTION.scd through scdoc, and two that are a document of docs/ first. Each function of the library has
# a page of its name that leads to the one that describes it.

find_program(SCDOC scdoc)
find_package(Python3 COMPONENTS Interpreter QUIET)
set(MAN_DIR ${CMAKE_CURRENT_BINARY_DIR}/man)
set(MAN_PAGES)

# manual_page(NAME.SECTION SOURCE COMMAND...): one that COMMAND writes in scdoc's format to its standard output.
function(manual_page page source)
  set(folder ${MAN_DIR})
  add_custom_command(
    OUTPUT ${folder}/${page}
    COMMAND ${ARGN} > ${folder}/${page}.scd
    COMMAND ${SCDOC} < ${folder}/${page}.scd > ${folder}/${page}
    DEPENDS ${source} ${CMAKE_CURRENT_SOURCE_DIR}/man/from-markdown.py
    VERBATIM
    COMMENT "Making manual page ${page}")
  set(MAN_PAGES ${MAN_PAGES} ${folder}/${page} PARENT_SCOPE)
endfunction()

if(SCDOC AND Python3_FOUND)
  file(MAKE_DIRECTORY ${MAN_DIR})
  file(GLOB MAN_SOURCES CONFIGURE_DEPENDS man/*.scd)
  foreach(source IN LISTS MAN_SOURCES)
    get_filename_component(page ${source} NAME)
    string(REGEX REPLACE "\\.scd$" "" page ${page})
    manual_page(${page} ${source} ${CMAKE_COMMAND} -E cat ${source})
  endforeach()
  set(FROM_MARKDOWN ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/man/from-markdown.py)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/docs/CONFIGURATION.md)
  manual_page(pasidd.json.5 ${source} ${FROM_MARKDOWN} pasidd.json 5 "settings of pasidd" ${source})
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/docs/PROTOCOL.md)
  manual_page(pasid-protocol.7 ${source} ${FROM_MARKDOWN} pasid-protocol 7 "what clients and pasidd say to each other" ${source})

  file(GLOB MAN_SOURCES CONFIGURE_DEPENDS man/libpasid-*.3.scd)
  foreach(source IN LISTS MAN_SOURCES)
    get_filename_component(page ${source} NAME)
    string(REGEX REPLACE "\\.scd$" "" page ${page})
    file(STRINGS ${source} prototypes REGEX "\\*pasid_[a-z_]+\\*\\([^)]")
    foreach(prototype IN LISTS prototypes)
      string(REGEX REPLACE ".*\\*(pasid_[a-z_]+)\\*\\([^)].*" "\\1" name ${prototype})
      file(WRITE ${MAN_DIR}/alias/${name}.3 ".so man3/${page}\n")
      list(APPEND MAN_ALIASES ${MAN_DIR}/alias/${name}.3)
    endforeach()
  endforeach()
  add_custom_target(manuals ALL DEPENDS ${MAN_PAGES})
else()
  message(STATUS "No scdoc, or no Python: manual pages are not made")
endif()

foreach(page IN LISTS MAN_PAGES MAN_ALIASES)
  string(REGEX REPLACE ".*\\." "" section ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT manuals)
endforeach()
install(FILES LICENSE docs/CONFIGURATION.md docs/PROTOCOL.md docs/OPERATING.md docs/INTEGRATING.md docs/THREAT-MODEL.md
  DESTINATION ${DOC_DIR} COMPONENT manuals)
