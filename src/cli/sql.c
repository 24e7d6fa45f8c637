/* leat sql: read-only queries over the lake at one frontier, with time and memory caps. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "sql/duck.h"
#include "sql/lexer.h"

enum { OPTION_FORMAT, OPTION_TIMEOUT, OPTION_MEMORY };
#define BESIDE_BYTES ((uint64_t)LEAT_GIB) /* what DuckDB does not count: values that functions make, the result, leat itself */
enum format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };
static const char *const FORMATS[] = {"table", "csv", "json", NULL};
static const struct leat_option_spec OPTIONS[] = {
    {.name = "format", .type = LEAT_OPTION_ENUM, .choices = FORMATS, .default_text = "table", .prose = "How to print the rows."},
    {.name = "timeout", .type = LEAT_OPTION_INTERVAL, .min = 1000000, .max = 86400000000, .default_text = "60 seconds",
     .prose = "The query is stopped after this time."},
    {.name = "memory", .type = LEAT_OPTION_SIZE, .min = 64 << 20, .max = 1LL << 40, .default_text = "1 GiB",
     .prose = "The most memory the query may use; values that functions make and the result may take 1 GiB more."},
};

enum { HEEDS_SECONDS = 3 };

static struct leat_conn *running;
static volatile sig_atomic_t alarms;

_Noreturn static void end_with(const char *says, size_t n) {
    while (n && write(2, says, n) < 0 && errno == EINTR) {}
    _exit(LEAT_EXIT_FAILED);
}

/* DuckDB looks at an interrupt between two pieces of work, and some functions make one of minutes. Nothing is lost with this process. */
static void on_alarm(int signal_number) {
    static const char says[] = "leat: the query took more than its time (--timeout) and was stopped\n";
    (void)signal_number;
    if (++alarms > HEEDS_SECONDS) end_with(says, sizeof says - 1);
    leat_conn_interrupt(running);
    alarm(1); /* again: an interrupt is forgotten that comes while the query is planned */
}

static const struct leat_string *cell(const struct leat_result *r, size_t column, size_t row) {
    return leat_is_null(&r->rows.columns[column], row) ? NULL : (const struct leat_string *)r->rows.columns[column].data + row;
}

/* Display width: bytes that begin a character. */
static int width_of(const char *text, size_t n) {
    int width = 0;
    for (size_t i = 0; i < n; i++) width += ((unsigned char)text[i] & 0xC0) != 0x80;
    return width;
}

static void put_padded(const char *text, size_t n, int width) {
    fwrite(text, 1, n, stdout);
    for (int i = width_of(text, n); i < width; i++) putchar(' ');
}

static void print_table(const struct leat_result *r) {
    size_t columns = r->schema.field_count;
    int *widths = leat_alloc((columns + 1) * sizeof *widths);
    for (size_t c = 0; c < columns; c++) {
        widths[c] = width_of(r->schema.fields[c].name, strlen(r->schema.fields[c].name));
        for (size_t row = 0; row < r->rows.row_count; row++) {
            const struct leat_string *s = cell(r, c, row);
            int width = s ? width_of(leat_string_data(s), s->length) : 4;
            if (width > widths[c]) widths[c] = width;
        }
    }
    for (size_t c = 0; c < columns; c++) {
        put_padded(r->schema.fields[c].name, strlen(r->schema.fields[c].name), widths[c]);
        fputs(c + 1 < columns ? "  " : "\n", stdout);
    }
    for (size_t c = 0; c < columns; c++) {
        for (int i = 0; i < widths[c]; i++) putchar('-');
        fputs(c + 1 < columns ? "  " : "\n", stdout);
    }
    for (size_t row = 0; row < r->rows.row_count; row++)
        for (size_t c = 0; c < columns; c++) {
            const struct leat_string *s = cell(r, c, row);
            put_padded(s ? leat_string_data(s) : "NULL", s ? s->length : 4, c + 1 < columns ? widths[c] : 0);
            fputs(c + 1 < columns ? "  " : "\n", stdout);
        }
    printf("(%zu row%s)\n", r->rows.row_count, r->rows.row_count == 1 ? "" : "s");
    free(widths);
}

static void put_csv(const char *text, size_t n) {
    if (n && !memchr(text, ',', n) && !memchr(text, '"', n) && !memchr(text, '\n', n) && !memchr(text, '\r', n)) {
        fwrite(text, 1, n, stdout);
        return;
    }
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') putchar('"');
        putchar(text[i]);
    }
    putchar('"');
}

