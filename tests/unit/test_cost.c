/* The model of leat cost: days from windows, machines, money; prices; the picture. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rehearse/cost.h"
#include "scratch.h"

#define POINT(freshness, timer, window, records, cpu, bronze, commit, runs, empty)                                                                 \
    "{\"freshness_us\":" freshness ",\"timer\":" timer ",\"window_us\":" window ",\"records\":" records ",\"steps\":10,\"cpu_us\":" cpu               \
    ",\"wall_us\":4000000,\"peak_bytes\":100000000,\"written_bytes\":1000,\"puts\":10,\"gets\":5,\"lists\":0,\"deletes\":0,"                        \
    "\"phases\":{\"bronze\":" bronze ",\"commit\":" commit "},\"tables\":{\"a\":{\"step\":1000,\"commit\":1000},\"<b>\":{\"step\":500,\"commit\":0}}," \
    "\"runs\":" runs ",\"empty_cpu_us\":" empty ",\"empty_wall_us\":100000}"

/* Half a day of 10,000 records. */
#define ROUND "[" POINT("86400000000", "true", "43200000000", "10000", "1000000", "0", "0", "1", "200000") "," /* 80 us a record */   \
    POINT("10000000", "false", "2000000000", "463", "2000000", "500000", "500000", "0", "0") ","                                    \
    POINT("1000000", "false", "100000000", "23", "150000", "10000", "20000", "0", "0") "]"
/* While other things went on, and by a machine that was quick for a moment. */
#define SLOW_ROUND "[" POINT("86400000000", "true", "43200000000", "10000", "1400000", "0", "0", "1", "300000") ","                    \
    POINT("10000000", "false", "2000000000", "463", "1900000", "400000", "400000", "0", "0") ","                                    \
    POINT("1000000", "false", "100000000", "23", "250000", "20000", "30000", "0", "0") "]"
#define QUICK_ROUND "[" POINT("86400000000", "true", "43200000000", "10000", "900000", "0", "0", "1", "100000") ","                    \
    POINT("10000000", "false", "2000000000", "463", "2100000", "600000", "600000", "0", "0") ","                                    \
    POINT("1000000", "false", "100000000", "23", "140000", "9000", "10000", "0", "0") "]"

static void model(const char *measured, struct leat_prices *prices, struct leat_cost *cost) {
    OK(leat_prices_parse(leat_prices_default, prices, oops));
    OK(leat_cost_model(measured, 10000, 43200000000, 10000000, prices, cost, oops));
}

static void near(double is, double wanted) {
    if (is < wanted * 0.999 || is > wanted * 1.001) fail_msg("%f is not %f", is, wanted);
}

static void days_follow_from_windows(void **state) {
    (void)state;
    struct leat_prices prices;
    struct leat_cost cost;
    model("[" ROUND "]", &prices, &cost);
    near(cost.records_a_day, 20000);
    near(cost.points[0].cpu_s, (1 * 200000 + 800000 * 2) / 1e6);
    near(cost.points[0].hours_up, 60 / 3600.0); /* paid for a minute at least */
    /* 463 records in 2000 s are 20001.6 a day: as many as the average. */
    near(cost.points[1].cpu_s, 2000000 * 43.2 / 1e6 - 1.6 * 80e-6);
    /* Commits at the rate of the long window: 1 s of 2000 instead of 0.03 of 100. */
    near(cost.points[2].cpu_s, (150000 - 30000) * 864 / 1e6 + 1000000 * 43.2 / 1e6 + (20000 - 23 * 864) * 80e-6);
    near(cost.points[1].hours_up, 24);
    assert_string_equal(prices.machines[cost.points[1].machine].name, "nano");
    near(cost.points[1].money_machine, 30 * 24 * 0.0042);
    near(cost.points[1].puts, 432);
    near(cost.points[1].tables[0].cpu_s, cost.points[1].cpu_s * 2000 / 2000000);
    assert_int_equal(leat_cost_meets(&cost, 5000000), 2);
    assert_int_equal(leat_cost_meets(&cost, 10000000), 1);
    assert_int_equal(leat_cost_meets(&cost, 1), 2);
    leat_cost_deinit(&cost);
    leat_prices_deinit(&prices);
}

