// CRC-64/NVME, the checksum that S3 calls x-amz-checksum-crc64nvme: which kernels there are.
#include "crc.h"
#include "crc_fold_x86.h"

namespace primed {
namespace {

constexpr CrcKernel<Crc64NvmePoly> kernels[] = {
#if defined(__x86_64__)
    {"vpclmulqdq-512", has512, updateBy512<Crc64NvmePoly, updateByTable<Crc64NvmePoly>>},
    {"vpclmulqdq-256", has256, updateBy256<Crc64NvmePoly, updateByTable<Crc64NvmePoly>>},
    {"pclmulqdq-128", has128, updateBy128<Crc64NvmePoly, updateByTable<Crc64NvmePoly>>},
#endif
    {"table", alwaysSupported, updateByTable<Crc64NvmePoly>},
};

}  // namespace

const CrcKernel<Crc64NvmePoly>* crc64NvmeKernels(size_t* count) {
  *count = sizeof(kernels) / sizeof(kernels[0]);
  return kernels;
}

const CrcKernel<Crc64NvmePoly>& crc64NvmeKernel() {
  static const CrcKernel<Crc64NvmePoly>& chosen = firstSupported(kernels);
  return chosen;
}

}  // namespace primed
