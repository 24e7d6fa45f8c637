#include "base/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum leat_status leat_wake_open(struct leat_wake *wake, struct leat_error *err) {
    wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake->fd < 0 ? leat_fail_errno(err, "eventfd", "wake") : LEAT_OK;
}

void leat_wake_close(struct leat_wake *wake) {
    if (wake->fd >= 0) close(wake->fd);
    wake->fd = -1;
}

void leat_wake_fire(const struct leat_wake *wake) {
    int saved = errno;
    uint64_t one = 1;
    if (write(wake->fd, &one, sizeof one) < 0) {
    } /* full: it is readable already */
    errno = saved;
}

void leat_wake_drain(const struct leat_wake *wake) {
    uint64_t count;
    if (read(wake->fd, &count, sizeof count) < 0) {
    } /* nothing was fired */
}
