// SPDX-License-Identifier: Apache-2.0
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_version.h>
#include <opennrt/backend.h>

#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

int main() {
  nrt_version_t version{};
  std::uint32_t total = 0;
  if (nrt_get_version(&version, sizeof(version)) != NRT_SUCCESS) return 1;
  if (nrt_get_total_nc_count(&total) != NRT_SUCCESS || total == 0) return 2;
  if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) return 3;
  nrt_tensor_t* tensor = nullptr;
  if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 1000, "x", &tensor) != NRT_SUCCESS) return 4;
  std::vector<unsigned char> data(1000), back(1000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<unsigned char>(i * 7);
  if (nrt_tensor_write(tensor, data.data(), 0, data.size()) != NRT_SUCCESS) return 5;
  if (nrt_tensor_read(tensor, back.data(), 0, back.size()) != NRT_SUCCESS || back != data) return 6;
  nrt_tensor_free(&tensor);
  nrt_close();
  std::cout << version.rt_detail << ", " << total << " NeuronCores, backend ABI " << OPENNRT_BACKEND_ABI_MAJOR << "\n";
  return 0;
}
