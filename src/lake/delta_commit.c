/* Opening a table and committing to it.
 *
 * A version is the file _delta_log/N.json, made whole under a temporary name and linked, so that it is there entirely
 * or not at all and is never overwritten. Order: data files durable, then the link, then the directory. When N exists
 * already, its txnId tells whether it is this very commit (a link that reported failure and yet happened); otherwise
 * somebody else won: a blind append goes on to the next version, everything else is a CONFLICT, after which the state
 * is the winner's. After any other failure the outcome is unknown and the next operation reads the log first. Source:
 * Delta PROTOCOL.md, "Creation of New Log Entries", "Commit Provenance Information". */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define COMMIT_TRIES 100

int64_t leat_delta_now_ms(const struct leat_delta *d) {
    return d->env->clock->now_us(d->env->clock) / 1000;
}

void leat_delta_commit_deinit(struct leat_delta_commit *c) {
    for (size_t i = 0; i < c->added_count; i++)
        leat_delta_file_deinit(&c->added[i]);
    for (size_t i = 0; i < c->removed_count; i++)
        free(c->removed[i]);
    free(c->added);
    free(c->removed);
    c->added = NULL;
    c->removed = NULL;
    c->added_count = c->removed_count = c->added_capacity = c->removed_capacity = 0;
}

void leat_delta_commit_remove(struct leat_delta_commit *c, const char *path) {
    if (c->removed_count == c->removed_capacity) {
        c->removed_capacity = c->removed_capacity ? c->removed_capacity * 2 : 8;
        c->removed = leat_realloc(c->removed, c->removed_capacity * sizeof *c->removed);
    }
    c->removed[c->removed_count++] = leat_strdup(path);
}

void leat_delta_commit_add(struct leat_delta_commit *c, struct leat_delta_file *file) {
    if (c->added_count == c->added_capacity) {
        c->added_capacity = c->added_capacity ? c->added_capacity * 2 : 4;
        c->added = leat_realloc(c->added, c->added_capacity * sizeof *c->added);
    }
    c->added[c->added_count++] = *file;
}

/* ---- begin ---- */

/* Are info's txns in the table? All at or past: *past. Some past and some not: the caller's books and the table's
 * disagree. */
static enum leat_status check_txns(const struct leat_delta *d, const struct leat_delta_commit_info *info, bool *past,
                                   struct leat_error *err) {
    size_t at_or_past = 0, beyond = 0;
    *past = false;
    for (size_t i = 0; info && i < info->txn_count; i++) {
        int64_t version = leat_delta_txn_version(&d->state.snapshot, info->txns[i].app_id);
        at_or_past += version >= info->txns[i].version;
        beyond += version > info->txns[i].version;
    }
    if (at_or_past == 0) return LEAT_OK;
    *past = at_or_past == info->txn_count;
    if (!*past && beyond)
        return leat_fail(err, LEAT_CONFLICT,
                         "table %s holds later transactions of some, but not all, of the inputs of this commit",
                         d->table_dir);
    return LEAT_OK;
}

static enum leat_status check_schema(struct leat_delta *, struct leat_error *);

static enum leat_status refresh(struct leat_delta *d, struct leat_error *err) {
    char *id = d->state.snapshot.table_id ? leat_strdup(d->state.snapshot.table_id) : NULL;
    enum leat_status status = leat_delta_catch_up(d->env, d->table_dir, &d->state, err);
    if (status == LEAT_OK) status = leat_delta_state_finish(&d->state, d->table_dir, err);
    if (status == LEAT_OK && id && strcmp(id, d->state.snapshot.table_id) != 0)
        status = leat_fail(err, LEAT_CONFLICT, "table %s was replaced by another one (its id changed)", d->table_dir);
    d->stale = status != LEAT_OK;
    free(id);
    return status;
}

/* What others have committed since: nothing is written that does not fit, nor on top of rows that are theirs. */
static enum leat_status meet_others(struct leat_delta *d, struct leat_error *err) {
    int64_t theirs;
    enum leat_status status = refresh(d, err);
    if (status == LEAT_OK && !d->grows) {
        status = leat_delta_check_writer(&d->state, d->table_dir, err);
        if (status == LEAT_OK) status = check_schema(d, err);
        d->stale = status != LEAT_OK; /* asked again */
    }
    if (status == LEAT_OK && d->guarded && !d->taking_back) status = leat_delta_take_back(d, &theirs, err);
    return status;
}

