#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# consumer_test.sh <source folder> <build folder> <make_neff>: installs the build, moves the installed tree elsewhere, and builds and
# runs users of it: run_neff.c with plain gcc and pkg-config, a C++ project with find_package.
set -eu
source=$1 build=$2 make_neff=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" > "$work/install.log" || { cat "$work/install.log"; exit 1; }
mv "$work/first" "$work/moved"
tree=$work/moved
pc=$(dirname "$(find "$tree" -name opennrt.pc)")
lib=$(dirname "$(find "$tree" -name libnrt.so)")
test -e "$lib/libnrt.so.1"
# Nothing in the package may remember where it was installed or built.
if grep -rIl -e "$work/first" -e "$build" "$pc" "$lib/cmake" "$tree/include"; then
  echo "the files above name a folder of the build"; exit 1
fi

export PKG_CONFIG_PATH=$pc
test "$(pkg-config --modversion opennrt)" = "$(sed -n 's/^project(OpenNRT VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")"
gcc -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE "$source/tests/consumer/run_neff.c" -o "$work/run_neff" \
  $(pkg-config --cflags --libs opennrt) -pthread
cmake -G Ninja -S "$source/tests/consumer/project" -B "$work/project" -DCMAKE_PREFIX_PATH="$tree" > "$work/configure.log" || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/project" > "$work/build.log" || { cat "$work/build.log"; exit 1; }

mkdir "$work/run"
"$make_neff" "$work/run"
cd "$work/run"
export LD_LIBRARY_PATH=$lib
OPENNRT_BACKEND=null "$work/project/consumer"
OPENNRT_BACKEND=sim "$work/project/consumer"
OPENNRT_BACKEND=sim "$work/run_neff" copy.neff in in.bin
cmp in.bin out.out
# What is wrong must be said, and the exit code must say so.
if OPENNRT_BACKEND=sim "$work/run_neff" in.bin 2> error.txt; then echo "a NEFF that is none was accepted"; exit 1; fi
grep -q "NRT:nrt_load" error.txt
echo "installed tree works"
