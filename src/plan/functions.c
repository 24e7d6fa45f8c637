/* The allow-list of functions, by family, and the refusals that deserve advice.
 *
 * A function is allowed when equal arguments give equal answers, on every machine and at every time, without touching
 * files, settings or the network. SAFE is claimed only where no argument can make the function raise. */
#include "plan/functions.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct family {
    const char *title; /* of a section of the reference; families with one title are shown together */
    unsigned traits;
    const char *names; /* separated by single spaces */
};
#define SAFE LEAT_FUNCTION_SAFE
#define AGGREGATE LEAT_FUNCTION_AGGREGATE
#define ORDERED (LEAT_FUNCTION_AGGREGATE | LEAT_FUNCTION_ORDERED)

static const struct family families[] = {
    {"Operators", 0,
     "+ - * ** ^ // % & | << >> ~ ! !__postfix @ @> <@ && -> ->> add subtract multiply divide mod fmod fdiv"},
    {"Operators", SAFE, "/ || ~~ !~~ ~~* !~~* ^@ ~~~ xor"},
    {"Comparison and choice", 0, "error"},
    {"Strings", 0, "like_escape not_like_escape ilike_escape not_ilike_escape"},
    {"Lists, structs, maps", 0, "list_extract array_extract list_element"},
    {"Comparison and choice", SAFE, "constant_or_null"},
    {"Lists, structs, maps", SAFE, "struct_extract"},
    {"Comparison and choice", SAFE,
     "greatest least nullif ifnull typeof alias create_sort_key hash isfinite isinf isnan"},
    {"Strings", SAFE,
     "upper lower ucase lcase trim ltrim rtrim length len strlen char_length character_length bit_length octet_length "
     "length_grapheme reverse concat concat_ws contains starts_with ends_with prefix suffix instr position strpos "
     "replace translate ascii unicode ord md5 sha1 sha256 "
     "md5_number md5_number_lower md5_number_upper split_part split string_split str_split string_to_array levenshtein "
     "editdist3 damerau_levenshtein jaro_similarity jaro_winkler_similarity nfc_normalize strip_accents "
     "parse_dirname parse_dirpath parse_filename url_encode hex to_hex bin to_binary base64 to_base64 encode"},
    {"Strings", 0,
     "left left_grapheme right right_grapheme substr substring substring_grapheme jaccard chr lpad rpad repeat "
     "format printf hamming mismatches bar from_base64 unhex from_hex unbin from_binary decode "
     "url_decode formatreadablesize formatreadabledecimalsize format_bytes pg_size_pretty parse_formatted_bytes"},
    {"Regular expressions", 0,
     "regexp_matches regexp_full_match regexp_extract regexp_extract_all regexp_replace regexp_escape "
     "regexp_split_to_array "
     "string_split_regex str_split_regex"},
    {"Numbers", 0,
     "abs acos acosh asin asinh atan atan2 atanh cbrt ceil ceiling cos cosh cot degrees even exp factorial floor "
     "gamma gcd "
     "greatest_common_divisor lcm least_common_multiple lgamma ln log log10 log2 nextafter pow power radians round "
     "round_even "
     "roundbankers sin sinh sqrt tan tanh trunc equi_width_bins is_histogram_other_bin"},
    {"Numbers", SAFE, "sign signbit pi bit_count"},
    {"Numbers", 0, "to_base get_type parse_path <-> <=> get_bit set_bit bit_position bitstring"},
    {"Dates and times", SAFE,
     "year month day hour minute second millisecond microsecond nanosecond quarter week weekofyear weekday dayofweek "
     "dayofmonth dayofyear isodow isoyear yearweek century decade millennium era dayname monthname epoch "
     "julian"},
    {"Dates and times", 0,
     "epoch_ms epoch_us epoch_ns date_part datepart date_trunc datetrunc date_diff datediff date_sub datesub date_add "
     "age last_day "
     "days_in_month "
     "time_bucket leat_tumble leat_hop leat_session_end make_date make_time make_timestamp make_timestamp_ms "
     "make_timestamp_ns make_timestamptz "
     "strftime strptime try_strptime timezone timezone_hour timezone_minute normalized_interval to_centuries to_days "
     "to_decades "
     "to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp "
     "to_weeks "
     "to_years"},
    {"The clock", LEAT_FUNCTION_CLOCK,
     "leat_now now transaction_timestamp get_current_timestamp current_timestamp today current_date "
     "current_localtimestamp localtimestamp get_current_time current_time current_localtime localtime"},
    {"JSON", 0,
     "json json_array json_array_length json_contains json_exists json_extract json_extract_path "
     "json_extract_path_text "
     "json_extract_string json_keys json_merge_patch json_object json_pretty json_quote json_structure json_transform "
     "json_transform_strict json_type json_value from_json from_json_strict to_json array_to_json row_to_json"},
    {"JSON", SAFE, "json_valid"},
    {"Lists, structs, maps", 0,
     "array_aggr array_aggregate array_append array_cat array_concat array_contains array_cosine_distance "
     "array_cosine_similarity "
     "array_cross_product array_distance array_distinct array_dot_product array_grade_up array_has array_has_all "
     "array_has_any array_indexof array_inner_product array_intersect array_length array_negative_dot_product "
     "array_negative_inner_product array_pop_back array_pop_front array_position array_prepend array_push_back "
     "array_push_front "
     "array_resize array_reverse array_reverse_sort array_select array_slice array_sort array_to_string array_unique "
     "array_value "
     "array_where array_zip list_aggr list_aggregate list_any_value list_append list_avg list_bit_and list_bit_or "
     "list_bit_xor "
     "list_bool_and list_bool_or list_cat list_concat list_contains list_cosine_distance list_cosine_similarity "
     "list_count "
     "list_distance list_distinct list_dot_product list_first list_mad list_histogram list_stddev_pop list_stddev_samp "
     "list_var_pop list_var_samp list_sem list_skewness list_kurtosis list_kurtosis_pop list_grade_up list_has "
     "list_has_all "
     "list_has_any list_indexof list_inner_product list_intersect list_last list_max list_median list_min list_mode "
     "list_negative_dot_product list_negative_inner_product list_pack list_position list_prepend list_product "
     "list_resize "
     "list_reverse list_reverse_sort list_select list_slice list_sort list_string_agg list_sum list_unique list_value "
     "list_where "
     "list_zip flatten grade_up element_at cardinality map map_concat map_contains map_contains_entry "
     "map_contains_value "
     "map_entries map_extract map_extract_value map_from_entries map_keys map_values row struct_concat struct_contains "
     "struct_extract_at struct_has struct_indexof struct_insert struct_keys struct_pack struct_position "
     "struct_update struct_values union_extract union_tag union_value generate_series range generate_subscripts "
     "unpivot_list "
     "enum_code enum_first enum_last enum_range enum_range_boundary unnest"},
    {"Lists, structs, maps", LEAT_FUNCTION_LAMBDA,
     "apply array_apply array_filter array_reduce array_transform filter list_apply list_filter list_reduce "
     "list_transform reduce"},
    {"Strings", 0, "uuid_extract_timestamp uuid_extract_version"},
    {"Aggregates", AGGREGATE,
     "count count_star count_if countif sum avg mean min max bool_and bool_or bit_and bit_or bit_xor bitstring_agg "
     "median "
     "quantile quantile_cont quantile_disc mad histogram histogram_exact grouping grouping_id leat_sum leat_avg leat_sum_huge "
     "sum_no_overflow"},
    {"Aggregates that choose among rows", ORDERED,
     "any_value arbitrary first last mode list array_agg string_agg group_concat listagg arg_max argmax max_by arg_min "
     "argmin "
     "min_by arg_max_null arg_min_null arg_max_nulls_last arg_min_nulls_last"},
    {"Window functions", AGGREGATE,
     "row_number rank rank_dense dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value"},
};

