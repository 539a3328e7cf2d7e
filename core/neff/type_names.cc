// SPDX-License-Identifier: Apache-2.0
//
// The words that def.json has for the types of variables and queue sets.
#include "core/neff/neff.h"

namespace opennrt::neff {

const char* type_name(VariableType type) {
  switch (type) {
    case VariableType::kInput:
      return "input";
    case VariableType::kOutput:
      return "output";
    case VariableType::kFile:
      return "file";
    case VariableType::kTmpBuf:
      return "tmp-buf";
    case VariableType::kStateBuffer:
      return "state-buffer";
  }
  return "?";
}

const char* type_name(QueueType type) {
  switch (type) {
    case QueueType::kIn:
      return "in";
    case QueueType::kOut:
      return "out";
    case QueueType::kData:
      return "data";
  }
  return "?";
}

}  // namespace opennrt::neff