enum leat_status leat_delta_begin(struct leat_delta *d, const struct leat_delta_commit_info *info, bool *past,
                                  struct leat_error *err) {
    char *next = leat_delta_commit_path(d->table_dir, d->state.snapshot.version + 1);
    bool behind = d->stale || leat_io_exists(d->env->io, next); /* another program commits too: Spark's OPTIMIZE, a DELETE */
    free(next);
    *past = false;
    if (behind) {
        enum leat_status status = meet_others(d, err);
        if (status != LEAT_OK) return status;
    }
    return check_txns(d, info, past, err);
}

/* ---- commit ---- */

static enum leat_status put_commit_info(const struct leat_delta *d, const struct leat_delta_commit *commit,
                                        const char *commit_id, struct leat_buffer *out, struct leat_error *err) {
    const char *operation = commit->info && commit->info->operation ? commit->info->operation : "WRITE";
    const char *frontier =
        commit->info && commit->info->frontier_json ? commit->info->frontier_json : d->state.snapshot.frontier_json;
    leat_putf(out, "{\"commitInfo\":{\"timestamp\":%" PRId64 ",\"operation\":", leat_delta_now_ms(d));
    leat_put_json_string(out, operation, strlen(operation));
    leat_put(out, ",\"operationParameters\":{}");
    if (d->state.snapshot.version >= 0) leat_putf(out, ",\"readVersion\":%" PRId64, d->state.snapshot.version);
    leat_putf(out, ",\"isBlindAppend\":%s,\"engineInfo\":\"leat/" LEAT_VERSION "\",\"txnId\":\"%s\"",
              commit->blind_append ? "true" : "false", commit_id);
    if (frontier) { /* carried on by commits that do not change it, so that the newest commit has it */
        json_error_t at;
        json_t *parsed = json_loads(frontier, JSON_DECODE_ANY, &at);
        char *compact = parsed ? json_dumps(parsed, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        json_decref(parsed);
        if (!compact) return leat_fail(err, LEAT_INVALID, "the frontier to be committed is not JSON: %s", at.text);
        leat_putf(out, ",\"leat.frontier\":%s", compact);
        free(compact);
    }
    leat_put(out, "}}\n");
    return LEAT_OK;
}

static enum leat_status put_actions(const struct leat_delta *d, const struct leat_delta_commit *commit,
                                    const char *commit_id, struct leat_buffer *out, struct leat_error *err) {
    int64_t now_ms = leat_delta_now_ms(d);
    enum leat_status status = put_commit_info(d, commit, commit_id, out, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; commit->info && i < commit->info->txn_count; i++)
        leat_delta_put_txn(out, &commit->info->txns[i], now_ms);
    for (size_t i = 0; i < commit->removed_count; i++) {
        int64_t index = leat_delta_state_find(&d->state, commit->removed[i]);
        if (index < 0)
            return leat_fail(err, LEAT_CONFLICT, "table %s: file %s is no longer in it", d->table_dir,
                             commit->removed[i]);
        leat_delta_put_remove(out, &d->state.snapshot.files[index], now_ms, commit->data_change);
    }
    for (size_t i = 0; i < commit->added_count; i++)
        leat_delta_put_add(out, &commit->added[i], commit->data_change);
    return LEAT_OK;
}

/* The same change in memory, by the very code that replays the log. */
static enum leat_status apply_own(struct leat_delta *d, const struct leat_buffer *text, int64_t version,
                                  struct leat_error *err) {
    for (const char *line = text->data; *line;) {
        const char *newline = strchr(line, '\n');
        struct leat_delta_action action;
        enum leat_status status = leat_delta_action_parse(line, (size_t)(newline - line), &action, err);
        if (status == LEAT_OK) leat_delta_state_apply(&d->state, &action);
        leat_delta_action_deinit(&action);
        if (status != LEAT_OK) return status;
        line = newline + 1;
    }
    if (d->vouched == d->state.snapshot.version) d->vouched = version;
    d->state.snapshot.version = version;
    return LEAT_OK;
}

void leat_delta_drop_added(struct leat_delta *d, struct leat_delta_commit *commit) {
    for (size_t i = 0; i < commit->added_count && !commit->puts_back; i++) {
        char *path = leat_asprintf("%s/%s", d->table_dir, commit->added[i].path);
        d->env->io->ops->unlink(d->env->io, path, NULL);
        free(path);
    }
}

/* Version `version` is taken. *ours: by this very commit. The state is then that version's. */
static enum leat_status look_at_winner(struct leat_delta *d, int64_t version, const char *commit_id, bool *ours,
                                       struct leat_error *err) {
    char *winner = NULL;
    enum leat_status status = leat_delta_read_commit(d->env, d->table_dir, version, &d->state, &winner, err);
    if (status == LEAT_OK) {
        *ours = winner && strcmp(winner, commit_id) == 0;
        char *log_dir = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR, d->table_dir);
        if (*ours) status = d->env->io->ops->sync_dir(d->env->io, log_dir, err); /* what failed may have been this */
        free(log_dir);
    }
    free(winner);
    return status;
}

