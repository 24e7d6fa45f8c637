/* Copies of a whole project: texts, lake and work folder as they were at one moment between two turns of the engine, which is what a
 * crash at that moment would have left; recovery knows how to go on from it.
 *
 *   PLACE/.lock                one backup at a time
 *   PLACE/NAME/.project/       the .sql files
 *   PLACE/NAME/lake/, work/    the lake and the work folder
 *   PLACE/NAME/backup.json     every file with its size and checksum; written last: without it there is no backup
 *   PLACE/NAME/.incomplete     there from the first moment until backup.json is; the next backup clears such a folder away
 *
 * Every NAME is whole by itself. Files that never change again (data files, Delta commits, checkpoints, full segments of logs) are hard
 * links: to the version before, or to the project's own files where both are on one file system. backup.json:
 *
 *   {"leat_backup":1,"name","made_us","leat","duckdb","manifest":lake/manifest.json,"bytes","files":[{"path","bytes","xxh3","inode",
 *    "modified_us"}],"checksum"}        checksum: XXH3-64 of the compact text without it; inode, modified_us: of the file it was copied from
 *
 * Thread: one each; beside a running process (backup), with nobody there (restore). */
#ifndef LEAT_ENGINE_BACKUP_H
#define LEAT_ENGINE_BACKUP_H

#include "engine/engine.h"

struct leat_backup_options {
    const char *project_dir;
    const char *lake_dir, *work_dir; /* NULL: as in leat_engine_options */
    const char *place;               /* made if missing */
    const char *name;                /* of this version; NULL: the time, 20260301T020000Z. For restore and verify, NULL: the newest */
    uint64_t keep;                   /* older versions than the newest `keep` are removed afterwards; 0: all stay */
    void (*progress)(void *, uint64_t bytes, uint64_t of_bytes); /* NULL: none */
    void *context;
};
/* out (may be NULL): JSON {"name", "files", "bytes", "copied_files", "copied_bytes", "removed":[names], "ms"}. Beside a running process the
 * engine stands still while it links its files, some ten thousand a second, not while they are copied.
 * Errors: EXISTS the name is taken; INVALID no name for a folder; BUSY another backup, or a process that takes no requests */
enum leat_status leat_backup(struct leat_env *, const struct leat_backup_options *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* The complete versions, oldest first: JSON [{"name", "made_us", "leat", "files", "bytes"}]. */
enum leat_status leat_backup_list(struct leat_env *, const char *place, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* Every file is read and compared with its checksum. CORRUPT names the first that is not as it was. */
enum leat_status leat_backup_verify(struct leat_env *, const struct leat_backup_options *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* Copies a version into options->project_dir, which must be empty or missing, checking every file. Cut short, it leaves a folder that no
 * leat opens. Sequences of sinks go on behind the present moment (rule 13): what was delivered after the backup has lower ones.
 * Errors: NOT_FOUND no such version; EXISTS the folder is not empty; CORRUPT a file of the backup is damaged */
enum leat_status leat_restore(struct leat_env *, const struct leat_backup_options *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;

/* ---- the engine's part --------------------------------------------------------------------------------------------------- */

#define LEAT_STAGE_DIR "snapshot"    /* in the work folder */
#define LEAT_LAKE_STAGE_DIR ".snapshot"
#define LEAT_BACKUP_LOCK "backup.lock" /* in the work folder: held while there may be a snapshot */
#define LEAT_RESTORING "restoring"
#define LEAT_RESTORED "restored.json"
/* Links everything that makes up lake and work folder into work/snapshot and lake/.snapshot, and writes work/snapshot/files.json: what
 * is there now, [{"path": "work/...", "bytes"}]. Files that grow are linked too: their first `bytes` are meant. engine: the running one; NULL: nobody
 * runs, and the caller holds both locks. */
enum leat_status leat_stage(struct leat_env *, const char *lake_dir, const char *work_dir, struct leat_engine *engine, struct leat_error *) LEAT_MUST;
enum leat_status leat_stage_drop(struct leat_env *, const char *lake_dir, const char *work_dir, struct leat_error *) LEAT_MUST;
/* At the start of a process: a snapshot that nobody is copying goes; a restore that was cut short is INVALID. */
enum leat_status leat_backup_settle(struct leat_env *, const char *lake_dir, const char *work_dir, struct leat_error *) LEAT_MUST;
/* When this work folder came out of a backup, by the clock then; 0: it did not. */
enum leat_status leat_restored_at(struct leat_env *, const char *work_dir, int64_t *at_us, struct leat_error *) LEAT_MUST;

#endif