static void print_csv(const struct leat_result *r) {
    for (size_t c = 0; c < r->schema.field_count; c++) {
        if (c) putchar(',');
        put_csv(r->schema.fields[c].name, strlen(r->schema.fields[c].name));
    }
    putchar('\n');
    for (size_t row = 0; row < r->rows.row_count; row++) {
        for (size_t c = 0; c < r->schema.field_count; c++) {
            const struct leat_string *s = cell(r, c, row);
            if (c) putchar(',');
            if (s) put_csv(leat_string_data(s), s->length);
        }
        putchar('\n');
    }
}

static void print_json(const struct leat_result *r) {
    struct leat_buffer line = {0};
    for (size_t row = 0; row < r->rows.row_count; row++) {
        leat_buffer_reset(&line);
        for (size_t c = 0; c < r->schema.field_count; c++) {
            const struct leat_string *s = cell(r, c, row);
            leat_put(&line, c ? "," : "{");
            leat_put_json_string(&line, r->schema.fields[c].name, strlen(r->schema.fields[c].name));
            leat_put(&line, ":");
            if (s)
                leat_put_json_string(&line, leat_string_data(s), s->length);
            else
                leat_put(&line, "null");
        }
        leat_put(&line, "}");
        puts(line.data);
    }
    leat_buffer_deinit(&line);
}

/* DuckDB shows the line of its error; the first line is ours. */
static void unwrap_line(char *text) {
    char *line = strstr(text, "\nLINE ");
    if (!line) return;
    line += strlen("\nLINE ");
    long n = strtol(line, NULL, 10);
    if (n > 1 && n <= 9) *line = (char)('0' + n - 1); /* as wide, so that the mark below stays in its place */
}

static enum leat_status query(struct leat_conn *conn, const char *text, struct leat_result *result, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n");
    leat_put(&sql, text);
    leat_put(&sql, "\n)");
    enum leat_status st = leat_conn_query(conn, sql.data, result, err);
    if (st != LEAT_OK) unwrap_line(err->text);
    leat_buffer_deinit(&sql);
    return st;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------------------ */

/* What begins like this is no query: what to do instead. DuckDB would refuse it too, with less clear words. */
#define ONLY_READS "only reads, and ALTER; write a query (SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW TABLES)"
static const struct { const char *word, *says; } OTHERS[] = {
    {"alter", "ALTER stands alone, without other statements"},
    {"attach", ONLY_READS}, {"copy", ONLY_READS}, {"create", ONLY_READS}, {"delete", ONLY_READS}, {"detach", ONLY_READS}, {"drop", ONLY_READS},
    {"export", ONLY_READS}, {"import", ONLY_READS}, {"insert", ONLY_READS}, {"install", ONLY_READS}, {"load", ONLY_READS}, {"merge", ONLY_READS},
    {"pragma", ONLY_READS}, {"set", ONLY_READS}, {"truncate", ONLY_READS}, {"update", ONLY_READS},
    {"refresh", "a table is refreshed by ALTER MATERIALIZED TABLE name REFRESH"},
    {"explain", "'leat explain TABLE' shows how a table is kept; plans of queries are not shown"},
    {"\\", "SHOW TABLES lists what can be asked, DESCRIBE name its columns; commands with a backslash are psql's"},
    {".", "SHOW TABLES lists what can be asked, DESCRIBE name its columns; commands with a point are other shells'"},
};

static bool begins(const struct leat_tokens *tokens, const struct leat_statement *s, const char *word) {
    return leat_token_is(tokens, s->first, word) || leat_token_is_operator(tokens, s->first, word);
}

/* NULL: it may be a query. */
static const char *no_query(const struct leat_tokens *tokens, const struct leat_statement *s) {
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        if (begins(tokens, s, OTHERS[i].word)) return OTHERS[i].says;
    return NULL;
}

static char *text_of(const struct leat_tokens *tokens, const struct leat_statement *s) {
    const struct leat_token *first = &tokens->items[s->first], *last = &tokens->items[s->first + s->count - 1];
    size_t end = s->broken ? strlen(tokens->text) : last->offset + last->length; /* what has no end goes on to the text's */
    return leat_strndup(tokens->text + first->offset, end - first->offset);
}

static enum leat_status answer(struct leat_cli *cli, const char *text, struct leat_error *err) {
    struct leat_result result = {0};
    alarms = 0;
    alarm((unsigned)(cli->values[OPTION_TIMEOUT].number / 1000000));
    enum leat_status st = query(running, text, &result, err);
    alarm(0);
    int64_t format = cli->json ? FORMAT_JSON : cli->values[OPTION_FORMAT].number;
    if (st == LEAT_OK) (format == FORMAT_TABLE ? print_table : format == FORMAT_CSV ? print_csv : print_json)(&result);
    leat_result_deinit(&result);
    return st;
}

static int answer_all(struct leat_cli *cli, const struct leat_tokens *tokens, const struct leat_statement *statements, size_t count) {
    struct leat_engine_options options = {.read_only = true};
    struct leat_engine *engine;
    struct leat_duck *duck = NULL;
    struct leat_error err = {0};
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    char *lake = realpath(leat_engine_lake_dir(engine), NULL);
    struct leat_duck_options locked = {.use = LEAT_DUCK_STEP, /* keeps the order of ORDER BY */
                                       .threads = 2,
                                       .memory_limit_bytes = (uint64_t)cli->values[OPTION_MEMORY].number,
                                       .locked = true,
                                       .allowed_dir = lake};
    enum leat_status st = leat_duck_open(&locked, &duck, &err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &running, &err);
    if (st == LEAT_OK) st = leat_engine_sql_views(engine, running, &err);
    signal(SIGALRM, on_alarm);
    leat_child_limit((uint64_t)cli->values[OPTION_MEMORY].number + BESIDE_BYTES);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        char *text = text_of(tokens, &statements[i]);
        if (i) putchar('\n');
        st = answer(cli, text, &err);
        fflush(stdout);
        free(text);
    }
    if (st != LEAT_OK) code = leat_cli_failed(&err);
    if (running) leat_conn_close(running);
    if (duck) leat_duck_close(duck);
    free(lake);
    leat_engine_close(engine);
    return code;
}

