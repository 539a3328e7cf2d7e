/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Markers: places in a program between which the rules of a fault plan hold ("when": {"between": ["warm", "done"]}).
 * An addition of OpenNRT, exported by libnrt.so.1 at a version node of its own; a program that must run with other
 * runtimes, too, looks it up with dlsym.
 */
#ifndef OPENNRT_MARKER_H
#define OPENNRT_MARKER_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Passes the marker `name`. Without a plan that names it, nothing happens; NULL: nothing. May be called at any time
 * from any thread; keeps nothing of `name`.
 */
void opennrt_marker(const char* name);

#ifdef __cplusplus
}
#endif
#endif /* OPENNRT_MARKER_H */
