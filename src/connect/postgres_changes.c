/* The postgres source with a slot: a table's rows at one moment, then every change, by logical replication.
 *
 * The hand-over is exact: CREATE_REPLICATION_SLOT names a point of the write-ahead log and exports the snapshot of it; the rows are copied in
 * that snapshot into a file here, whole, before the first of them counts; changes follow from that point. A crash before the file is whole
 * begins anew with another slot, so that no row of a half copy is ever taken.
 *
 * <state>/slot        "making" before the slot is made, then "LSN BYTES TIMELINE SYSTEM" (hexadecimal, decimal): the point, the length of the copy, and the
 *                     server's timeline and number as the stream began last (0, or left out: not known)
 * <state>/snapshot    the rows, lines of JSON (postgres_pgoutput.h)
 * <state>/restored    this folder came out of a backup, and the slot may have gone on since: looked at before the first stream
 * The log's position is SNAPSHOT | offset in the copy, then the LSN behind the last whole transaction. A transaction whose records lie in several blocks is
 * sent again whole after a crash between them; the fold by key (rule 17) makes the same of it. The server keeps its log back to what is durable here. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "connect/connector.h"
#include "connect/postgres.h"
#include "connect/postgres_pgoutput.h"
#include "connect/postgres_table.h"
#include "connect/rows.h"

#define SNAPSHOT (UINT64_C(1) << 63)
#define PAUSE_MIN_US INT64_C(500000)
#define PAUSE_MAX_US INT64_C(10000000)
#define STATUS_INTERVAL_US INT64_C(1000000)
#define PIECE_BYTES (4 * LEAT_MIB)

struct changes_source {
    struct leat_connector base;
    struct leat_env *env;
    const struct leat_source *def;
    const char *dsn, *table, *slot;
    char *slot_path, *copy_path, *schema_name; /* schema_name NULL: not known yet */
    const char *table_name;
    int64_t timeout_us;
    size_t max_line_bytes;

    atomic_int halted;           /* the copy, which may take hours, and waits for the server are given up */
    atomic_int ready;            /* the slot is made and the copy whole; looked at from the engine's thread, too */
    uint64_t start_lsn, copy_bytes, copy_at;
    unsigned timeline;           /* 0: not known */
    uint64_t system;             /* of which server; 0: not known */
    uint64_t position, next_offset;
    struct leat_postgres *stream;
    bool streaming;
    struct leat_pgoutput reader;
    uint64_t sent_lsn;           /* how far the server says it has sent */
    uint64_t durable_lsn;        /* what is before it is in the log, on disk */
    uint64_t target_lsn;         /* where its log ended when the stream began */
    bool unsynced;               /* records were given that are not durable yet */
    int64_t heard_us, told_us, retry_us, pause_us;
    struct leat_buffer lines;
    size_t given;                /* bytes of `lines` that are a block's */
    uint32_t *starts, *ends;
    size_t capacity;
};

static struct changes_source *self(struct leat_connector *c) {
    return (struct changes_source *)(void *)c;
}

static int64_t now(const struct changes_source *s) {
    return s->env->clock->monotonic_us(s->env->clock);
}

/* ---- State ---- */

static enum leat_status write_text(struct changes_source *s, const char *text, struct leat_error *err) {
    return leat_io_write_durable(s->env->io, s->slot_path, text, strlen(text), true, err);
}

static enum leat_status write_slot(struct changes_source *s, struct leat_error *err) {
    char text[96];
    snprintf(text, sizeof text, "%" PRIx64 " %" PRIu64 " %u %" PRIu64, s->start_lsn, s->copy_bytes, s->timeline, s->system);
    return write_text(s, text, err);
}

/* *making: a slot of this name that is there is ours, left by a crash. */
static enum leat_status read_slot(struct changes_source *s, bool *making, struct leat_error *err) {
    struct leat_buffer text = {0};
    *making = false;
    enum leat_status st = leat_io_read_all(s->env->io, s->slot_path, LEAT_KIB, &text, err);
    if (st == LEAT_OK && text.length) {
        *making = strcmp(text.data, "making") == 0;
        s->ready = sscanf(text.data, "%" SCNx64 " %" SCNu64 " %u %" SCNu64, &s->start_lsn, &s->copy_bytes, &s->timeline, &s->system) >= 2;
        if (!*making && !s->ready) st = leat_fail(err, LEAT_CORRUPT, "%s is damaged", s->slot_path);
    }
    leat_buffer_deinit(&text);
    return st == LEAT_NOT_FOUND ? LEAT_OK : st;
}

