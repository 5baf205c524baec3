# SPDX-License-Identifier: MIT
# What goes where, in parts that can be installed alone (cmake --install BUILD --component NAME):
#
#   runtime   libpasid.so.1
#   devel     headers, libpasid.so, libpasid.a, pkg-config and CMake files, the protocol's description
#   daemon    pasidd, its service and sockets for systemd, its user, its folders, its rules for udev
#   tools     pasidctl, pasid-sim, completion for bash and zsh, the service that shows metrics, rules for alerts
#   libvirt   the hook that makes a guest's set, into etc/libvirt/hooks/qemu.d (CMAKE_INSTALL_SYSCONFDIR)
#   manuals   man pages, and documents for operators and integrators
#   examples  sources that are built against the installed library
#
# Nothing that is installed names a folder of the build, and all of it may be moved together: DESTDIR, --prefix, or a
# copy of the tree later.

include(CMakePackageConfigHelpers)
set(PASIDD_UNIT_DIR lib/systemd/system CACHE STRING "Where units of systemd go, in the prefix or absolute")
set(PASIDD_SYSUSERS_DIR lib/sysusers.d CACHE STRING "The same for sysusers.d(5)")
set(PASIDD_TMPFILES_DIR lib/tmpfiles.d CACHE STRING "The same for tmpfiles.d(5)")
set(PASIDD_UDEV_DIR lib/udev/rules.d CACHE STRING "The same for rules of udev(7)")
set(DOC_DIR ${CMAKE_INSTALL_DATAROOTDIR}/doc/pasidd)
set(CMAKE_FILES_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/pasid)
set(PKGCONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# --- runtime and devel --------------------------------------------------------------------------------
install(TARGETS pasid EXPORT pasidTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT devel)
install(FILES client/libpasid.h client/libpasid_types.h client/libpasid_map.h client/libpasid_move.h client/libpasid_number.h client/libpasid_stream.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT devel)
install(FILES ${LIBPASID_A} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT devel)
install(FILES proto/pasid.proto DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/pasidd COMPONENT devel)

# ${pcfiledir} is where the file itself was found.
file(RELATIVE_PATH PC_TO_PREFIX /${PKGCONFIG_DIR} /)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
  string(REGEX REPLACE "/$" "" PC_PREFIX "\${pcfiledir}/${PC_TO_PREFIX}")
endif()
foreach(name IN ITEMS LIBDIR INCLUDEDIR)
  set(PC_${name} "\${prefix}/${CMAKE_INSTALL_${name}}")
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${name}})
    set(PC_${name} ${CMAKE_INSTALL_${name}})
  endif()
endforeach()
configure_file(cmake/libpasid.pc.in libpasid.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/libpasid.pc DESTINATION ${PKGCONFIG_DIR} COMPONENT devel)

