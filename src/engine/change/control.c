/* What other processes ask of the one that runs: <work>/control/.
 *
 *   wake              a named pipe; the running process listens, so it is known whether there is one
 *   ID.request        JSON: {"do": "apply", "dry_run"}, {"do": "alter", "sql", "dry_run"}, {"do": "stage"} (backup.h) or {"do": "status"};
 *                     renamed into place whole
 *   ID.reply          JSON: {"status": an enum leat_status, "error", "diagnostics", "answer": a plan (apply.h) or leat_engine_status}; the asker
 *                     removes it
 *
 * Requests are taken between steps, oldest name first, one after the other. What lies there when the process begins is of askers
 * that have been told nothing: it is removed. */
#include "engine/change/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/pipe.h"
#include "engine/care/backup.h"
#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "project/alter.h"

enum { REQUEST_BYTES_MAX = 16 << 20 };

static char *place(const char *work_dir, const char *name) {
    return leat_asprintf("%s/control%s%s", work_dir, *name ? "/" : "", name);
}

static char *message(const char *work_dir, const char *id, const char *kind) {
    return leat_asprintf("%s/control/%s.%s", work_dir, id, kind);
}

/* Whole or not at all; nothing here outlives the processes, so it is not synced. */
static enum leat_status write_whole(struct leat_io *io, const char *path, const char *text, struct leat_error *err) {
    char *temp = leat_asprintf("%s.new", path);
    struct leat_file *file;
    enum leat_status st = io->ops->open(io, temp, LEAT_OPEN_TRUNCATE, &file, err);
    if (st == LEAT_OK) {
        st = io->ops->write(file, text, strlen(text), err);
        io->ops->close(file);
        if (st == LEAT_OK) st = io->ops->rename(io, temp, path, err);
    }
    free(temp);
    return st;
}

enum leat_status leat_control_listen(struct leat_engine *engine, struct leat_error *err) {
    if (engine->control_fd >= 0) return LEAT_OK;
    char *dir = place(engine->work_dir, ""), *pipe = place(engine->work_dir, "wake");
    enum leat_status st = leat_io_remove_tree(engine->env->io, dir, err);
    if (st == LEAT_OK) st = leat_io_mkdirs(engine->env->io, dir, err);
    if (st == LEAT_OK) st = leat_pipe_listen(pipe, &engine->control_fd, err);
    free(dir);
    free(pipe);
    return st;
}

void leat_control_close(struct leat_engine *engine) {
    leat_pipe_close(engine->control_fd);
    engine->control_fd = -1;
}

static bool asks(const json_t *request, const char *what) {
    const char *asked = json_string_value(json_object_get(request, "do"));
    return asked && strcmp(asked, what) == 0;
}

static enum leat_status carry_out(struct leat_engine *engine, const json_t *request, struct leat_diagnostics *diags, struct leat_buffer *out,
                                  struct leat_error *err) {
    const char *sql = json_string_value(json_object_get(request, "sql"));
    const struct leat_change change = {.dry_run = json_is_true(json_object_get(request, "dry_run"))};
    if (asks(request, "apply")) return leat_engine_apply(engine, &change, diags, out, err);
    if (asks(request, "stage")) return leat_stage(engine->env, engine->lake_dir, engine->work_dir, engine, err);
    if (asks(request, "status")) return leat_engine_status(engine, out, err);
    if (asks(request, "alter") && sql) return leat_engine_alter(engine, sql, change.dry_run, diags, out, err);
    return leat_fail(err, LEAT_INVALID, "a request of another version of leat");
}