static struct leat_postgres_table table_at(const struct changes_source *s, struct leat_postgres *server) {
    return (struct leat_postgres_table){.def = s->def, .name = s->table, .slot = s->slot, .slot_path = s->slot_path, .server = server, .timeout_us = s->timeout_us};
}

/* ---- The slot and the copy ---- */

static enum leat_status drop_leftover(struct changes_source *s, struct leat_postgres *server, bool ours, struct leat_error *err) {
    char *there, *done;
    struct leat_buffer name = {0};
    leat_put_sql_string(&name, s->slot);
    enum leat_status st = leat_postgres_ask(server, s->timeout_us, &there, err, "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", name.data);
    if (st == LEAT_OK && there && !ours)
        st = leat_fail(err, LEAT_CONFLICT, "PostgreSQL has a replication slot '%s' already, which is not this work folder's; name another, or drop it there: "
                       "SELECT pg_drop_replication_slot('%s')", s->slot, s->slot);
    else if (st == LEAT_OK && there)
        st = leat_postgres_ask(server, s->timeout_us, &done, err, "SELECT pg_drop_replication_slot(%s)", name.data), free(st == LEAT_OK ? done : NULL);
    free(there);
    leat_buffer_deinit(&name);
    return st;
}

/* A longer line becomes one that is just too long: a dead letter with its beginning. */
static void cut_line(struct leat_buffer *lines, size_t from, size_t max_line_bytes) {
    if (lines->length - from <= max_line_bytes + 2) return;
    lines->length = from + max_line_bytes + 1;
    leat_put(lines, "\n");
}

struct copying { struct changes_source *s; struct leat_file *file; struct leat_buffer lines; uint64_t bytes; };

static enum leat_status write_lines(struct copying *c, struct leat_error *err) {
    enum leat_status st = c->lines.length ? c->s->env->io->ops->write(c->file, c->lines.data, c->lines.length, err) : LEAT_OK;
    c->bytes += c->lines.length;
    leat_buffer_reset(&c->lines);
    return st;
}

static enum leat_status take_row(void *context, const char *row, size_t length, struct leat_error *err) {
    struct copying *c = context;
    size_t from = c->lines.length;
    if (atomic_load(&c->s->halted)) return leat_fail(err, LEAT_CANCELLED, "stopped while the rows were copied");
    enum leat_status st = leat_pgoutput_copied(c->s->def, row, length, &c->lines, err);
    cut_line(&c->lines, from, c->s->max_line_bytes);
    return st == LEAT_OK && c->lines.length >= LEAT_MIB ? write_lines(c, err) : st;
}