# The library keeps its promise for as long as its SOVERSION stays; a newer one serves programs that ask for an older.
install(EXPORT pasidTargets NAMESPACE pasid:: DESTINATION ${CMAKE_FILES_DIR} COMPONENT devel)
configure_package_config_file(cmake/pasidConfig.cmake.in pasidConfig.cmake
  INSTALL_DESTINATION ${CMAKE_FILES_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(pasidConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pasidConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/pasidConfigVersion.cmake
  DESTINATION ${CMAKE_FILES_DIR} COMPONENT devel)

# --- programs -----------------------------------------------------------------------------------------
install(TARGETS pasidd DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT daemon)
install(TARGETS pasidctl pasid-sim DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
# They find the library beside them, wherever that is; -DCMAKE_SKIP_INSTALL_RPATH=ON for packages of a distribution.
file(RELATIVE_PATH BIN_TO_LIB ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(pasidctl PROPERTIES INSTALL_RPATH "$ORIGIN/${BIN_TO_LIB}")

# Completion for shells; Debian keeps that of packages for zsh in vendor-completions.
set(PASIDD_BASH_DIR ${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions CACHE STRING "The same for bash's completion")
set(PASIDD_ZSH_DIR ${CMAKE_INSTALL_DATAROOTDIR}/zsh/site-functions CACHE STRING "The same for zsh's completion")
install(FILES completions/pasidctl.bash DESTINATION ${PASIDD_BASH_DIR} RENAME pasidctl COMPONENT tools)
install(FILES completions/_pasidctl DESTINATION ${PASIDD_ZSH_DIR} COMPONENT tools)

# The service names the daemon by its path, which is known only now that the prefix is: --prefix may have changed it.
install(CODE "
  set(PASIDD_PATH \"${CMAKE_INSTALL_SBINDIR}/pasidd\")
  set(UNIT_DIR \"${PASIDD_UNIT_DIR}\")
  foreach(path IN ITEMS PASIDD_PATH UNIT_DIR)
    if(NOT IS_ABSOLUTE \"\${\${path}}\")
      get_filename_component(\${path} \"\${\${path}}\" ABSOLUTE BASE_DIR \"\${CMAKE_INSTALL_PREFIX}\")
    endif()
  endforeach()
  file(READ \"${CMAKE_CURRENT_SOURCE_DIR}/systemd/pasidd.service\" UNIT)
  string(REPLACE \"ExecStart=/usr/sbin/pasidd \" \"ExecStart=\${PASIDD_PATH} \" UNIT \"\${UNIT}\")
  file(WRITE \"${CMAKE_CURRENT_BINARY_DIR}/pasidd.service\" \"\${UNIT}\")
  file(INSTALL \"${CMAKE_CURRENT_BINARY_DIR}/pasidd.service\"
    \"${CMAKE_CURRENT_SOURCE_DIR}/systemd/pasidd.socket\"
    \"${CMAKE_CURRENT_SOURCE_DIR}/systemd/pasidd-admin.socket\" DESTINATION \"\${UNIT_DIR}\")
" COMPONENT daemon)
# Its user, its folders, and the nodes that it may open.
install(FILES systemd/pasidd.sysusers DESTINATION ${PASIDD_SYSUSERS_DIR} RENAME pasidd.conf COMPONENT daemon)
install(FILES systemd/pasidd.tmpfiles DESTINATION ${PASIDD_TMPFILES_DIR} RENAME pasidd.conf COMPONENT daemon)
install(FILES systemd/60-pasidd.rules DESTINATION ${PASIDD_UDEV_DIR} COMPONENT daemon)

# journalctl --update-catalog, then journalctl -x explains lines of pasidd.
install(FILES systemd/pasidd.catalog DESTINATION lib/systemd/catalog COMPONENT daemon)

# libvirt runs the first as root, which starts the second with Python; by its path, as the service its daemon.
install(FILES libvirt/qemu.py DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/pasidd/libvirt COMPONENT libvirt)
install(CODE "
  set(SCRIPT \"${CMAKE_INSTALL_DATAROOTDIR}/pasidd/libvirt/qemu.py\")
  set(HOOK_DIR \"${CMAKE_INSTALL_SYSCONFDIR}/libvirt/hooks/qemu.d\")
  foreach(path IN ITEMS SCRIPT HOOK_DIR)
    if(NOT IS_ABSOLUTE \"\${\${path}}\")
      get_filename_component(\${path} \"\${\${path}}\" ABSOLUTE BASE_DIR \"\${CMAKE_INSTALL_PREFIX}\")
    endif()
  endforeach()
  file(READ \"${CMAKE_CURRENT_SOURCE_DIR}/libvirt/qemu\" HOOK)
  string(REPLACE \":-/usr/share/pasidd/libvirt/qemu.py}\" \":-\${SCRIPT}}\" HOOK \"\${HOOK}\")
  file(WRITE \"${CMAKE_CURRENT_BINARY_DIR}/libvirt-hook/pasidd\" \"\${HOOK}\")
  file(INSTALL \"${CMAKE_CURRENT_BINARY_DIR}/libvirt-hook/pasidd\" DESTINATION \"\${HOOK_DIR}\"
    PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
" COMPONENT libvirt)

# --- manuals and examples -----------------------------------------------------------------------------
include(cmake/manuals.cmake)
file(GLOB EXAMPLES CONFIGURE_DEPENDS examples/*.[ch])
install(FILES ${EXAMPLES} examples/CMakeLists.txt examples/Makefile DESTINATION ${DOC_DIR}/examples COMPONENT examples)

# --- metrics ------------------------------------------------------------------------------------------
# The unit names pasidctl by its path, as that of the daemon does.
install(CODE "
  set(PASIDCTL_PATH \"${CMAKE_INSTALL_BINDIR}/pasidctl\")
  set(UNIT_DIR \"${PASIDD_UNIT_DIR}\")
  foreach(path IN ITEMS PASIDCTL_PATH UNIT_DIR)
    if(NOT IS_ABSOLUTE \"\${\${path}}\")
      get_filename_component(\${path} \"\${\${path}}\" ABSOLUTE BASE_DIR \"\${CMAKE_INSTALL_PREFIX}\")
    endif()
  endforeach()
  file(READ \"${CMAKE_CURRENT_SOURCE_DIR}/systemd/pasidd-metrics.service\" UNIT)
  string(REPLACE \"ExecStart=/usr/bin/pasidctl \" \"ExecStart=\${PASIDCTL_PATH} \" UNIT \"\${UNIT}\")
  file(WRITE \"${CMAKE_CURRENT_BINARY_DIR}/pasidd-metrics.service\" \"\${UNIT}\")
  file(INSTALL \"${CMAKE_CURRENT_BINARY_DIR}/pasidd-metrics.service\"
    \"${CMAKE_CURRENT_SOURCE_DIR}/systemd/pasidd-metrics.socket\" DESTINATION \"\${UNIT_DIR}\")
" COMPONENT tools)
install(FILES metrics/alerts.yml DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/pasidd COMPONENT tools)