/* Somebody else's commits are in between: may this one still go on? */
static enum leat_status may_retry(struct leat_delta *d, const struct leat_delta_commit *commit,
                                  const char *schema_before, bool *past, struct leat_error *err) {
    int64_t theirs;
    enum leat_status status = refresh(d, err);
    if (status != LEAT_OK) return status;
    if (strcmp(schema_before, d->state.metadata.schema_json) != 0)
        status = leat_fail(err, LEAT_CONFLICT, "table %s: somebody else changed its columns", d->table_dir);
    if (status == LEAT_OK) status = leat_delta_check_writer(&d->state, d->table_dir, err);
    if (status == LEAT_OK) status = check_txns(d, commit->info, past, err);
    if (status == LEAT_OK && !*past && !commit->blind_append) {
        status = leat_fail(err, LEAT_CONFLICT,
                           "table %s: somebody else committed version %" PRId64 " meanwhile; try again on top of it",
                           d->table_dir, d->state.snapshot.version);
        if (err) err->retriable = true;
    }
    if (status == LEAT_OK && !*past && d->guarded && !d->taking_back) status = leat_delta_take_back(d, &theirs, err);
    return status;
}

/* The commits stand without a checkpoint; only a disk that fails to sync is told on. */
static enum leat_status checkpoint_when_due(struct leat_delta *d, struct leat_error *err) {
    /* A checkpoint holds every live file: the more there are, the rarer, so that its cost per commit is bounded. */
    int64_t entries = (int64_t)(d->state.snapshot.file_count + d->state.tombstone_count);
    int64_t every = d->checkpoint_every;
    if (entries / 200 > every) every = entries / 200;
    if (d->state.snapshot.version - d->checkpoint_version < every) return LEAT_OK;
    struct leat_error problem = {0};
    enum leat_status status = leat_delta_checkpoint(d, &problem);
    if (status != LEAT_OK && problem.fatal) {
        if (err) *err = problem;
        return status;
    }
    if (status != LEAT_OK)
        leat_log(d->env, LEAT_LOG_WARN, "table %s: no checkpoint at version %" PRId64 ": %s", d->table_dir,
                 d->state.snapshot.version, problem.text);
    return LEAT_OK;
}

enum leat_status leat_delta_commit(struct leat_delta *d, struct leat_delta_commit *commit, bool *done,
                                   struct leat_error *err) {
    struct leat_buffer text = {0};
    char commit_id[37];
    char *schema_before = leat_strdup(d->state.metadata.schema_json);
    bool ours = false, past = false;
    enum leat_status status = LEAT_OK;
    if (done) *done = false;
    leat_random_uuid(&d->env->random, commit_id);
    for (int i = 0; i < COMMIT_TRIES; i++) {
        int64_t version = d->state.snapshot.version + 1;
        leat_buffer_reset(&text);
        status = put_actions(d, commit, commit_id, &text, err);
        if (status != LEAT_OK) break;
        char *path = leat_delta_commit_path(d->table_dir, version);
        status = leat_io_write_durable(d->env->io, path, text.data, text.length, false, err);
        free(path);
        if (status == LEAT_OK) {
            status = apply_own(d, &text, version, err);
            ours = status == LEAT_OK;
            d->stale = status != LEAT_OK;
            break;
        }
        d->stale = true;
        if (status != LEAT_EXISTS) break;
        status = look_at_winner(d, version, commit_id, &ours, err);
        if (status != LEAT_OK) break;
        if (ours) {
            d->stale = false;
            break;
        }
        status = may_retry(d, commit, schema_before, &past, err);
        if (status != LEAT_OK || past) break;
    }
    /* Lost for certain: every version up to the state's is known not to be this commit. */
    if (!ours && !d->stale) leat_delta_drop_added(d, commit);
    if (done) *done = ours;
    if (ours) status = checkpoint_when_due(d, err);
    free(schema_before);
    leat_buffer_deinit(&text);
    return status;
}