static void the_middle_round_counts(void **state) {
    (void)state;
    static const char *const MEASURED[] = {"[" ROUND "," SLOW_ROUND "]", "[" SLOW_ROUND "," QUICK_ROUND "," ROUND "]"};
    struct leat_prices prices;
    struct leat_cost alone, cost;
    model("[" ROUND "]", &prices, &alone);
    leat_prices_deinit(&prices);
    for (size_t i = 0; i < 2; i++) {
        model(MEASURED[i], &prices, &cost);
        near(cost.points[0].cpu_s, alone.points[0].cpu_s);
        if (i) near(cost.points[1].cpu_s, alone.points[1].cpu_s);
        assert_int_equal(cost.point_count, 3);
        leat_cost_deinit(&cost);
        leat_prices_deinit(&prices);
    }
    leat_cost_deinit(&alone);
    struct leat_error err;
    assert_int_equal(leat_cost_model("[]", 1, 1, 1, &prices, &cost, &err), LEAT_CORRUPT);
    assert_int_equal(leat_cost_model("no", 1, 1, 1, &prices, &cost, &err), LEAT_CORRUPT);
}

static void it_is_said_in_words_and_drawn(void **state) {
    (void)state;
    struct leat_prices prices;
    struct leat_cost cost;
    struct leat_buffer out = {0};
    const struct leat_cost_need needs[] = {{"a", {.between_us = 5000000}}};
    model("[" ROUND "]", &prices, &cost);
    leat_cost_print(&cost, &prices, needs, 1, &out);
    assert_non_null(strstr(out.data, "a asks for 5 s; 1 s does, at "));
    assert_non_null(strstr(out.data, "Less: 10 s would take "));
    leat_buffer_reset(&out);
    leat_cost_svg(&cost, &prices, &out);
    assert_non_null(strstr(out.data, "&#60;b&#62;"));
    assert_null(strstr(out.data, "<b>"));
    assert_null(strstr(out.data, "\"nan"));
    assert_null(strstr(out.data, "-nan"));
    assert_string_equal(out.data + out.length - 7, "</svg>\n");
    leat_buffer_deinit(&out);
    leat_cost_deinit(&cost);
    leat_prices_deinit(&prices);
}

/* By the hour: each freshness for the hours it holds, and the machine of the shorter one. */
static void a_calendar_is_weighed_by_its_hours(void **state) {
    (void)state;
    struct leat_prices prices;
    struct leat_cost cost;
    struct leat_buffer out = {0};
    const struct leat_cost_need needs[] = {{"b", {.between_us = 86400000000}}, {"a", {.between_us = 86400000000, .else_us = 1000000, .from_minute = 22 * 60, .to_minute = 6 * 60}}};
    model("[" ROUND "]", &prices, &cost);
    const struct leat_cost_point *day = &cost.points[0], *second = &cost.points[2];
    leat_cost_json(&cost, &prices, needs, 2, &out); /* from 22:00 to 06:00 as fresh as a day, else as a second */
    char *of_its_own = leat_asprintf("a asks for 1 s for 16 hours of the day, else for 24 h; 1 s does, and 24 h does, together at %.1f CPU s a day of its own. All day 1 s would take %.1f (1.5 times).",
                                     (16 * second->tables[0].cpu_s + 8 * day->tables[0].cpu_s) / 24, second->tables[0].cpu_s);
    char *overall = leat_asprintf("All tables as fresh as a: %.2f USD a month", second->money_machine + (16 * second->money_requests + 8 * day->money_requests) / 24);
    if (!strstr(out.data, of_its_own) || !strstr(out.data, overall)) fail_msg("no '%s' or '%s' in %s", of_its_own, overall, out.data);
    free(of_its_own);
    free(overall);
    leat_buffer_deinit(&out);
    leat_cost_deinit(&cost);
    leat_prices_deinit(&prices);
}

static void wrong_prices_are_told(void **state) {
    (void)state;
    static const char *const WRONG[] = {"machine,x,0,1,1\n", "puts,many\n", "machin,x,1,1,1\n", "currency,EUR\n"};
    for (size_t i = 0; i < 4; i++) {
        struct leat_prices prices;
        struct leat_error err = {0};
        assert_int_equal(leat_prices_parse(WRONG[i], &prices, &err), LEAT_INVALID);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_follow_from_windows), cmocka_unit_test(the_middle_round_counts),
        cmocka_unit_test(it_is_said_in_words_and_drawn),
        cmocka_unit_test(a_calendar_is_weighed_by_its_hours),
        cmocka_unit_test(wrong_prices_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
