// SPDX-License-Identifier: Apache-2.0
//
// Which names the preload library takes for its own, and what it shows there, with a provider of the test's.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "backends/emulator/preload/names.h"
#include "backends/emulator/preload/provider.h"

namespace opennrt::emulator {
namespace {

class Shown final : public Provider {
 public:
  int open(int, int) override { return -ENODEV; }
  int device_of(int) override { return -1; }
  int ioctl(int, unsigned long, void*) override { return -ENOTTY; }
  void* mmap(void*, std::size_t, int, int, int, off_t) override { return nullptr; }
  void closing(int) override {}
  std::optional<std::string> file(const std::string& path) override {
    if (path == "/sys/module/neuron/version") return "2.24.7.0\n";
    if (path == "/sys/class/neuron_device/neuron1/dev") return "241:1\n";
    return std::nullopt;
  }
  std::optional<std::vector<std::string>> folder(const std::string& path) override {
    if (path == "/dev") return std::vector<std::string>{"neuron0", "neuron1"};
    if (path == "/sys/module/neuron") return std::vector<std::string>{"version"};
    return std::nullopt;
  }
};

std::string ours(const char* path) {
  Name name;
  return may_be_ours(path, name) ? std::string(name.view()) : "";
}

Found found(const char* path) {
  Name name;
  return may_be_ours(path, name) ? find(name) : Found{};
}

TEST(PreloadNames, givenNamesInManySpellingsWhenLookedAtThenTheyAreOne) {
  EXPECT_EQ(ours("/dev/neuron0"), "/dev/neuron0");
  EXPECT_EQ(ours("//dev/./neuron12"), "/dev/neuron12");
  EXPECT_EQ(ours("/../dev/pts/../neuron3/"), "/dev/neuron3");
  EXPECT_EQ(ours("/sys/module/neuron/version"), "/sys/module/neuron/version");
  EXPECT_EQ(ours("/dev"), "/dev");
}

TEST(PreloadNames, givenOtherNamesWhenLookedAtThenTheyAreNotOurs) {
  for (const char* path : {"", "neuron0", "dev/neuron0", "/", "/dev/null", "/dev/neuron", "/dev/neuronx",
                           "/dev/neuron01", "/dev/neuron0/x", "/dev/neuron1234", "/sys/module/neuron_other",
                           "/sys/modul", "/usr/dev/neuron0", "/dev/neuron0/..x"}) {
    EXPECT_EQ(ours(path), "") << path;
  }
  EXPECT_EQ(ours(nullptr), "");
  EXPECT_EQ(ours(("/dev/" + std::string(600, 'x')).c_str()), "");
}

TEST(PreloadNames, givenWhatTheProviderShowsWhenFoundThenItsKindAndContents) {
  EXPECT_EQ(found("/dev/neuron1").node, Node::kDevice);
  EXPECT_EQ(found("/dev/neuron1").device, 1);
  EXPECT_EQ(found("/dev/neuron2").node, Node::kNothing);
  EXPECT_EQ(found("/sys/module/neuron/version").contents, "2.24.7.0\n");
  EXPECT_EQ(found("/sys/module/neuron").node, Node::kFolder);
  EXPECT_EQ(found("/sys/module/neuron/other").node, Node::kNothing);
  struct stat s;
  describe_device(1, s);
  EXPECT_EQ(s.st_rdev, makedev(241, 1));
  EXPECT_TRUE(S_ISCHR(s.st_mode));
}

TEST(PreloadNames, givenAVirtualFileWhenOpenedThenItReadsAndKnowsItsName) {
  Name name, back;
  ASSERT_TRUE(may_be_ours("/sys/module/neuron/version", name));
  const Found version = find(name);
  const int fd = open_virtual(name, version, O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  char text[32] = {};
  EXPECT_EQ(::read(fd, text, sizeof(text)), 9);
  EXPECT_STREQ(text, "2.24.7.0\n");
  EXPECT_EQ(::write(fd, "x", 1), -1) << "sealed";
  EXPECT_EQ(virtual_of(fd, back), Node::kFile);
  EXPECT_EQ(back.view(), name.view());
  ::close(fd);
  EXPECT_EQ(virtual_of(0, back), Node::kNothing);
  EXPECT_EQ(open_virtual(name, version, O_RDWR), -EACCES);
  EXPECT_EQ(open_virtual(name, version, O_RDONLY | O_DIRECTORY), -ENOTDIR);
  EXPECT_EQ(open_virtual(name, version, O_RDONLY | O_CREAT | O_EXCL), -EEXIST);
}

TEST(PreloadNames, givenANameThatEndsAsAFoldersWhenLookedAtThenThatIsKnown) {
  Name name;
  for (const char* path : {"/dev/neuron1/", "/dev/neuron1//", "/dev/neuron1/.", "/sys/module/neuron/x/.."}) {
    ASSERT_TRUE(may_be_ours(path, name)) << path;
    EXPECT_TRUE(name.folder) << path;
  }
  EXPECT_TRUE(no_folder(name, Found{Node::kDevice, 1, ""}));
  EXPECT_FALSE(no_folder(name, Found{Node::kFolder, -1, ""}));
  ASSERT_TRUE(may_be_ours("/dev/./neuron1", name));
  EXPECT_FALSE(name.folder);
}

TEST(PreloadNames, givenANodeOpenedAsAPathWhenAskedThenItKnowsItsName) {
  Name name, back;
  ASSERT_TRUE(may_be_ours("/dev/neuron1", name));
  const int fd = open_virtual(name, find(name), O_PATH | O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(virtual_of(fd, back), Node::kDevice);
  EXPECT_EQ(device_number(back), 1);
  EXPECT_EQ(::lseek(fd, 0, SEEK_SET), -1);
  EXPECT_EQ(errno, EBADF);
  ::close(fd);
}

TEST(PreloadNames, givenARelativeNameWhenItsFolderIsTheDevicesThenItIsOurs) {
  const int dev = ::open("/dev", O_RDONLY | O_DIRECTORY);
  Name name;
  EXPECT_TRUE(may_be_ours_below(dev, "neuron1", name));
  EXPECT_EQ(name.view(), "/dev/neuron1");
  EXPECT_FALSE(may_be_ours_below(dev, "null", name));
  EXPECT_FALSE(may_be_ours_below(AT_FDCWD, "version", name));
  EXPECT_FALSE(may_be_ours_below(-5, "neuron1", name));
  ::close(dev);
}

}  // namespace

Provider* provider() {
  static Shown shown;
  return &shown;
}

}  // namespace opennrt::emulator
