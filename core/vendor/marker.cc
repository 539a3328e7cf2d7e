// SPDX-License-Identifier: Apache-2.0
//
// The ELF note by which libnrt.so.1 of OpenNRT is recognised as such without being loaded: nothing is ever forwarded to
// ourselves.
#include <elf.h>

#include "core/vendor/elf_file.h"

namespace {

struct Note {
  Elf64_Nhdr header;
  char name[sizeof(opennrt::vendor::kMarker)];
};
static_assert(sizeof(Note) == sizeof(Elf64_Nhdr) + 8 && sizeof(opennrt::vendor::kMarker) % 4 == 0, "no padding");

[[gnu::section(".note.opennrt"), gnu::used, gnu::aligned(4)]] const Note kNote = {
    {sizeof(opennrt::vendor::kMarker), 0, 1}, {'O', 'p', 'e', 'n', 'N', 'R', 'T', '\0'}};

}  // namespace