/* ---- open ---- */

static enum leat_status create(struct leat_delta *d, const struct leat_delta_options *options, struct leat_error *err) {
    struct leat_buffer schema = {0}, text = {0}, configuration = {0};
    struct leat_delta_commit empty = {.info = &(struct leat_delta_commit_info){.operation = "CREATE TABLE"},
                                      .blind_append = true};
    /* Writer 2's invariants (NOT NULL columns) must be named beside other features; else Spark refuses to read. */
    static char *reader[] = {"timestampNtz"}, *writer[] = {"timestampNtz", "appendOnly", "invariants"};
    struct leat_delta_protocol protocol = {.reader = 1, .writer = 2};
    char id[37], commit_id[37];
    enum leat_status status = leat_delta_schema_json(options->schema, &schema, err);
    if (status != LEAT_OK) goto out;
    for (size_t i = 0; i < options->schema->field_count; i++)
        if (options->schema->fields[i].type.kind == LEAT_TIMESTAMP)
            protocol = (struct leat_delta_protocol){3, 7, reader, writer, 1, 3};
    leat_random_uuid(&d->env->random, id);
    leat_random_uuid(&d->env->random, commit_id);
    leat_put(&configuration, "{\"delta.deletedFileRetentionDuration\":\"interval 1 days\"");
    if (options->primary_key) {
        leat_put(&configuration, ",\"leat.primaryKey\":");
        leat_put_json_string(&configuration, options->primary_key, strlen(options->primary_key));
    }
    leat_put(&configuration, "}");
    struct leat_delta_metadata metadata = {.id = id,
                                           .name = (char *)(uintptr_t)options->name,
                                           .schema_json = schema.data,
                                           .configuration_json = configuration.data,
                                           .created_ms = leat_delta_now_ms(d)};
    status = put_commit_info(d, &empty, commit_id, &text, err);
    if (status != LEAT_OK) goto out;
    leat_delta_put_protocol(&text, &protocol);
    leat_delta_put_metadata(&text, &metadata);
    char *path = leat_delta_commit_path(d->table_dir, 0);
    status = leat_io_write_durable(d->env->io, path, text.data, text.length, false, err);
    free(path);
out:
    leat_buffer_deinit(&schema);
    leat_buffer_deinit(&configuration);
    leat_buffer_deinit(&text);
    return status;
}

/* Is the table's column as wanted? */
static enum leat_status check_column(const struct leat_delta *d, size_t at, const struct leat_delta_column *c, const struct leat_field *f,
                                     struct leat_error *err) {
    struct leat_type have = c->has_leat_type ? c->logical : c->storage;
    struct leat_type want = c->has_leat_type && f->type.kind != LEAT_NESTED ? f->type : leat_delta_storage_type(f->type);
    if (strcmp(c->name, f->name) == 0 && leat_type_equal(have, want) && c->nullable == !f->not_null) return LEAT_OK;
    char type[32];
    leat_type_print(f->type, type);
    return leat_fail(err, LEAT_CONFLICT, "column %zu of table %s is \"%.64s\" %s%s, not \"%.64s\" %s%s", at + 1, d->table_dir, c->name,
                     c->duck_type, c->nullable ? "" : " NOT NULL", f->name, type, f->not_null ? " NOT NULL" : "");
}

/* Columns by name; those that only the table has are written too, as the schema's last. */
static enum leat_status join_schemas(struct leat_delta *d, const struct leat_delta_columns *columns, struct leat_error *err) {
    size_t wanted = d->declared;
    for (size_t i = 0; i < columns->count; i++) {
        const struct leat_delta_column *c = &columns->items[i];
        size_t at = 0;
        while (at < wanted && strcasecmp(d->schema.fields[at].name, c->name) != 0) at++;
        enum leat_status status = at < wanted ? check_column(d, i, c, &d->schema.fields[at], err) : LEAT_OK;
        if (status != LEAT_OK) return status;
        if (at == wanted) leat_schema_add(&d->schema, c->name, c->has_leat_type ? c->logical : c->storage, !c->nullable);
    }
    return LEAT_OK;
}

static enum leat_status parse_columns(const struct leat_delta *d, struct leat_delta_columns *out, struct leat_error *err) {
    const struct leat_delta_metadata *m = &d->state.metadata;
    enum leat_status status = leat_delta_columns_parse(m->schema_json, m->partition_columns, m->partition_column_count, out, err);
    return status == LEAT_OK ? status : leat_prepend(err, "table %s", d->table_dir);
}

