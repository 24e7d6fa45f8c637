/* leat sql: read-only queries over the lake at one frontier, with time and memory caps. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/cli.h"
#include "sql/duck.h"

enum { OPTION_FORMAT, OPTION_TIMEOUT, OPTION_MEMORY };
enum format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };
static const char *const FORMATS[] = {"table", "csv", "json", NULL};
static const struct leat_option_spec OPTIONS[] = {
    {.name = "format", .type = LEAT_OPTION_ENUM, .choices = FORMATS, .default_text = "table", .prose = "How to print the rows."},
    {.name = "timeout", .type = LEAT_OPTION_INTERVAL, .min = 1000000, .max = 86400000000, .default_text = "60 seconds",
     .prose = "The query is stopped after this time."},
    {.name = "memory", .type = LEAT_OPTION_SIZE, .min = 64 << 20, .max = 1LL << 40, .default_text = "1 GiB",
     .prose = "The most memory the query may use."},
};

static struct leat_conn *running;

static void on_alarm(int signal_number) {
    (void)signal_number;
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
    size_t n = strlen(text);
    while (n && (text[n - 1] == ';' || text[n - 1] == '\n' || text[n - 1] == ' ')) n--;
    leat_put(&sql, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n");
    leat_putn(&sql, text, n);
    leat_put(&sql, "\n)");
    enum leat_status st = leat_conn_query(conn, sql.data, result, err);
    if (st != LEAT_OK) unwrap_line(err->text);
    leat_buffer_deinit(&sql);
    return st;
}

/* False for statements that would change something; DuckDB refuses them too, with less clear words. */
static bool reads(const char *text) {
    static const char *const WRITES[] = {"alter", "attach", "copy", "create", "delete", "detach", "drop", "export", "import",
                                         "insert", "install", "load", "merge", "pragma", "set", "truncate", "update"};
    text += strspn(text, " \t\r\n");
    size_t n = strcspn(text, " \t\r\n;(");
    for (size_t i = 0; i < sizeof WRITES / sizeof *WRITES; i++)
        if (n == strlen(WRITES[i]) && strncasecmp(text, WRITES[i], n) == 0) return false;
    return true;
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.read_only = true};
    struct leat_engine *engine;
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_result result = {0};
    struct leat_error err = {0};
    const char *sql = cli->arguments[0] + strspn(cli->arguments[0], " \t\r\n");
    if (strncasecmp(sql, "alter", 5) == 0) return leat_cli_change(cli, sql, false);
    if (!reads(cli->arguments[0])) {
        fputs("leat sql: only reads, and ALTER; write a query (SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW TABLES)\n", stderr);
        return LEAT_EXIT_USAGE;
    }
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    char *lake = realpath(leat_engine_lake_dir(engine), NULL);
    struct leat_duck_options locked = {.use = LEAT_DUCK_STEP, /* keeps the order of ORDER BY */
                                       .threads = 2,
                                       .memory_limit_bytes = (uint64_t)cli->values[OPTION_MEMORY].number,
                                       .locked = true,
                                       .allowed_dir = lake};
    enum leat_status st = leat_duck_open(&locked, &duck, &err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, &err);
    if (st == LEAT_OK) st = leat_engine_sql_views(engine, conn, &err);
    if (st == LEAT_OK) {
        running = conn;
        signal(SIGALRM, on_alarm);
        alarm((unsigned)(cli->values[OPTION_TIMEOUT].number / 1000000));
        st = query(conn, cli->arguments[0], &result, &err);
        alarm(0);
    }
    if (st == LEAT_OK) {
        int64_t format = cli->json ? FORMAT_JSON : cli->values[OPTION_FORMAT].number;
        if (format == FORMAT_TABLE)
            print_table(&result);
        else if (format == FORMAT_CSV)
            print_csv(&result);
        else
            print_json(&result);
    } else {
        code = leat_cli_failed(&err);
    }
    leat_result_deinit(&result);
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    free(lake);
    leat_engine_close(engine);
    return code;
}

const struct leat_command leat_command_sql = {
    .name = "sql", .arguments = "QUERY", .min_arguments = 1, .max_arguments = 1, .summary = "query the tables (read-only)",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Runs one SELECT in DuckDB's dialect over the lake. Every source (its bronze archive), table, TABLE__late, TABLE__dead and\n"
             "SOURCE__dead can be named. (ALTER MATERIALIZED TABLE ... is done as 'leat alter' does it.) The query can read nothing but the lake, write nothing, and is stopped at its time and memory caps.",
    .run = run,
};
