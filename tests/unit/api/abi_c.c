/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled table for C11 users: that it compiles is the test; abi_test.cc compares the addresses. */
#include <nrt/ndebug_stream.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_async_sendrecv.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_profile.h>
#include <nrt/nrt_status.h>
#include <nrt/nrt_sys_trace.h>
#include <nrt/nrt_version.h>

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type);
#define OFFSET(type, member, bytes) _Static_assert(offsetof(type, member) == (bytes), "offset of " #type "." #member);
#define VALUE(name, value) _Static_assert((int)(name) == (value), "value of " #name);
#define FUNCTION(result, name, arguments)    \
  typedef result(*type_of_##name) arguments; \
  extern const type_of_##name c_##name;      \
  const type_of_##name c_##name = &name;
#include "tests/unit/api/abi_table.inc"
#undef FUNCTION

typedef void (*any_function)(void);
struct named_function {
  const char* name;
  any_function address;
};
extern const struct named_function c_functions[];
extern const unsigned c_function_count;
#undef SIZE
#undef OFFSET
#undef VALUE
#define SIZE(type, bytes)
#define OFFSET(type, member, bytes)
#define VALUE(name, value)
#define FUNCTION(result, name, arguments) {#name, (any_function)&name},
const struct named_function c_functions[] = {
#include "tests/unit/api/abi_table.inc"
};
const unsigned c_function_count = sizeof(c_functions) / sizeof(c_functions[0]);
