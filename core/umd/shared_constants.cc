// SPDX-License-Identifier: Apache-2.0
#include <openssl/evp.h>

#include "core/umd/umd.h"

namespace opennrt::umd {

Result<std::shared_ptr<Memory>> SharedConstants::get(Device& device, std::uint32_t core,
                                                     std::span<const std::byte> image, std::uint64_t alignment) {
  Digest digest{};
  unsigned int length = 0;
  if (EVP_Digest(image.data(), image.size(), reinterpret_cast<unsigned char*>(digest.data()), &length, EVP_sha256(),
                 nullptr) != 1 ||
      length != digest.size())
    return make_error(ErrorCode::kInternal, "the SHA-256 of {} bytes of constants could not be made", image.size());
  // Held until they are written: who else asks for them must not get memory without them.
  const std::lock_guard lock(mutex_);
  std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Memory>& place = known_[Key{device.number(), image.size(), alignment, digest}];
  if (auto memory = place.lock()) return memory;
  auto memory = device.allocate_device(image.size(), core, OPENNRT_MEM_CONSTANTS_DEVICE, alignment);
  if (!memory) return memory;
  if (auto status = (*memory)->write(0, image); !status) return with_context(status.error(), "constants");
  place = *memory;
  return memory;
}

}  // namespace opennrt::umd
