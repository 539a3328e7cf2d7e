// SPDX-License-Identifier: Apache-2.0
//
// The file that several processes record into.
#pragma once

#include <string>

namespace opennrt::emulator {

/// Opened anew for every write: a program may close descriptors that it does not know, and then ours would be another
/// file. Thread-safe; nothing but a message on stderr, once, when the file cannot be written.
class RecordFile {
 public:
  explicit RecordFile(std::string path);
  /// A process begins: writes the header where there is none and the process's line. Its number, from 1; 0: the file
  /// cannot be written. `forked`: number of the process that it was forked from, 0: none.
  unsigned begin(const std::string& header, unsigned forked);
  void append(const std::string& text);

 private:
  int open_file() const;
  void failed(long error) const;
  std::string path_;
};

}  // namespace opennrt::emulator
