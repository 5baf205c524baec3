# SPDX-License-Identifier: MIT
# tests/sim: random histories against a plain model, in one program. The model of the hardware is that of the unit
# tests, without Check's runner and smaller.

file(GLOB SIM_SOURCES CONFIGURE_DEPENDS tests/sim/*.c)
if(PASIDD_SANITIZE OR PASIDD_FUZZ)
  list(FILTER SIM_SOURCES EXCLUDE REGEX "/memory\\.c$") # they look after memory by themselves
endif()
add_executable(pasid-histories ${SIM_SOURCES} tests/unit/fake_export.c
  tests/unit/hardware_model.c)
target_include_directories(pasid-histories PRIVATE tests/sim tests/unit)
target_compile_definitions(pasid-histories PRIVATE MODEL_ENTRIES=96 MODEL_DEVICES=40 MODEL_OPS=96)
target_link_libraries(pasid-histories PRIVATE pasid_flags pasid_state pasid_core)
target_link_options(pasid-histories PRIVATE ${PASIDD_IN_PARTS})
if(NOT PASIDD_SANITIZE AND NOT PASIDD_FUZZ)
  target_link_options(pasid-histories PRIVATE LINKER:--wrap=calloc,--wrap=free)
endif()
set_target_properties(pasid-histories PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/sim)
add_test(NAME sim_histories COMMAND pasid-histories --histories 400)
add_dependencies(unit-tests pasid-histories)