static int refuse(const char *says) {
    fprintf(stderr, "leat sql: %s\n", says);
    return LEAT_EXIT_USAGE;
}

static int run_text(struct leat_cli *cli, const char *text) {
    struct leat_tokens tokens;
    struct leat_statement *statements;
    leat_lex(text, strlen(text), &tokens);
    size_t count = leat_lex_statements(&tokens, &statements);
    const char *wrong = count ? NULL : "the query is empty";
    char *one = count == 1 && begins(&tokens, &statements[0], "alter") ? text_of(&tokens, &statements[0]) : NULL;
    for (size_t i = 0; i < count && !one && !wrong; i++) wrong = no_query(&tokens, &statements[i]);
    int code = wrong ? refuse(wrong) : one ? leat_cli_change(cli, one, false) : answer_all(cli, &tokens, statements, count);
    free(one);
    free(statements);
    leat_tokens_deinit(&tokens);
    return code;
}

static int run(struct leat_cli *cli) {
    enum { QUERY_BYTES_MAX = 1 << 20 };
    struct leat_buffer text = {0};
    struct leat_error err = {0};
    if (cli->argument_count && strcmp(cli->arguments[0], "-") != 0) return run_text(cli, cli->arguments[0]);
    if (!cli->argument_count && leat_cli_is_terminal(0)) return refuse("an argument is missing: a query; or pipe one in: leat sql <query.sql");
    char block[4096];
    for (size_t n; text.length <= QUERY_BYTES_MAX && (n = fread(block, 1, sizeof block, stdin)) > 0;) leat_putn(&text, block, n);
    enum leat_status st = LEAT_OK;
    if (ferror(stdin)) st = leat_fail_errno(&err, "read", "standard input");
    if (text.length > QUERY_BYTES_MAX) st = leat_fail(&err, LEAT_INVALID, "the query is longer than %d bytes", QUERY_BYTES_MAX);
    int code = st == LEAT_OK ? run_text(cli, text.data ? text.data : "") : leat_cli_failed(&err);
    leat_buffer_deinit(&text);
    return code;
}

const struct leat_command leat_command_sql = {
    .name = "sql", .arguments = "[QUERY]", .max_arguments = 1, .summary = "query the tables (read-only)",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Runs a SELECT in DuckDB's dialect over the lake. Every source (its bronze archive), table, TABLE__late, TABLE__dead and\n"
             "SOURCE__dead can be named; SHOW TABLES lists them. Without QUERY, or for '-', statements are read from standard input. The query can\n"
             "read nothing but the lake, write nothing, and is stopped at its time and memory caps. (ALTER MATERIALIZED TABLE ... is done as\n"
             "'leat alter' does it.)",
    .run = run,
};