static enum leat_status check_schema(struct leat_delta *d, struct leat_error *err) {
    struct leat_delta_columns columns;
    enum leat_status status = parse_columns(d, &columns, err);
    if (status != LEAT_OK) return status;
    if (columns.has_invariants)
        status = leat_fail(err, LEAT_UNSUPPORTED,
                           "table %s has column invariants, which leat cannot check when it writes", d->table_dir);
    else if (d->grows)
        status = join_schemas(d, &columns, err);
    else if (columns.count != d->schema.field_count)
        status = leat_fail(err, LEAT_CONFLICT, "table %s has %zu columns, not the %zu wanted", d->table_dir,
                           columns.count, d->schema.field_count);
    for (size_t i = 0; !d->grows && status == LEAT_OK && i < columns.count; i++)
        status = check_column(d, i, &columns.items[i], &d->schema.fields[i], err);
    leat_delta_columns_deinit(&columns);
    return status;
}

/* Can files be told apart by the range of this column? */
static bool is_clustering(struct leat_type t) {
    struct leat_type storage = leat_delta_storage_type(t);
    return leat_type_equal(storage, t) &&
           (storage.kind == LEAT_TINYINT || storage.kind == LEAT_SMALLINT || storage.kind == LEAT_INTEGER ||
            storage.kind == LEAT_BIGINT || storage.kind == LEAT_VARCHAR || storage.kind == LEAT_DATE ||
            storage.kind == LEAT_TIMESTAMP || storage.kind == LEAT_TIMESTAMPTZ);
}

/* The key's first column, or the first column that will do. */
static int choose_cluster_column(const struct leat_schema *schema, const char *primary_key) {
    if (primary_key && primary_key[0]) {
        size_t length = strcspn(primary_key, ", ");
        char *first = leat_strndup(primary_key, length);
        int index = leat_schema_find(schema, first);
        free(first);
        if (index >= 0 && is_clustering(schema->fields[index].type)) return index;
    }
    for (size_t i = 0; i < schema->field_count; i++)
        if (is_clustering(schema->fields[i].type)) return (int)i;
    return -1;
}

enum leat_status leat_delta_open(struct leat_env *env, struct leat_conn *batch, const char *table_dir,
                                 const char *scratch_dir, const struct leat_delta_options *options,
                                 struct leat_delta **out, struct leat_error *err) {
    *out = NULL;
    struct leat_delta *d = leat_alloc(sizeof *d);
    char *log_dir = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR, table_dir);
    d->env = env;
    d->conn = batch;
    d->table_dir = leat_strdup(table_dir);
    d->scratch_dir = leat_strdup(scratch_dir);
    d->input_name = leat_asprintf("delta_%016" PRIx64, (uint64_t)XXH3_64bits(table_dir, strlen(table_dir)));
    d->checkpoint_every = options->checkpoint_every > 0 ? options->checkpoint_every : LEAT_DELTA_CHECKPOINT_EVERY;
    d->checkpoint_version = -1;
    d->vouched = -1;
    d->grows = options->grows;
    d->guarded = options->guarded;
    d->declared = options->schema->field_count;
    leat_schema_copy(&d->schema, options->schema);
    d->row_group_rows = LEAT_PARQUET_GROUP_ROWS;
    d->cluster_column = choose_cluster_column(options->schema, options->primary_key);
    d->is_updated = options->primary_key && options->primary_key[0];
    leat_delta_state_init(&d->state);
    enum leat_status status = leat_io_mkdirs(env->io, log_dir, err);
    if (status == LEAT_OK) status = leat_io_mkdirs(env->io, scratch_dir, err);
    if (status == LEAT_OK) status = leat_delta_settle(env, table_dir, err);
    if (status == LEAT_OK)
        status = leat_delta_replay(env, batch, table_dir, -1, &d->state, &d->checkpoint_version, err);
    if (status == LEAT_OK && d->state.snapshot.version < 0) {
        status = create(d, options, err);
        if (status == LEAT_OK || status == LEAT_EXISTS) /* another writer may have been first */
            status = leat_delta_replay(env, batch, table_dir, -1, &d->state, &d->checkpoint_version, err);
    }
    if (status == LEAT_OK) status = leat_delta_check_writer(&d->state, table_dir, err);
    if (status == LEAT_OK) status = check_schema(d, err);
    free(log_dir);
    if (status == LEAT_OK)
        *out = d;
    else
        leat_delta_close(d);
    return status;
}

/* ---- growing ---- */