struct refusal {
    const char *names, *reason, *instead;
};
static const struct refusal refusals[] = {
    {"stddev stddev_pop stddev_samp variance var_pop var_samp sem kurtosis kurtosis_pop skewness",
     "its floating-point result depends on the order of rows",
     "keep count(*), sum(x) and sum(x * x) as columns and derive it from them; those sums are exact"},
    {"corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy "
     "regr_syy",
     "its floating-point result depends on the order of rows",
     "keep count(*), sum(x), sum(y), sum(x * y) and sum(x * x) as columns and derive it from them; those sums are "
     "exact"},
    {"fsum sumkahan kahan_sum", "its result depends on the order of rows", "sum(x): leat's sum of DOUBLE is exact"},
    {"favg", "its result depends on the order of rows", "avg(x): leat's avg of DOUBLE is exact"},
    {"product geomean geometric_mean entropy wavg weighted_avg",
     "its floating-point result depends on the order of rows",
     "sums of the needed terms, which are exact, and an expression over them"},
    {"approx_count_distinct", "an approximate answer differs between a batch and a stream", "count(DISTINCT x)"},
    {"approx_quantile reservoir_quantile", "an approximate answer differs between a batch and a stream",
     "quantile_cont(x, q)"},
    {"approx_top_k", "an approximate answer differs between a batch and a stream",
     "GROUP BY with count(*), then QUALIFY row_number() OVER (...) <= k"},
    {"random setseed uuid uuidv4 uuidv7 gen_random_uuid", "a run again would give another answer",
     "a column of the source, or md5(...) of columns that identify the row"},
    {"nextval currval", "a sequence cannot be replayed", "the source's offset (INCLUDE offset) as a number"},
    {"ago", "it reads the clock of the process", "now() - interval"},
    {"getenv getvariable current_setting in_search_path version current_database current_schema current_schemas "
     "current_catalog "
     "current_user current_role session_user user current_query current_query_id current_connection_id "
     "current_transaction_id "
     "txid_current pg_typeof",
     "it reads this process, not the data", "a literal, or ${NAME} in an option"},
    {"sleep_ms pg_sleep write_log stats vector_type parse_duckdb_log_message", "it acts on this process", NULL},
    {"json_serialize_sql json_deserialize_sql json_serialize_plan json_execute_serialized_sql query query_table",
     "it runs or inspects statements", "the query itself"},
    {"json_group_array json_group_object", "the order of its entries is that of the rows",
     "to_json(list(x ORDER BY ...))"},
    {"json_group_structure", "its answer depends on the order of rows", "json_structure(x) per row"},
};