/* question: only what it would do. */
static enum leat_status answer(struct leat_engine *engine, const char *name, bool question, struct leat_error *err) {
    struct leat_buffer text = {0}, out = {0}, findings = {0}, reply = {0};
    struct leat_diagnostics diags = {0};
    struct leat_error problem = {0};
    char *path = place(engine->work_dir, name), *reply_path = leat_asprintf("%.*sreply", (int)(strlen(path) - strlen("request")), path);
    enum leat_status st = leat_io_read_all(engine->env->io, path, REQUEST_BYTES_MAX, &text, err), done;
    if (st == LEAT_OK) st = engine->env->io->ops->unlink(engine->env->io, path, err);
    if (st != LEAT_OK) goto out;
    json_t *request = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
    if (question) json_object_set_new(request, "dry_run", json_true());
    done = carry_out(engine, request, &diags, &out, &problem);
    leat_put(&findings, "");
    leat_diagnostics_print(&diags, &findings); /* which quote files: not always UTF-8 */
    leat_putf(&reply, "{\"status\":%d,\"error\":", (int)done);
    leat_put_json_string(&reply, problem.text, done == LEAT_OK ? 0 : strlen(problem.text));
    leat_put(&reply, ",\"diagnostics\":");
    leat_put_json_string(&reply, findings.data, findings.length);
    if (out.data) leat_putf(&reply, ",\"answer\":%s", out.data);
    leat_put(&reply, "}");
    st = write_whole(engine->env->io, reply_path, reply.data, err);
    json_decref(request);
    if (done != LEAT_OK && problem.fatal) {
        *err = problem;
        st = done;
    }
out:
    leat_diagnostics_deinit(&diags);
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&out);
    leat_buffer_deinit(&findings);
    leat_buffer_deinit(&reply);
    free(path);
    free(reply_path);
    return st;
}

/* Do threads beside the engine's read its tables, or fill its sources? */
static bool has_company(const struct leat_engine *engine) {
    bool company = engine->live != NULL;
    for (size_t s = 0; s < engine->project->source_count; s++) company |= engine->sources[s].intake != NULL;
    return company;
}

/* What a request needs: runs beside and threads that read the engine are in the way of a change alone. */
enum need { NEEDS_NOTHING, IS_A_QUESTION, NEEDS_REST };

/* A part is computed between two turns like anything else, and refused while runs are under way. */
static bool is_part(const struct leat_engine *engine, const json_t *request) {
    const char *sql = json_string_value(json_object_get(request, "sql"));
    struct leat_alter alter = {0};
    struct leat_error ignored;
    struct leat_object_ref ref;
    if (!asks(request, "alter") || !sql || leat_alter_parse(sql, &alter, &ignored) != LEAT_OK) return false;
    bool part = alter.kind == LEAT_ALTER_REFRESH && alter.text && leat_project_find(engine->project, alter.table, &ref) && ref.kind == LEAT_OBJECT_TABLE &&
                engine->tables[ref.index].batch;
    leat_alter_deinit(&alter);
    return part;
}

/* A run is not stopped for what fails, or what is so already: asked as a question first. */
static bool changes_nothing(struct leat_engine *engine, json_t *request) {
    struct leat_diagnostics diags = {0};
    struct leat_error problem = {0};
    json_t *question = json_copy(request);
    json_object_set_new(question, "dry_run", json_true());
    bool nothing = carry_out(engine, question, &diags, NULL, &problem) != LEAT_OK && !problem.fatal;
    if (!nothing && asks(request, "apply")) {
        struct leat_project *files = NULL;
        leat_diagnostics_deinit(&diags);
        diags = (struct leat_diagnostics){0};
        nothing = leat_project_load(engine->env, engine->project_dir, &files, &diags, &problem) == LEAT_OK && leat_project_same_text(engine->project, files);
        leat_project_free(files);
    }
    leat_diagnostics_deinit(&diags);
    json_decref(question);
    return nothing;
}

static enum need need_of(struct leat_engine *engine, const char *name) {
    struct leat_buffer text = {0};
    struct leat_error ignored;
    char *path = place(engine->work_dir, name);
    enum leat_status st = leat_io_read_all(engine->env->io, path, REQUEST_BYTES_MAX, &text, &ignored);
    json_t *request = st == LEAT_OK ? json_loadb(text.data ? text.data : "", text.length, 0, NULL) : NULL;
    enum need need = NEEDS_REST;
    if (json_is_true(json_object_get(request, "dry_run")) || asks(request, "stage") || asks(request, "status") || is_part(engine, request))
        need = NEEDS_NOTHING;
    else if (leat_engine_runs_beside(engine) && changes_nothing(engine, request))
        need = IS_A_QUESTION;
    json_decref(request);
    leat_buffer_deinit(&text);
    free(path);
    return need;
}

