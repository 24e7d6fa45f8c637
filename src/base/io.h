/* Every disk access of leat, as one table of calls, so that a simulated disk can stand in. Paths are
 * absolute or relative to the process; NUL-terminated; UTF-8 not required. All calls return a status
 * and fill err with call, path and errno. Thread: any, one file handle by one thread at a time.
 *
 * The simulated disk (sim/disk.h) applies every call to a real directory and records it, so that DuckDB can read the same files; from
 * the record it builds the images a crash could leave (unsynced writes lost, torn, reordered;
 * unsynced directory entries lost). Hence: data is durable only after leat_io_sync of the file AND
 * leat_io_sync_dir of its directory if the name is new. */
#ifndef LEAT_BASE_IO_H
#define LEAT_BASE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include "base/mem.h"
#include "base/status.h"

struct leat_io;   /* the table and its context; base/io.c gives the real one */
struct leat_file; /* an open file */

enum leat_open_mode {
    LEAT_OPEN_READ,      /* must exist */
    LEAT_OPEN_APPEND,    /* made if missing; writes go to the end */
    LEAT_OPEN_CREATE,    /* must not exist (O_EXCL): EXISTS otherwise */
    LEAT_OPEN_TRUNCATE,  /* made if missing, emptied if not */
};
struct leat_stat {
    uint64_t size_bytes;
    int64_t modified_us; /* since the epoch, UTC */
    uint64_t inode;
    bool is_dir;
};

struct leat_io_ops {
    /* READ of a pipe is refused: INVALID, without waiting. */
    enum leat_status (*open)(struct leat_io *, const char *path, enum leat_open_mode, struct leat_file **, struct leat_error *);
    enum leat_status (*read_at)(struct leat_file *, uint64_t offset, void *out, size_t want, size_t *got, struct leat_error *);
    enum leat_status (*write)(struct leat_file *, const void *bytes, size_t n, struct leat_error *); /* all or error, at the end */
    enum leat_status (*truncate)(struct leat_file *, uint64_t size_bytes, struct leat_error *);
    enum leat_status (*sync)(struct leat_file *, struct leat_error *); /* fdatasync; failure is fatal: err->fatal */
    void (*close)(struct leat_file *);
    enum leat_status (*stat)(struct leat_io *, const char *path, struct leat_stat *, struct leat_error *);
    enum leat_status (*link)(struct leat_io *, const char *from, const char *to, struct leat_error *); /* EXISTS if `to` is there */
    enum leat_status (*rename)(struct leat_io *, const char *from, const char *to, struct leat_error *);
    enum leat_status (*unlink)(struct leat_io *, const char *path, struct leat_error *); /* a file, a symbolic link or an empty directory */
    enum leat_status (*mkdir)(struct leat_io *, const char *path, struct leat_error *); /* OK if it is there */
    enum leat_status (*sync_dir)(struct leat_io *, const char *path, struct leat_error *);
    /* Calls visit for each entry but . and .., in no order; stops when it returns false. */
    enum leat_status (*list)(struct leat_io *, const char *path, bool (*visit)(void *, const char *name), void *, struct leat_error *);
    /* Advisory exclusive lock held until close; BUSY if another process has it. */
    enum leat_status (*lock)(struct leat_file *, struct leat_error *);
    /* Files that someone else (DuckDB, in scratch) wrote: bring them under our durability rules. The
     * scratch file is checked (regular, not empty), fsynced, linked to `to` (EXISTS if there), its
     * directory fsynced, the scratch name unlinked. Rule 21. */
    enum leat_status (*adopt)(struct leat_io *, const char *scratch, const char *to, struct leat_error *);
    /* Room that is left for this process where `path` is, and a number that tells file systems apart. NULL: nobody knows. */
    enum leat_status (*space)(struct leat_io *, const char *path, uint64_t *free_bytes, uint64_t *device, struct leat_error *);
};
struct leat_io {
    const struct leat_io_ops *ops;
    void *context;
};

struct leat_io *leat_io_real(void); /* static, never freed */

/* Convenience over the table (base/io_util.c). */
enum leat_status leat_io_read_all(struct leat_io *, const char *path, size_t max_bytes, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* Whole file durable under a new name: temp in the same directory, write, sync, link (EXISTS if `path` is there) or,
 * with replace, rename; directory fsync; temp unlinked. */
enum leat_status leat_io_write_durable(struct leat_io *, const char *path, const void *bytes, size_t n, bool replace, struct leat_error *) LEAT_MUST;
enum leat_status leat_io_mkdirs(struct leat_io *, const char *path, struct leat_error *) LEAT_MUST; /* with parents, each synced */
bool leat_io_exists(struct leat_io *, const char *path);
char *leat_io_dirname(const char *path); /* "a/b" -> "a", "b" -> ".", "/b" -> "/"; owned by the caller */
/* Is this the name of a temp of leat_io_write_durable? A crash can leave one; whoever owns the directory may unlink it. */
bool leat_io_is_temp_name(const char *name);
/* Sorted names in a directory (missing directory: none). out_names: malloc'd array of malloc'd strings. */
enum leat_status leat_io_list_sorted(struct leat_io *, const char *path, char ***out_names, size_t *out_count, struct leat_error *) LEAT_MUST;
void leat_names_free(char **names, size_t count);
/* Removes a file or a whole directory tree; missing is OK. */
enum leat_status leat_io_remove_tree(struct leat_io *, const char *path, struct leat_error *) LEAT_MUST;

#endif
