/* A disk for rehearsals: the real one, counting what is done below one folder as an object store would be asked for it, and, if wanted, without
 * waiting for the disk (what is rehearsed is never recovered). DuckDB's own reads of Parquet files are not seen. */
#ifndef LEAT_REHEARSE_SCRATCH_IO_H
#define LEAT_REHEARSE_SCRATCH_IO_H

#include "base/io.h"

struct leat_scratch_io {
    struct leat_io io; /* pass on &scratch.io */
    const char *counted_dir; /* borrowed; NULL: nothing is counted */
    bool unsynced;
    uint64_t puts, gets, lists, deletes; /* requests */
};
void leat_scratch_io_init(struct leat_scratch_io *, const char *counted_dir, bool unsynced);

#endif
