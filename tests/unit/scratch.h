/* A scratch directory for a test, and small file helpers. Failures end the test. The directory lies in $TMPDIR, else in memory
 * (/dev/shm: thousands of small files made and removed take seconds there, minutes on a busy disk), else here. */
#ifndef LEAT_TESTS_SCRATCH_H
#define LEAT_TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"

/* The call must succeed; it writes its error to `oops`: OK(leat_io_mkdirs(io, path, oops)). */
#define OK(call) \
    do { \
        struct leat_error oops[1] = {{0}}; \
        if ((call) != LEAT_OK) fail_msg("%s: %s", #call, oops->text); \
    } while (0)

static inline char *scratch_make(void)
{
    static char path[1024];
    const char *dirs[] = {getenv("TMPDIR"), "/dev/shm", "."};
    for (size_t i = 0; i < 3; i++) {
        if (!dirs[i] || !*dirs[i]) continue;
        snprintf(path, sizeof path, "%s/leat-test-XXXXXX", dirs[i]);
        if (mkdtemp(path)) return path;
    }
    fail_msg("cannot make a scratch directory in $TMPDIR, /dev/shm or here");
    return NULL;
}

static inline void scratch_remove(const char *path)
{
    OK(leat_io_remove_tree(leat_io_real(), path, oops));
}

/* A directory below the scratch one, emptied. malloc'd. */
static inline char *scratch_dir(const char *scratch, const char *name)
{
    char *path = leat_asprintf("%s/%s", scratch, name);
    OK(leat_io_remove_tree(leat_io_real(), path, oops));
    OK(leat_io_mkdirs(leat_io_real(), path, oops));
    return path;
}

static inline void scratch_write(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file)) fail_msg("cannot write %s", path);
}

#endif