static bool name_in(const char *names, const char *name) {
    size_t length = strlen(name);
    if (length == 0 || strchr(name, ' ')) return false;
    for (const char *p = names; *p;) {
        size_t word = strcspn(p, " ");
        if (word == length && strncasecmp(p, name, length) == 0) return true;
        p += word;
        if (*p) p++;
    }
    return false;
}

unsigned leat_function_traits(const char *name) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (name_in(families[i].names, name)) return families[i].traits | LEAT_FUNCTION_ALLOWED;
    return 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of all families with this title, sorted. */
static void put_section(struct leat_buffer *out, const char *title) {
    char *names[1024];
    size_t count = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].title, title) != 0) continue;
        for (const char *p = families[i].names; *p; p += strspn(p, " ")) {
            size_t length = strcspn(p, " ");
            bool own = strncmp(p, "leat_", 5) == 0 && strncmp(p, "leat_tumble", 11) != 0;
            if (!own && count < sizeof names / sizeof *names) names[count++] = leat_strndup(p, length);
            p += length;
        }
    }
    qsort(names, count, sizeof *names, by_text);
    leat_putf(out, "\n## %s\n\n", title);
    for (size_t i = 0; i < count; i++) {
        leat_putf(out, i ? ", `%s`" : "`%s`", names[i]);
        free(names[i]);
    }
    leat_put(out, "\n");
}

void leat_function_reference(struct leat_buffer *out) {
    leat_put(out,
             "# Functions\n\n"
             "A table's query may call the functions of DuckDB that give equal answers for equal arguments, on every "
             "machine and at every time. These are they; a name that is not here is refused.\n");
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t first = 0;
        while (strcmp(families[first].title, families[i].title) != 0)
            first++;
        if (first == i) put_section(out, families[i].title);
    }
    leat_put(
        out,
        "\nAggregates that choose among rows, window functions, `DISTINCT ON` and `LIMIT` have their ties completed; "
        "`EXPLAIN` shows how. The clock is one reading per run.\n\n## Refused, and what to use instead\n\n"
        "| function | because | instead |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        leat_put(out, "| ");
        for (const char *p = r->names; *p; p += strspn(p, " ")) {
            size_t length = strcspn(p, " ");
            leat_putf(out, p == r->names ? "`%.*s`" : ", `%.*s`", (int)length, p);
            p += length;
        }
        leat_putf(out, " | %s | %s |\n", r->reason, r->instead ? r->instead : "");
    }
}

enum leat_status leat_function_check(const char *name, struct leat_error *err) {
    if (leat_function_traits(name)) return LEAT_OK;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        if (!name_in(r->names, name)) continue;
        if (!r->instead) return leat_fail(err, LEAT_UNSUPPORTED, "function %s is refused: %s", name, r->reason);
        return leat_fail(err, LEAT_UNSUPPORTED, "function %s is refused: %s; instead: %s", name, r->reason, r->instead);
    }
    return leat_fail(
        err, LEAT_UNSUPPORTED,
        "function %s is not on leat's list of functions with one answer for equal arguments; "
        "compute it before the data enters a source, or with functions of the list (docs/reference/functions.md)",
        name);
}

enum leat_status leat_function_check_table(const char *name, struct leat_error *err) {
    if (name_in("range generate_series unnest json_each json_tree", name)) return LEAT_OK;
    if (strncasecmp(name, "read_", 5) == 0 ||
        name_in("glob parquet_scan sniff_csv parquet_metadata parquet_schema", name))
        return leat_fail(
            err, LEAT_UNSUPPORTED,
            "table function %s is refused: a file read in a query is not versioned; declare it as a source "
            "(CREATE SOURCE ... WITH (connector = 'file', path = ...))",
            name);
    return leat_fail(err, LEAT_UNSUPPORTED, "table function %s is refused: it reads this process, not declared sources",
                     name);
}
