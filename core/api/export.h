// SPDX-License-Identifier: Apache-2.0
//
// The public headers, with their functions visible outside the library (everything else is hidden; nrt.map has the
// last word).
#pragma once

#pragma GCC visibility push(default)
#include <nrt/ndebug_stream.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_async_sendrecv.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_profile.h>
#include <nrt/nrt_status.h>
#include <nrt/nrt_sys_trace.h>
#include <nrt/nrt_version.h>
#pragma GCC visibility pop