enum leat_status leat_control_serve(struct leat_engine *engine, struct leat_error *err) {
    char **names = NULL, *dir;
    size_t count = 0;
    if (!leat_pipe_clear(engine->control_fd)) return LEAT_OK;
    dir = place(engine->work_dir, "");
    enum leat_status st = leat_io_list_sorted(engine->env->io, dir, &names, &count, err);
    for (size_t i = 0; i < count && st == LEAT_OK && !engine->parked; i++) {
        size_t n = strlen(names[i]);
        if (n <= 8 || strcmp(names[i] + n - 8, ".request") != 0) continue;
        enum need need = need_of(engine, names[i]);
        if (need == NEEDS_REST) leat_beside_cancel(engine);
        if (need == NEEDS_REST && has_company(engine))
            engine->parked = leat_strdup(names[i]);
        else
            st = answer(engine, names[i], need == IS_A_QUESTION, err);
    }
    leat_names_free(names, count);
    free(dir);
    return st;
}

bool leat_control_parked(const struct leat_engine *engine) {
    return engine->parked != NULL;
}

enum leat_status leat_control_answer_parked(struct leat_engine *engine, struct leat_error *err) {
    char *name = engine->parked, *pipe = place(engine->work_dir, "wake");
    engine->parked = NULL;
    enum leat_status st = answer(engine, name, false, err);
    (void)leat_pipe_ring(pipe); /* others may wait behind it */
    free(name);
    free(pipe);
    return st;
}

/* ---- the asking side ------------------------------------------------------------------------------------------------------ */

enum leat_status leat_control_request(struct leat_env *env, const char *work_dir, const char *request, char id[37], struct leat_error *err) {
    char *pipe = place(work_dir, "wake"), *path;
    enum leat_status st = leat_pipe_ring(pipe) ? LEAT_OK : leat_fail(err, LEAT_NOT_FOUND, "no leat is running here");
    leat_random_uuid(&env->random, id);
    path = message(work_dir, id, "request");
    if (st == LEAT_OK) st = write_whole(env->io, path, request, err);
    if (st == LEAT_OK) (void)leat_pipe_ring(pipe);
    free(pipe);
    free(path);
    return st;
}

enum leat_status leat_control_reply(struct leat_env *env, const char *work_dir, const char *id, struct leat_buffer *reply, struct leat_error *err) {
    char *path = message(work_dir, id, "reply");
    enum leat_status st = leat_io_exists(env->io, path) ? LEAT_OK : leat_fail(err, LEAT_NOT_FOUND, "no answer yet");
    if (st == LEAT_OK) st = leat_io_read_all(env->io, path, REQUEST_BYTES_MAX, reply, err);
    if (st == LEAT_OK) st = env->io->ops->unlink(env->io, path, err);
    free(path);
    return st;
}

static void take_back(struct leat_io *io, const char *work_dir, const char *id) {
    struct leat_error ignored;
    char *path = message(work_dir, id, "request");
    (void)io->ops->unlink(io, path, &ignored); /* or it is being answered: the next start removes the answer */
    free(path);
}

enum leat_status leat_control_ask(struct leat_env *env, const char *work_dir, const char *request, int64_t wait_us, struct leat_buffer *reply,
                                  struct leat_error *err) {
    enum { LOOK_EVERY_US = 10000 };
    struct leat_clock *clock = env->clock;
    int64_t begin_us = clock->monotonic_us(clock);
    char id[37], *pipe = place(work_dir, "wake");
    enum leat_status st = leat_control_request(env, work_dir, request, id, err);
    while (st == LEAT_OK && (st = leat_control_reply(env, work_dir, id, reply, err)) == LEAT_NOT_FOUND) {
        st = LEAT_OK;
        if (!leat_pipe_ring(pipe)) {
            st = leat_control_reply(env, work_dir, id, reply, err);
            if (st == LEAT_NOT_FOUND) st = leat_fail(err, LEAT_IO, "the running leat stopped before it answered; its next start finishes what it had decided");
            break;
        }
        if (clock->monotonic_us(clock) - begin_us > wait_us) {
            take_back(env->io, work_dir, id);
            st = leat_fail(err, LEAT_BUSY, "the running leat did not answer within %lld s", (long long)(wait_us / 1000000));
            break;
        }
        leat_clock_wait(clock, clock->monotonic_us(clock) + LOOK_EVERY_US, NULL, 0);
    }
    free(pipe);
    return st;
}
