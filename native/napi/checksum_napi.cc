// Checksums for JavaScript. Called for every chunk that arrives, so the arguments are plain numbers: the address of
// the memory, which the caller looks up once a buffer, is cheaper than unpacking a typed array here.
#include "../src/crc.h"
#include "value.h"

namespace primed {
namespace {

// crc32c(address, length, seed): number
napi_value crc32cCall(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  // As a double: the conversion of napi_get_value_uint32 takes 100 ns longer for numbers above 2^31.
  double address, length, seed;
  if (!arguments.complete || !getNumber(env, arguments.at[0], &address) || !getNumber(env, arguments.at[1], &length) ||
      !getNumber(env, arguments.at[2], &seed)) {
    return nullptr;
  }
  napi_value result;
  const uint32_t crc = crc32c(static_cast<uint32_t>(static_cast<int64_t>(seed)), pointerFrom(address), static_cast<size_t>(length));
  PRIMED_NAPI(napi_create_uint32(env, crc, &result));
  return result;
}

// crc64Nvme(address, length, seed: bigint): bigint
napi_value crc64NvmeCall(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  double address, length;
  uint64_t seed;
  bool lossless;
  if (!arguments.complete || !getNumber(env, arguments.at[0], &address) || !getNumber(env, arguments.at[1], &length)) {
    return nullptr;
  }
  PRIMED_NAPI(napi_get_value_bigint_uint64(env, arguments.at[2], &seed, &lossless));
  napi_value result;
  const uint64_t crc = crc64Nvme(seed, pointerFrom(address), static_cast<size_t>(length));
  PRIMED_NAPI(napi_create_bigint_uint64(env, crc, &result));
  return result;
}

// crc32cOfPages(address, length, pageBytes, outAddress): one CRC-32C a page, the last page may be short
napi_value crc32cOfPagesCall(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  double address, length, page, out;
  if (!arguments.complete || !getNumber(env, arguments.at[0], &address) || !getNumber(env, arguments.at[1], &length) ||
      !getNumber(env, arguments.at[2], &page) || !getNumber(env, arguments.at[3], &out)) {
    return nullptr;
  }
  const uint8_t* bytes = pointerFrom(address);
  auto* checksums = reinterpret_cast<uint32_t*>(pointerFrom(out));
  const auto pageBytes = static_cast<size_t>(page);
  for (auto left = static_cast<size_t>(length); left != 0;) {
    const size_t here = left < pageBytes ? left : pageBytes;
    *checksums++ = crc32c(0, bytes, here);
    bytes += here;
    left -= here;
  }
  return nullptr;
}

// crc32cCombine(a, b, lengthB), crc32Combine(a, b, lengthB): number
template <class P>
napi_value combine32Call(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  uint32_t a, b;
  double length;
  if (!arguments.complete || !getNumber(env, arguments.at[2], &length)) return nullptr;
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[0], &a));
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[1], &b));
  napi_value result;
  PRIMED_NAPI(napi_create_uint32(env, P::combine(a, b, static_cast<uint64_t>(length)), &result));
  return result;
}

// crc64NvmeCombine(a: bigint, b: bigint, lengthB): bigint
napi_value crc64NvmeCombineCall(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  uint64_t a, b;
  bool lossless;
  double length;
  if (!arguments.complete || !getNumber(env, arguments.at[2], &length)) return nullptr;
  PRIMED_NAPI(napi_get_value_bigint_uint64(env, arguments.at[0], &a, &lossless));
  PRIMED_NAPI(napi_get_value_bigint_uint64(env, arguments.at[1], &b, &lossless));
  napi_value result;
  const uint64_t combined = Crc64NvmePoly::combine(a, b, static_cast<uint64_t>(length));
  PRIMED_NAPI(napi_create_bigint_uint64(env, combined, &result));
  return result;
}

// checksumKernels(): [CRC-32C, CRC-64/NVME], the names of the kernels in use
napi_value kernelsCall(napi_env env, napi_callback_info) {
  napi_value result, name;
  PRIMED_NAPI(napi_create_array_with_length(env, 2, &result));
  PRIMED_NAPI(napi_create_string_utf8(env, crc32cKernel().name, NAPI_AUTO_LENGTH, &name));
  PRIMED_NAPI(napi_set_element(env, result, 0, name));
  PRIMED_NAPI(napi_create_string_utf8(env, crc64NvmeKernel().name, NAPI_AUTO_LENGTH, &name));
  PRIMED_NAPI(napi_set_element(env, result, 1, name));
  return result;
}

}  // namespace

napi_status addChecksums(napi_env env, napi_value exports) {
  napi_status status = addFunction(env, exports, "crc32c", crc32cCall);
  if (status == napi_ok) status = addFunction(env, exports, "crc64Nvme", crc64NvmeCall);
  if (status == napi_ok) status = addFunction(env, exports, "crc32cOfPages", crc32cOfPagesCall);
  if (status == napi_ok) status = addFunction(env, exports, "crc32cCombine", combine32Call<Crc32cPoly>);
  if (status == napi_ok) status = addFunction(env, exports, "crc32Combine", combine32Call<Crc32Poly>);
  if (status == napi_ok) status = addFunction(env, exports, "crc64NvmeCombine", crc64NvmeCombineCall);
  if (status == napi_ok) status = addFunction(env, exports, "checksumKernels", kernelsCall);
  return status;
}

}  // namespace primed