static enum leat_status copy_rows(struct changes_source *s, struct leat_postgres *server, const char *snapshot, struct leat_error *err) {
    struct copying c = {.s = s};
    struct leat_buffer sql = {0};
    const struct leat_io_ops *ops = s->env->io->ops;
    enum leat_status st = leat_postgres_run(server, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", s->timeout_us, NULL, err);
    leat_put(&sql, "SET TRANSACTION SNAPSHOT ");
    leat_put_sql_string(&sql, snapshot);
    if (st == LEAT_OK) st = leat_postgres_run(server, sql.data, s->timeout_us, NULL, err);
    if (st == LEAT_OK) st = ops->open(s->env->io, s->copy_path, LEAT_OPEN_TRUNCATE, &c.file, err);
    leat_buffer_reset(&sql);
    leat_put(&sql, "COPY (SELECT ");
    for (size_t i = 0; i < s->def->value_count; i++) {
        leat_put(&sql, i ? ", " : "");
        leat_put_sql_name(&sql, leat_source_column(s->def, i));
    }
    leat_put(&sql, " FROM ");
    leat_rows_put_table(&sql, s->table, "\"");
    leat_put(&sql, ") TO STDOUT");
    if (st == LEAT_OK) {
        st = leat_postgres_copy_each(server, sql.data, s->timeout_us, take_row, &c, err);
        if (st == LEAT_OK) st = write_lines(&c, err);
        if (st == LEAT_OK) st = ops->sync(c.file, err);
        ops->close(c.file);
    }
    s->copy_bytes = c.bytes;
    leat_buffer_deinit(&c.lines);
    leat_buffer_deinit(&sql);
    return st;
}

static bool read_lsn(const char *text, uint64_t *out) {
    unsigned high, low;
    if (sscanf(text, "%X/%X", &high, &low) != 2) return false;
    *out = (uint64_t)high << 32 | low;
    return true;
}

/* The slot, and the rows of its point. The stream's connection holds the snapshot until the copy is done. */
static enum leat_status make_slot(struct changes_source *s, struct leat_postgres *server, struct leat_error *err) {
    struct leat_buffer sql = {0};
    PGresult *made = NULL;
    s->timeline = 0; /* the stream's start says both */
    s->system = 0;
    enum leat_status st = write_text(s, "making", err);
    if (st == LEAT_OK) st = leat_postgres_connect(leat_clock_real(), s->dsn, true, s->timeout_us, &s->halted, &s->stream, err);
    leat_put(&sql, "CREATE_REPLICATION_SLOT ");
    leat_put_sql_name(&sql, s->slot);
    leat_put(&sql, " LOGICAL pgoutput EXPORT_SNAPSHOT");
    if (st == LEAT_OK) st = leat_postgres_run(s->stream, sql.data, s->timeout_us, &made, err);
    if (st == LEAT_OK && (PQntuples(made) != 1 || PQnfields(made) < 3 || !read_lsn(PQgetvalue(made, 0, 1), &s->start_lsn)))
        st = leat_fail(err, LEAT_UNSUPPORTED, "PostgreSQL: the answer to CREATE_REPLICATION_SLOT is not understood");
    if (st == LEAT_OK) st = copy_rows(s, server, PQgetvalue(made, 0, 2), err);
    if (st == LEAT_OK) st = write_slot(s, err);
    s->ready = st == LEAT_OK;
    PQclear(made);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status set_up(struct changes_source *s, struct leat_error *err) {
    struct leat_postgres *server = NULL;
    bool making;
    enum leat_status st = read_slot(s, &making, err);
    if (st == LEAT_OK) st = leat_postgres_connect(leat_clock_real(), s->dsn, false, s->timeout_us, &s->halted, &server, err);
    const struct leat_postgres_table table = table_at(s, server);
    if (st == LEAT_OK) st = leat_postgres_table_publish(&table, &s->schema_name, err);
    if (st == LEAT_OK) st = drop_leftover(s, server, making, err);
    if (st == LEAT_OK) st = make_slot(s, server, err);
    leat_postgres_close(server);
    return st;
}

/* ---- The stream ---- */

static void hang_up(struct changes_source *s) {
    leat_postgres_close(s->stream);
    s->stream = NULL;
    s->streaming = false;
    leat_buffer_reset(&s->lines);
    s->given = 0;
}

/* A slot does not go back, and says nothing of what it passes over. confirmed: where it is. */
static enum leat_status check_restored(struct changes_source *s, const char *confirmed, uint64_t from, struct leat_error *err) {
    char *dir = leat_io_dirname(s->slot_path), *path = leat_asprintf("%s/restored", dir);
    uint64_t at = 0;
    enum leat_status st = LEAT_OK;
    if (leat_io_exists(s->env->io, path) && read_lsn(confirmed, &at) && at > from)
        st = leat_fail(err, LEAT_CONFLICT,
                       "PostgreSQL: slot \"%s\" has gone on to %s since the backup that this folder was restored from, which is at %X/%X: changes between the two are not "
                       "sent again. To have the table copied anew, drop the slot (SELECT pg_drop_replication_slot('%s')) and remove %s and %s; rows deleted "
                       "between the two then stay. To go on without those changes, remove %s",
                       s->slot, confirmed, (unsigned)(from >> 32), (unsigned)from, s->slot, s->slot_path, path, path);
    else if (leat_io_exists(s->env->io, path))
        st = s->env->io->ops->unlink(s->env->io, path, err);
    free(path);
    free(dir);
    return st;
}

/* Where its timeline `number` ended, as the history of a later one says: "NUMBER <tab> LSN <tab> why", by line. False: it does not name it. */
static bool end_of_timeline(const char *history, unsigned number, uint64_t *end) {
    for (const char *line = history; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        unsigned named;
        int behind = 0;
        if (sscanf(line, "%u %n", &named, &behind) == 1 && behind && named == number) return read_lsn(line + behind, end);
    }
    return false;
}

/* A server that was put back to an earlier state, or that had not all when it took over, gives other changes the numbers that were read here, and passes
 * them over. Its log is a timeline of its own then, which says where it left the one that was read; or, put back file by file, it is shorter. One that was
 * upgraded (pg_upgrade keeps slots that were read to their end) is another system, whose timelines begin anew. */
static enum leat_status check_timeline(struct changes_source *s, uint64_t from, struct leat_error *err) {
    PGresult *system = NULL, *told = NULL;
    uint64_t end = s->target_lsn;
    char text[32];
    enum leat_status st = leat_postgres_run(s->stream, "IDENTIFY_SYSTEM", s->timeout_us, &system, err);
    if (st != LEAT_OK) return st;
    bool answered = PQntuples(system) == 1 && PQnfields(system) >= 2;
    unsigned now = answered ? (unsigned)strtoul(PQgetvalue(system, 0, 1), NULL, 10) : 0;
    uint64_t id = answered ? strtoull(PQgetvalue(system, 0, 0), NULL, 10) : 0;
    if (s->system && id != s->system) s->timeline = 0;
    snprintf(text, sizeof text, "TIMELINE_HISTORY %u", now);
    if (s->timeline && now > s->timeline) st = leat_postgres_run(s->stream, text, s->timeout_us, &told, err);
    bool history = st == LEAT_OK && told && PQntuples(told) == 1 && PQnfields(told) == 2;
    if (s->timeline && now != s->timeline && (!history || !end_of_timeline(PQgetvalue(told, 0, 1), s->timeline, &end))) end = 0;
    if (st == LEAT_OK && end < from)
        st = leat_fail(err, LEAT_CONFLICT,
                       "PostgreSQL has not all that was read of it: its log left that which was read at %X/%X, before %X/%X. It was put back to an earlier state, or a standby "
                       "took over that had not everything. To have the table copied anew, drop the slot (SELECT pg_drop_replication_slot('%s')) and remove %s; rows that it "
                       "has no more then stay",
                       (unsigned)(end >> 32), (unsigned)end, (unsigned)(from >> 32), (unsigned)from, s->slot, s->slot_path);
    if (st == LEAT_OK && (now != s->timeline || id != s->system)) {
        s->timeline = now;
        s->system = id;
        st = write_slot(s, err);
    }
    PQclear(system);
    PQclear(told);
    return st;
}

/* Is what follows here all that comes after `from`? */
static enum leat_status check_slot(struct changes_source *s, struct leat_postgres *server, uint64_t from, struct leat_error *err) {
    char *end = NULL, *confirmed = NULL;
    struct leat_buffer slot = {0};
    leat_put_sql_string(&slot, s->slot);
    enum leat_status st = leat_postgres_ask(server, s->timeout_us, &end, err, "SELECT pg_current_wal_flush_lsn()");
    if (st == LEAT_OK && (!end || !read_lsn(end, &s->target_lsn))) st = leat_fail(err, LEAT_UNSUPPORTED, "PostgreSQL: the end of its log is not understood");
    if (st == LEAT_OK) st = leat_postgres_ask(server, s->timeout_us, &confirmed, err, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", slot.data);
    if (st == LEAT_OK && !confirmed)
        st = leat_fail(err, LEAT_CONFLICT, "PostgreSQL has no replication slot \"%s\" any more: it was dropped, or another server took over without it; changes after %X/%X "
                       "are not to be had. To have the table copied anew, remove %s; rows that were deleted meanwhile then stay",
                       s->slot, (unsigned)(from >> 32), (unsigned)from, s->slot_path);
    if (st == LEAT_OK) st = check_timeline(s, from, err);
    if (st == LEAT_OK) st = check_restored(s, confirmed, from, err);
    leat_buffer_deinit(&slot);
    free(end);
    free(confirmed);
    return st;
}

static enum leat_status start_stream(struct changes_source *s, struct leat_error *err) {
    struct leat_buffer sql = {0}, name = {0};
    struct leat_postgres *server = NULL;
    uint64_t from = s->position & SNAPSHOT || s->position < s->start_lsn ? s->start_lsn : s->position;
    if (!s->unsynced) s->durable_lsn = from;
    enum leat_status st = LEAT_OK;
    if (!s->stream) st = leat_postgres_connect(leat_clock_real(), s->dsn, true, s->timeout_us, &s->halted, &s->stream, err);
    if (st == LEAT_OK) st = leat_postgres_connect(leat_clock_real(), s->dsn, false, s->timeout_us, &s->halted, &server, err);
    if (st == LEAT_OK) st = check_slot(s, server, from, err);
    const struct leat_postgres_table table = table_at(s, server);
    if (st == LEAT_OK) st = leat_postgres_table_check(&table, &s->schema_name, err);
    s->reader = (struct leat_pgoutput){.source = s->def, .schema = s->schema_name, .table = s->table_name, .end_lsn = from};
    leat_put_sql_name(&name, s->slot);
    leat_putf(&sql, "START_REPLICATION SLOT %s LOGICAL %X/%X (proto_version '1', publication_names '%s')", name.data, (unsigned)(from >> 32),
              (unsigned)from, name.data);
    if (st == LEAT_OK) st = leat_postgres_run(s->stream, sql.data, s->timeout_us, NULL, err);
    s->streaming = st == LEAT_OK;
    s->heard_us = now(s);
    s->told_us = 0;
    s->sent_lsn = from;
    leat_postgres_close(server);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&name);
    return st;
}

static void put_big_endian(char *to, uint64_t n) {
    for (int i = 0; i < 8; i++) to[i] = (char)(n >> (56 - 8 * i));
}

/* How far the server may forget: what is durable here, or all it has sent where nothing waits. answer: it is to say how far it is. */
static enum leat_status tell_status(struct changes_source *s, bool answer, struct leat_error *err) {
    char message[34] = {'r'};
    bool nothing_waits = !s->unsynced && s->lines.length == s->given && !s->reader.in_transaction;
    uint64_t done = nothing_waits && s->sent_lsn > s->durable_lsn ? s->sent_lsn : s->durable_lsn;
    for (int i = 0; i < 3; i++) put_big_endian(message + 1 + 8 * i, done);
    message[33] = (char)answer;
    PGconn *conn = leat_postgres_conn(s->stream);
    s->told_us = now(s);
    if (PQputCopyData(conn, message, sizeof message) > 0 && PQflush(conn) >= 0) return LEAT_OK;
    leat_fail(err, LEAT_IO, "PostgreSQL: the connection is lost: %.*s", (int)strcspn(PQerrorMessage(conn), "\n"), PQerrorMessage(conn));
    err->retriable = true;
    return LEAT_IO;
}

static uint64_t read_big_endian(const char *at) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n = n << 8 | (uint8_t)at[i];
    return n;
}

/* A column that the table has not now was renamed or dropped. One that it had not when a change was made, and has now, was NULL then if it was added since;
 * else it had another name for a while. */
static enum leat_status check_table_now(struct changes_source *s, struct leat_error *err) {
    struct leat_postgres *server = NULL;
    enum leat_status st = leat_postgres_connect(leat_clock_real(), s->dsn, false, s->timeout_us, &s->halted, &server, err);
    const struct leat_postgres_table table = table_at(s, server);
    if (st == LEAT_OK) st = leat_postgres_table_check(&table, &s->schema_name, err);
    if (st == LEAT_OK) st = leat_postgres_table_had(&table, s->reader.absent, s->reader.column_count, &s->reader.renamed, err);
    leat_postgres_close(server);
    return st;
}

/* A message of the stream: changes, or the server's sign of life. */
static enum leat_status take_message(struct changes_source *s, const char *message, size_t length, struct leat_error *err) {
    s->heard_us = now(s);
    if (length >= 18 && message[0] == 'k') {
        uint64_t end = read_big_endian(message + 1);
        if (end > s->sent_lsn) s->sent_lsn = end;
        return message[17] ? tell_status(s, false, err) : LEAT_OK;
    }
    if (length < 25 || message[0] != 'w') return LEAT_OK;
    size_t from = s->lines.length;
    enum leat_status st = leat_pgoutput_read(&s->reader, message + 25, length - 25, &s->lines, err);
    if (st == LEAT_CORRUPT) st = err->status = LEAT_IO; /* what came is not what was sent: it is asked for again, over another connection */
    if (st == LEAT_OK && message[25] == 'R' && s->reader.absent) st = check_table_now(s, err);
    cut_line(&s->lines, from, s->max_line_bytes);
    if (s->reader.end_lsn > s->sent_lsn) s->sent_lsn = s->reader.end_lsn;
    return st;
}

/* What the connection has, up to max_bytes of lines. */
static enum leat_status receive(struct changes_source *s, size_t max_bytes, struct leat_error *err) {
    PGconn *conn = leat_postgres_conn(s->stream);
    enum leat_status st = LEAT_OK;
    bool read = false;
    while (st == LEAT_OK && s->lines.length < max_bytes) {
        char *message;
        int n = PQgetCopyData(conn, &message, 1);
        if (n > 0) {
            st = take_message(s, message, (size_t)n, err);
            PQfreemem(message);
        } else if (n < 0 || (!read && !PQconsumeInput(conn))) {
            const char *why = PQerrorMessage(conn);
            leat_fail(err, LEAT_IO, "PostgreSQL: the stream of changes ended: %.*s", (int)strcspn(why, "\n"), why);
            err->retriable = true;
            return LEAT_IO;
        } else if (read) {
            break;
        } else {
            read = true;
        }
    }
    return st;
}

/* ---- Blocks ---- */

static void add_line(struct changes_source *s, struct leat_block *out, size_t from, size_t to) {
    if (out->record_count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 1024;
        s->starts = leat_realloc(s->starts, s->capacity * sizeof *s->starts);
        s->ends = leat_realloc(s->ends, s->capacity * sizeof *s->ends);
    }
    s->starts[out->record_count] = (uint32_t)from;
    s->ends[out->record_count++] = (uint32_t)to;
}

/* The lines of bytes, up to the last whole one; returns how many bytes they are. */
static size_t make_block(struct changes_source *s, const char *bytes, size_t length, struct leat_block *out) {
    size_t used = 0;
    *out = (struct leat_block){.base_offset = s->next_offset, .payload = bytes};
    while (used < length && out->record_count < LEAT_BLOCK_RECORDS_MAX) {
        const char *end = memchr(bytes + used, '\n', length - used);
        if (!end) break;
        add_line(s, out, used, (size_t)(end - bytes));
        used = (size_t)(end - bytes) + 1;
    }
    out->starts = s->starts;
    out->ends = s->ends;
    out->payload_bytes = used;
    s->next_offset += out->record_count;
    s->unsynced = true;
    return used;
}

static enum leat_status poll_copy(struct changes_source *s, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    const struct leat_io_ops *ops = s->env->io->ops;
    struct leat_file *file;
    size_t want = (max_bytes < PIECE_BYTES ? max_bytes : PIECE_BYTES) + s->max_line_bytes + 2, got = 0;
    if (want > s->copy_bytes - s->copy_at) want = (size_t)(s->copy_bytes - s->copy_at);
    leat_buffer_reset(&s->lines);
    enum leat_status st = leat_buffer_reserve(&s->lines, want + LEAT_PAYLOAD_SLACK, err);
    if (st == LEAT_OK) st = ops->open(s->env->io, s->copy_path, LEAT_OPEN_READ, &file, err);
    if (st != LEAT_OK) return st;
    st = ops->read_at(file, s->copy_at, s->lines.data, want, &got, err);
    ops->close(file);
    if (st == LEAT_OK && got < want) st = leat_fail(err, LEAT_CORRUPT, "%s is shorter than it was", s->copy_path);
    if (st != LEAT_OK) return st;
    memset(s->lines.data + want, 0, LEAT_PAYLOAD_SLACK);
    s->copy_at += make_block(s, s->lines.data, want, out);
    s->position = out->position = SNAPSHOT | s->copy_at;
    s->lines.length = s->given = 0;
    return LEAT_OK;
}

/* Half the time of silence allowed has passed: the server is asked for a sign of life. */
static bool long_silent(const struct changes_source *s) {
    return now(s) - s->heard_us >= s->timeout_us / 2;
}

static enum leat_status poll_stream(struct changes_source *s, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    leat_buffer_reset(&s->lines); /* those of the former block */
    s->given = 0;
    if (!s->streaming) st = start_stream(s, err);
    if (st == LEAT_OK) st = receive(s, max_bytes < PIECE_BYTES ? max_bytes : PIECE_BYTES, err);
    bool ask = s->sent_lsn < s->target_lsn || long_silent(s);
    if (st == LEAT_OK && !s->lines.length && now(s) - s->told_us >= (ask ? STATUS_INTERVAL_US / 10 : STATUS_INTERVAL_US)) st = tell_status(s, ask, err);
    if (st == LEAT_OK && now(s) - s->heard_us >= s->timeout_us) {
        st = leat_fail(err, LEAT_IO, "PostgreSQL: nothing was heard for %lld s", (long long)(s->timeout_us / 1000000));
        err->retriable = true;
    }
    if (st == LEAT_OK) st = leat_buffer_reserve(&s->lines, LEAT_PAYLOAD_SLACK, err);
    if (st != LEAT_OK) return st;
    memset(s->lines.data + s->lines.length, 0, LEAT_PAYLOAD_SLACK);
    s->pause_us = PAUSE_MIN_US;
    if (!s->reader.in_transaction) s->position = s->reader.end_lsn;
    if (!s->lines.length) return LEAT_END;
    s->given = make_block(s, s->lines.data, s->lines.length, out);
    if (s->given != s->lines.length) leat_panic("postgres: lines that fit in no block");
    out->position = s->position;
    return LEAT_OK;
}

static enum leat_status changes_poll(struct leat_connector *c, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    struct changes_source *s = self(c);
    enum leat_status st = LEAT_OK;
    if (!s->streaming && now(s) < s->retry_us) return LEAT_END;
    if (!s->ready) st = set_up(s, err);
    if (st == LEAT_OK) st = s->copy_at < s->copy_bytes ? poll_copy(s, max_bytes, out, err) : poll_stream(s, max_bytes, out, err);
    if (st == LEAT_OK || st == LEAT_END) return st;
    hang_up(s);
    if (st == LEAT_CANCELLED) return LEAT_END;
    s->retry_us = now(s) + s->pause_us;
    s->pause_us = s->pause_us * 2 < PAUSE_MAX_US ? s->pause_us * 2 : PAUSE_MAX_US;
    if (st != LEAT_CORRUPT && !err->fatal) err->retriable = true;
    return st;
}

static void changes_synced(struct leat_connector *c) {
    struct changes_source *s = self(c);
    struct leat_error err;
    s->unsynced = false;
    if (!(s->position & SNAPSHOT)) s->durable_lsn = s->position;
    if (!s->streaming || now(s) - s->told_us < STATUS_INTERVAL_US) return;
    if (tell_status(s, false, &err) != LEAT_OK) hang_up(s);
}

/* ---- Opening ---- */

static void changes_close(struct leat_connector *c) {
    struct changes_source *s = self(c);
    hang_up(s);
    leat_buffer_deinit(&s->lines);
    free(s->starts);
    free(s->ends);
    free(s->slot_path);
    free(s->copy_path);
    free(s->schema_name);
    free(s);
}

static enum leat_status changes_open(struct leat_env *env, const struct leat_source *def, const char *project_dir, const char *state_dir,
                                     const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *err) {
    struct changes_source *s = leat_alloc(sizeof *s);
    bool making;
    (void)project_dir;
    s->base.ops = &leat_connector_postgres;
    s->env = env;
    s->def = def;
    s->dsn = leat_source_option(def, "dsn");
    s->table = leat_source_option(def, "table");
    s->slot = leat_source_option(def, "slot");
    const char *dot = strchr(s->table, '.');
    s->table_name = dot ? dot + 1 : s->table;
    s->schema_name = dot ? leat_strndup(s->table, (size_t)(dot - s->table)) : NULL;
    s->slot_path = leat_asprintf("%s/slot", state_dir);
    s->copy_path = leat_asprintf("%s/snapshot", state_dir);
    s->timeout_us = leat_source_option_int(def, "timeout", 60000000);
    s->max_line_bytes = (size_t)leat_source_option_int(def, "max_line_bytes", (int64_t)LEAT_MIB);
    s->pause_us = PAUSE_MIN_US;
    s->position = resume_count ? resume[0].position : SNAPSHOT;
    s->next_offset = resume_count ? resume[0].next_offset : 0;
    if (s->position == 0) s->position = SNAPSHOT;
    enum leat_status st = leat_io_mkdirs(env->io, state_dir, err);
    if (st == LEAT_OK) st = read_slot(s, &making, err);
    if (st != LEAT_OK) {
        changes_close(&s->base);
        return st;
    }
    s->copy_at = !s->ready ? 0 : s->position & SNAPSHOT ? s->position & ~SNAPSHOT : s->copy_bytes;
    *out = &s->base;
    return LEAT_OK;
}

static void changes_halt(struct leat_connector *c, bool halted) {
    atomic_store(&self(c)->halted, halted);
}

static bool changes_finished(struct leat_connector *c) {
    (void)c;
    return false;
}

static bool changes_behind(struct leat_connector *c) {
    const struct changes_source *s = self(c);
    return !s->streaming || s->sent_lsn < s->target_lsn;
}

static bool changes_caught_up(struct leat_connector *c) {
    return !changes_behind(c);
}

static int64_t changes_next_poll_us(struct leat_connector *c) {
    const struct changes_source *s = self(c);
    int64_t left = s->retry_us - now(s);
    if (!s->streaming) return left > 1000 ? left : 1000;
    return changes_behind(c) ? STATUS_INTERVAL_US / 10 : s->timeout_us / 4 < 10 * STATUS_INTERVAL_US ? s->timeout_us / 4 : 10 * STATUS_INTERVAL_US;
}

static int changes_wake_fd(struct leat_connector *c) {
    const struct changes_source *s = self(c);
    return s->stream ? PQsocket(leat_postgres_conn(s->stream)) : -1;
}

/* What a work folder that is new to the lake needs to know: that a slot of this name is ours. Its rows are copied anew. */
static uint64_t changes_revision(struct leat_connector *c) {
    return (uint64_t)atomic_load(&self(c)->ready);
}

static void changes_describe(struct leat_connector *c, struct leat_buffer *out) {
    leat_put(out, atomic_load(&self(c)->ready) ? "making" : "");
}

static enum leat_status changes_restore(struct leat_env *env, const char *state_dir, const char *text, size_t length, struct leat_error *err) {
    char *path = leat_asprintf("%s/slot", state_dir);
    enum leat_status st = leat_io_mkdirs(env->io, state_dir, err);
    if (st == LEAT_OK && length) st = leat_io_write_durable(env->io, path, text, length, true, err);
    free(path);
    return st;
}

const struct leat_connector_ops leat_connector_postgres = {
    .name = "postgres",
    .open = changes_open,
    .poll = changes_poll,
    .synced = changes_synced,
    .finished = changes_finished,
    .caught_up = changes_caught_up,
    .behind = changes_behind,
    .next_poll_us = changes_next_poll_us,
    .wake_fd = changes_wake_fd,
    .close = changes_close,
    .halt = changes_halt,
    .revision = changes_revision,
    .describe = changes_describe,
    .restore = changes_restore,
    .prompt = true,
};
