# SPDX-License-Identifier: Apache-2.0
# What every target of the project has in common.
include(GNUInstallDirs)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# Where backends live, relative to the folder of libnrt.so.1 (found there at run time).
set(OPENNRT_BACKEND_SUBDIR "opennrt/backends")
# Data the simulator reads (chips/*.json), relative to the same folder.
set(OPENNRT_DATA_SUBDIR "opennrt")
# The build tree has the shape of the installed tree, so that everything runs from it, too.
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

# opennrt_warnings(<target>): of each of our targets, whatever it is built with.
function(opennrt_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow=local
    $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # False alarms of g++ 12 inside std::string and std::vector (gcc bugs 105329, 105651 and their relatives).
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow)
  endif()
  if(OPENNRT_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

# opennrt_options(<target>): warnings and sanitizers.
function(opennrt_options target)
  opennrt_warnings(${target})
  if(OPENNRT_SANITIZE)
    string(REPLACE ";" "," list "${OPENNRT_SANITIZE}")
    target_compile_options(${target} PRIVATE -fsanitize=${list} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${list})
  endif()
endfunction()

# opennrt_library(<name> SOURCES … DEPS …): a static library of the project; headers are found from the source
# root, so that an include names the room it comes from: #include "core/isa/isa.h".
function(opennrt_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/include
    ${PROJECT_SOURCE_DIR}/backends/include)
  target_link_libraries(${name} PUBLIC ${A_DEPS})
  opennrt_options(${name})
endfunction()

# opennrt_backend(<name> SOURCES … DEPS …): a plug-in, build/lib/opennrt/backends/libopennrt_backend_<name>.so.
function(opennrt_backend name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  set(target opennrt_backend_${name})
  add_library(${target} MODULE ${A_SOURCES})
  set_target_properties(${target} PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/${OPENNRT_BACKEND_SUBDIR})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/include
    ${PROJECT_SOURCE_DIR}/backends/include)
  target_link_libraries(${target} PRIVATE ${A_DEPS})
  opennrt_options(${target})
  install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/${OPENNRT_BACKEND_SUBDIR})
endfunction()

# Tests run side by side and each wants all NeuronCores: every one gets a machine of its own.
set(OPENNRT_TEST_RUNTIME ${CMAKE_BINARY_DIR}/runtime)
file(MAKE_DIRECTORY ${OPENNRT_TEST_RUNTIME})

# opennrt_test(<name> SOURCES … DEPS … [ENV …] [LABELS …] [EMULATE …]): a GoogleTest program, one ctest entry per program (a
# SystemC kernel is one per process, and so a test that holds one is a program of its own). EMULATE: it finds an emulated
# /dev/neuron<N>, which these options of `opennrt emulate` describe.
function(opennrt_test name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;ENV;LABELS;EMULATE" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/include
    ${PROJECT_SOURCE_DIR}/backends/include)
  target_link_libraries(${name} PRIVATE ${A_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  opennrt_options(${name})
  if(A_EMULATE)
    add_test(NAME ${name} COMMAND opennrt emulate ${A_EMULATE} -- $<TARGET_FILE:${name}>)
    add_dependencies(${name} opennrt opennrt_device opennrt_backend_neuron)
  else()
    add_test(NAME ${name} COMMAND ${name})
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "OPENNRT_SOURCE_DIR=${PROJECT_SOURCE_DIR};OPENNRT_BUILD_DIR=${CMAKE_BINARY_DIR};OPENNRT_RUNTIME_DIR=${OPENNRT_TEST_RUNTIME}/${name};${A_ENV}"
    LABELS "${A_LABELS}")
endfunction()
