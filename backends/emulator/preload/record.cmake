# SPDX-License-Identifier: Apache-2.0
# The recorder and the replayer of ioctl conversations: sources of the preload library, and a library of their own for the
# tool and the tests.
set(OPENNRT_RECORD_SOURCES)
foreach(source describe describe_table transcript transcript_aliases transcript_parse
               record record_file record_memory record_real replay replay_names replay_script)
  list(APPEND OPENNRT_RECORD_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${source}.cc)
endforeach()
opennrt_library(opennrt_ioctl_recording SOURCES ${OPENNRT_RECORD_SOURCES} ${CMAKE_CURRENT_LIST_DIR}/copy.cc
  DEPS tl::expected Threads::Threads)
