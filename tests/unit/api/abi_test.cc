// SPDX-License-Identifier: Apache-2.0
// Requirement A2: names, values, layouts, signatures; what libnrt.so.1 exports and under which version nodes.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <nrt/ndebug_stream.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_async_sendrecv.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_profile.h>
#include <nrt/nrt_status.h>
#include <nrt/nrt_sys_trace.h>
#include <nrt/nrt_version.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#define SIZE(type, bytes) static_assert(sizeof(type) == (bytes), "size of " #type);
#define OFFSET(type, member, bytes) static_assert(offsetof(type, member) == (bytes), "offset of " #type "." #member);
#define VALUE(name, value) static_assert(static_cast<int>(name) == (value), "value of " #name);
#define FUNCTION(result, name, arguments) \
  static_assert(std::is_same_v<decltype(&name), result(*) arguments>, "type of " #name);
#include "tests/unit/api/abi_table.inc"
#undef SIZE
#undef OFFSET
#undef VALUE
#undef FUNCTION

// Macros with values that do not fit the table's int.
static_assert(NRTA_SEQ_NUM_MAX == 0xffff'ffff'ffffu && NRTA_SEQ_NUM_MASK == NRTA_SEQ_NUM_MAX);
static_assert(NRTA_SEQ_GET_SEQ_NUM(0x1234'0000'0000'0005u) == 5 &&
              NRTA_SEQ_GET_XU_ID(0x1234'0000'0000'0005u) == 0x1234);

extern "C" {
struct named_function {
  const char* name;
  void (*address)(void);
};
extern const named_function c_functions[];
extern const unsigned c_function_count;
}

namespace {

std::set<std::string> declared() {
  std::set<std::string> names;
#define SIZE(type, bytes)
#define OFFSET(type, member, bytes)
#define VALUE(name, value)
#define FUNCTION(result, name, arguments) names.insert(#name);
#include "tests/unit/api/abi_table.inc"
#undef SIZE
#undef OFFSET
#undef VALUE
#undef FUNCTION
  return names;
}

std::string library() {
  Dl_info info{};
  EXPECT_NE(dladdr(reinterpret_cast<void*>(&nrt_init), &info), 0);
  return info.dli_fname;
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  std::array<char, 4096> buffer;
  while (const std::size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

/// Names that the library exports, with their versions.
std::map<std::string, std::string> exported() {
  std::map<std::string, std::string> symbols;
  std::istringstream lines(output_of("nm -D --defined-only --with-symbol-versions '" + library() + "'"));
  std::string address, type, name;
  while (lines >> address >> type >> name) {
    if (type == "A") continue;  // the version nodes themselves
    EXPECT_EQ(type, "T") << name;
    const std::size_t at = name.find('@');
    symbols[name.substr(0, at)] = at == std::string::npos ? "" : name.substr(name.find_last_of('@') + 1);
  }
  return symbols;
}

TEST(Abi, givenTheLibraryWhenItsSymbolsAreListedThenItExportsWhatIsDeclaredAndNothingElse) {
  std::set<std::string> names;
  for (const auto& [name, version] : exported()) {
    if (name == "opennrt_marker") {  // our own, opennrt/marker.h
      EXPECT_EQ(version, "OPENNRT_1.0");
      continue;
    }
    names.insert(name);
    EXPECT_EQ(version, name.rfind("nrta_", 0) == 0 ? "NRT_3.0.0" : "NRT_2.0.0") << name;
  }
  EXPECT_EQ(names, declared());
}

TEST(Abi, givenTheLibraryWhenItsVersionNodesAreListedThenTheyAreTheDocumentedOnesAndOneIsTheOthersChild) {
  const std::string text = output_of("readelf --version-info --wide '" + library() + "'");
  EXPECT_NE(text.find("Name: NRT_2.0.0"), std::string::npos) << text;
  const std::size_t child = text.find("Name: NRT_3.0.0");
  ASSERT_NE(child, std::string::npos) << text;
  EXPECT_NE(text.find("Parent 1: NRT_2.0.0", child), std::string::npos) << text;
}

TEST(Abi, givenTheLibraryWhenItsDynamicSectionIsReadThenTheSonameIsWhatClientsOpen) {
  EXPECT_NE(output_of("readelf -d '" + library() + "'").find("soname: [libnrt.so.1]"), std::string::npos);
}

TEST(Abi, givenACUserWhenItTakesTheAddressesThenTheyAreTheOnesThatTheLibraryResolvesByVersion) {
  ASSERT_EQ(c_function_count, declared().size());
  void* handle = dlopen("libnrt.so.1", RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(handle, nullptr) << dlerror();
  for (unsigned i = 0; i < c_function_count; ++i) {
    const bool explicit_async = std::string(c_functions[i].name).rfind("nrta_", 0) == 0;
    const char* node = explicit_async ? "NRT_3.0.0" : "NRT_2.0.0";
    const char* other = explicit_async ? "NRT_2.0.0" : "NRT_3.0.0";
    EXPECT_EQ(dlvsym(handle, c_functions[i].name, node), reinterpret_cast<void*>(c_functions[i].address))
        << c_functions[i].name;
    EXPECT_EQ(dlvsym(handle, c_functions[i].name, other), nullptr) << c_functions[i].name;
  }
  dlclose(handle);
}

TEST(Abi, givenEveryStatusWhenNamedThenTheNameIsTheEnumeratorsAndOthersAreUnknown) {
  EXPECT_STREQ(nrt_get_status_as_str(NRT_SUCCESS), "NRT_SUCCESS");
  EXPECT_STREQ(nrt_get_status_as_str(NRT_EXEC_COMPLETED_WITH_NUM_ERR), "NRT_EXEC_COMPLETED_WITH_NUM_ERR");
  EXPECT_STREQ(nrt_get_status_as_str(NRT_NETWORK_PROXY_FAILURE), "NRT_NETWORK_PROXY_FAILURE");
  EXPECT_STREQ(nrt_get_status_as_str(static_cast<NRT_STATUS>(8)), "NRT_UNKNOWN_STATUS");
  std::set<std::string> names;
  int known = 0;
  for (int value = 0; value < 2000; ++value) {
    const std::string name = nrt_get_status_as_str(static_cast<NRT_STATUS>(value));
    if (name == "NRT_UNKNOWN_STATUS") continue;
    ++known;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(known, 28);
}

}  // namespace
