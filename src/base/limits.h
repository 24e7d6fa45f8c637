/* Every named bound of leat that is not an option, related to each other by assertions. A bound is there so that
 * outside input shapes an error, never memory: LIMIT names the bound and what to do. */
#ifndef LEAT_BASE_LIMITS_H
#define LEAT_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#define LEAT_KIB ((size_t)1 << 10)
#define LEAT_MIB ((size_t)1 << 20)
#define LEAT_GIB ((size_t)1 << 30)

/* Names and texts */
#define LEAT_NAME_MAX 255                             /* bytes of a source, view, table, column or option name */
#define LEAT_PATH_BYTES_MAX 4096                      /* as Linux's PATH_MAX */

/* A project */
#define LEAT_PROJECT_FILES_MAX 10000                  /* .sql files of one project */
#define LEAT_PROJECT_FILE_BYTES_MAX (4 * LEAT_MIB)    /* one .sql file */
#define LEAT_COLUMNS_MAX 4096                         /* columns of one schema; positions are uint16_t */
#define LEAT_NESTING_MAX 64                           /* levels of a JSON record or an SQL expression */

/* Ingest: a record fits in a block, a block in a segment */
#define LEAT_RECORD_BYTES_MAX (8 * LEAT_MIB)
#define LEAT_BLOCK_MAX (16 * LEAT_MIB)                /* payload bytes of one block of the log */
#define LEAT_BLOCK_RECORDS_MAX (1u << 20)
#define LEAT_SEGMENT_BYTES (64 * LEAT_MIB)            /* default size of a segment of the log */
#define LEAT_PAYLOAD_SLACK 64                         /* readable bytes behind a payload, for SIMD */

/* Journal: one record is a line; a checkpoint rotates the file long before the bound */
#define LEAT_JOURNAL_RECORD_BYTES_MAX (16 * LEAT_MIB)
#define LEAT_JOURNAL_FILE_BYTES_MAX (1 * LEAT_GIB)
#define LEAT_JOURNAL_DUE_BYTES (16 * LEAT_MIB) /* of steps: then a checkpoint is taken */

/* Delta Lake log entries and checkpoint pointers are read whole */
#define LEAT_DELTA_ENTRY_BYTES_MAX (256 * LEAT_MIB)

/* A column of a Parquet file that is written here and not by DuckDB; lengths in its header are 32 bits */
#define LEAT_PARQUET_PAGE_BYTES_MAX (64 * LEAT_MIB)

/* A string in a change batch has a 32-bit length; DuckDB cuts longer ones silently */
#define LEAT_STRING_BYTES_MAX (1 * LEAT_GIB)

_Static_assert(LEAT_RECORD_BYTES_MAX <= LEAT_BLOCK_MAX, "a record fits in a block");
_Static_assert(LEAT_BLOCK_MAX <= LEAT_SEGMENT_BYTES, "a block fits in a segment");
_Static_assert(LEAT_BLOCK_MAX < UINT32_MAX - LEAT_PAYLOAD_SLACK, "record positions in a block are 32 bits");
_Static_assert(LEAT_COLUMNS_MAX <= UINT16_MAX, "column positions are 16 bits");
_Static_assert(LEAT_JOURNAL_RECORD_BYTES_MAX < LEAT_JOURNAL_FILE_BYTES_MAX, "a record fits in a journal");
_Static_assert(LEAT_RECORD_BYTES_MAX < LEAT_STRING_BYTES_MAX, "a payload is a string");

#endif