/* Notes in the configuration that `field` has come, or come back, or is written no more. False: it says so already. */
static bool note_column(json_t *configuration, const char *name, bool declared, bool there, const char *note) {
    char *since = leat_asprintf(LEAT_DELTA_SINCE "%s", name), *left = leat_asprintf(LEAT_DELTA_LEFT "%s", name);
    bool was_left = json_object_get(configuration, left) != NULL, comes = declared && (!there || was_left), goes = !declared && !was_left;
    if (comes) json_object_set_new(configuration, since, json_string(note));
    if (comes) json_object_del(configuration, left);
    if (goes) json_object_set_new(configuration, left, json_string(note));
    free(since);
    free(left);
    return comes || goes;
}

/* The table's columns in its own order, then those it lacks. */
static bool grown_schema(const struct leat_delta *d, const struct leat_delta_columns *columns, const char *note, json_t *configuration,
                         struct leat_schema *out) {
    bool changed = false;
    for (size_t i = 0; i < columns->count; i++) {
        const struct leat_delta_column *c = &columns->items[i];
        leat_schema_add(out, c->name, c->has_leat_type ? c->logical : c->storage, !c->nullable);
    }
    for (size_t i = 0; i < d->schema.field_count; i++) {
        const struct leat_field *field = &d->schema.fields[i];
        bool there = leat_schema_find(out, field->name) >= 0;
        changed |= note_column(configuration, field->name, i < d->declared, there, note);
        if (!there) leat_schema_add(out, field->name, field->type, false);
    }
    return changed;
}

static enum leat_status commit_metadata(struct leat_delta *d, const struct leat_schema *schema, const json_t *configuration, struct leat_error *err) {
    struct leat_delta_commit empty = {.info = &(struct leat_delta_commit_info){.operation = "ADD COLUMNS"}};
    struct leat_delta_metadata metadata = d->state.metadata;
    struct leat_buffer json = {0}, text = {0};
    char commit_id[37], *path = leat_delta_commit_path(d->table_dir, d->state.snapshot.version + 1);
    enum leat_status status = leat_delta_schema_json(schema, &json, err);
    metadata.schema_json = json.data;
    metadata.configuration_json = json_dumps(configuration, JSON_COMPACT);
    leat_random_uuid(&d->env->random, commit_id);
    if (status == LEAT_OK) status = put_commit_info(d, &empty, commit_id, &text, err);
    if (status == LEAT_OK) {
        leat_delta_put_metadata(&text, &metadata);
        status = leat_io_write_durable(d->env->io, path, text.data, text.length, false, err);
        d->stale = true;
    }
    if (status == LEAT_OK) status = refresh(d, err);
    free(metadata.configuration_json);
    free(path);
    leat_buffer_deinit(&json);
    leat_buffer_deinit(&text);
    return status;
}

enum leat_status leat_delta_grow(struct leat_delta *d, const char *note, struct leat_error *err) {
    struct leat_delta_columns columns;
    struct leat_schema schema = {0};
    json_error_t ignored;
    enum leat_status status = parse_columns(d, &columns, err);
    if (status != LEAT_OK) return status;
    const char *text = d->state.metadata.configuration_json;
    json_t *configuration = json_loads(text ? text : "{}", 0, &ignored);
    if (!configuration) configuration = json_object();
    if (grown_schema(d, &columns, note, configuration, &schema)) status = commit_metadata(d, &schema, configuration, err);
    json_decref(configuration);
    leat_schema_deinit(&schema);
    leat_delta_columns_deinit(&columns);
    return status;
}

void leat_delta_close(struct leat_delta *d) {
    if (!d) return;
    if (d->input_declared) leat_conn_bind(d->conn, d->input_name, NULL);
    leat_delta_state_deinit(&d->state);
    leat_schema_deinit(&d->schema);
    free(d->table_dir);
    free(d->scratch_dir);
    free(d->input_name);
    free(d);
}

const struct leat_delta_snapshot *leat_delta_current(const struct leat_delta *d) {
    return &d->state.snapshot;
}

uint64_t leat_delta_rows(const struct leat_delta *d) {
    const struct leat_delta_snapshot *now = &d->state.snapshot;
    uint64_t rows = 0;
    for (size_t i = 0; i < now->file_count; i++) rows += now->files[i].row_count >= 0 ? (uint64_t)now->files[i].row_count : 1;
    return rows;
}

const struct leat_schema *leat_delta_schema(const struct leat_delta *d) {
    return &d->schema;
}
