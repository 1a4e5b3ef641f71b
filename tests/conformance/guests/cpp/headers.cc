// A filter in C++ against the bare ABI: the C++ SDK is in no registry that builds are made from here. What the kit wants of
// it is the toolchain's own: libc++ and wasi-libc in a reactor module, constructors that run in _initialize, malloc as the
// allocator (exported by the linker), and the WASI functions that printf, stat, fopen and clock_getres call.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <time.h>

#define IMPORT(name) extern "C" __attribute__((import_module("env"), import_name(#name))) uint32_t name
#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

IMPORT(proxy_get_buffer_bytes)(uint32_t kind, uint32_t start, uint32_t length, const char **data, size_t *size);
IMPORT(proxy_get_header_map_value)(uint32_t kind, const char *name, size_t name_size, const char **value, size_t *size);
IMPORT(proxy_replace_header_map_value)(uint32_t kind, const char *name, size_t name_size, const char *value, size_t size);
IMPORT(proxy_send_local_response)(uint32_t status, const char *details, size_t details_size, const char *body,
                                  size_t body_size, const char *headers, size_t headers_size, uint32_t grpc_status);

namespace {

enum : uint32_t { kRequest = 0, kResponse = 2, kPluginConfiguration = 7 };

// Made by a constructor, before anything of the ABI is called.
std::map<uint32_t, std::string> streams;
std::string configuration;

std::string take(const char *data, size_t size) {
  std::string text(data != nullptr ? data : "", size);
  std::free(const_cast<char *>(data));
  return text;
}

std::string get(uint32_t kind, std::string_view name) {
  const char *data = nullptr;
  size_t size = 0;
  if (proxy_get_header_map_value(kind, name.data(), name.size(), &data, &size) != 0) return "";
  return take(data, size);
}

void set(uint32_t kind, std::string_view name, std::string_view value) {
  proxy_replace_header_map_value(kind, name.data(), name.size(), value.data(), value.size());
}

}  // namespace

EXPORT(proxy_abi_version_0_2_1) void abi_version() {}

EXPORT(proxy_on_context_create) void on_context_create(uint32_t context, uint32_t root) {
  if (root != 0) streams[context] = "";
}
EXPORT(proxy_on_vm_start) uint32_t on_vm_start(uint32_t, uint32_t) { return 1; }
EXPORT(proxy_on_configure) uint32_t on_configure(uint32_t, uint32_t size) {
  const char *data = nullptr;
  size_t length = 0;
  if (proxy_get_buffer_bytes(kPluginConfiguration, 0, size, &data, &length) != 0) return 0;
  configuration = take(data, length);
  std::printf("kit c++ is configured: %s\n", configuration.c_str());
  std::fflush(stdout);
  struct stat found;
  timespec step{};
  int there = stat("/etc/rules.conf", &found), stat_errno = errno;
  std::FILE *file = std::fopen("/etc/rules.conf", "r");
  int clock = clock_getres(CLOCK_REALTIME, &step);
  std::printf("kit c++ has no rules: %d, %d, %d; clock %d, %ld ns\n", there, stat_errno, file == nullptr, clock, step.tv_nsec);
  std::fflush(stdout);
  return 1;
}
EXPORT(proxy_on_request_headers) uint32_t on_request_headers(uint32_t context, uint32_t, uint32_t) {
  std::string &path = streams[context];
  path = get(kRequest, ":path");
  if (path.rfind("/secret", 0) == 0) {
    std::string_view body = "not for you";
    proxy_send_local_response(403, nullptr, 0, body.data(), body.size(), nullptr, 0, 0xffffffff);
    return 1;
  }
  set(kRequest, "x-kit-cpp", configuration);
  return 0;
}
EXPORT(proxy_on_response_headers) uint32_t on_response_headers(uint32_t context, uint32_t, uint32_t) {
  set(kResponse, "x-kit-cpp-path", streams[context]);
  return 0;
}
EXPORT(proxy_on_done) uint32_t on_done(uint32_t) { return 1; }
EXPORT(proxy_on_log) void on_log(uint32_t) {}
EXPORT(proxy_on_delete) void on_delete(uint32_t context) { streams.erase(context); }
