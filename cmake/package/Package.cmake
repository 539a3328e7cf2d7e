# SPDX-License-Identifier: Apache-2.0
# The CMake package and the pkg-config file. Both find the tree from where they are, so that it may be moved.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/OpenNRT)
set(package_build_dir ${CMAKE_BINARY_DIR}/package)
install(EXPORT OpenNRTTargets NAMESPACE OpenNRT:: DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/OpenNRTConfig.cmake.in ${package_build_dir}/OpenNRTConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${package_build_dir}/OpenNRTConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${package_build_dir}/OpenNRTConfig.cmake ${package_build_dir}/OpenNRTConfigVersion.cmake DESTINATION ${package_dir})

set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH OPENNRT_PC_PREFIX ${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" OPENNRT_PC_PREFIX "${OPENNRT_PC_PREFIX}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/opennrt.pc.in ${package_build_dir}/opennrt.pc @ONLY)
install(FILES ${package_build_dir}/opennrt.pc DESTINATION ${pkgconfig_dir})
