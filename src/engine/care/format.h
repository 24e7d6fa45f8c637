/* Formats of what leat keeps. One number stands for all of a folder, in FOLDER/format.json (work folder) or lake/.format.json:
 *
 *   {"leat_format":N,"readable_from":M,"leat":"version that wrote it last"}     none: from before there was a number, as 1
 *
 * A leat opens what says readable_from <= its own LEAT_FORMAT, older and newer, and then writes its own number, before anything else. Anything
 * newer it refuses and leaves as it is. What may change without a new `readable_from`: files and keys that an older leat passes over and
 * can do without. Below it, each file checks itself, so that a damaged or foreign one is never taken for another:
 *
 *   file                                format number, check                                      a foreign one
 *   .leat/journal/journal-N             "leat_journal" in its first line, a hash a line           refused
 *   .leat/checkpoint/N/manifest.json    "format"; size, rows and hash of each file                rebuilt from bronze
 *   .leat/log, sink/S/log, sink/S/dead, changes/T: N.log
 *                                       "LEATLOG1" and a version a segment, a version and a hash a block   refused
 *   .leat/connector/S/feed/N.spool      a version and a hash a block                              refused
 *   .leat/connector/S/partitions.json, lake/bronze/S/_partitions.json   "version"                 refused
 *   .leat/connector/S/batches, taken    a hash an entry; this number                              forgotten from there on
 *   .leat/connector/S/columns           this number                                               refused
 *   .leat/sink/S/progress.json, sink.json    this number                                          refused where it does not fit its log
 *   .leat/identity                      36 characters                                             refused
 *   .leat/control/                      lives no longer than the process                          refused
 *   .leat/project.json, status.json     for readers; made anew                                    made anew
 *   lake/TABLE                          Delta's protocol versions and features                    refused
 *   lake/bronze/S/_retained.json        "leat_retained"                                           refused
 *   lake/manifest.json, pins/N/_pin.json   for readers
 *   PLACE/NAME/backup.json              "leat_backup", a checksum                                 refused
 *
 * tests/integration/formats.sh holds that folders which earlier versions left are gone on from. */
#ifndef LEAT_ENGINE_FORMAT_H
#define LEAT_ENGINE_FORMAT_H

#include "base/env.h"

#define LEAT_FORMAT 1
#define LEAT_FORMAT_READABLE_FROM 1

/* path: of format.json. write: says our number where another stands there. UNSUPPORTED: of a newer leat, with what to do: `otherwise`. */
enum leat_status leat_format_settle(struct leat_env *, const char *path, bool write, const char *otherwise, struct leat_error *) LEAT_MUST;

#endif
