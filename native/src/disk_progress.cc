// What one attempt at a transfer means for the whole operation. The one place for it.
#include <cerrno>

#include "disk_queue.h"

namespace primed {

namespace {
// EINTR and EAGAIN come from a kernel that is short of something for a moment; each try costs a system call, so a
// thousand of them without a byte of progress is a condition that will not go away.
constexpr uint32_t maxRetries = 1000;
}  // namespace

DiskProgress::Next DiskProgress::advance(int64_t result, int32_t* finalResult) {
  if (result == -EINTR || result == -EAGAIN) {
    if (++retries <= maxRetries) return Next::again;
    *finalResult = static_cast<int32_t>(result);
    return Next::finished;
  }
  if (result < 0) {
    // A direct read that ended inside the last block cannot be continued at an odd offset: it met the end.
    const bool endMet = result == -EINVAL && doneBytes % 512 != 0 && op.kind == DiskOpKind::read;
    *finalResult = endMet ? -ENODATA : static_cast<int32_t>(result);
    return Next::finished;
  }
  if (result == 0 && op.length != 0) {
    // For a read the end of the file; a write that writes nothing and reports nothing would go on for ever.
    *finalResult = op.kind == DiskOpKind::read ? -ENODATA : -EIO;
    return Next::finished;
  }
  doneBytes += static_cast<uint32_t>(result);
  retries = 0;
  if (doneBytes < op.length) return Next::again;
  *finalResult = static_cast<int32_t>(doneBytes);
  return Next::finished;
}

}  // namespace primed
