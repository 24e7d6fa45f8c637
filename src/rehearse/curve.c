/* The cost of freshness as a picture: CPU seconds a day above, money a month below, the longest freshness on the left. */
#include <math.h>
#include <stdio.h>

#include "rehearse/cost.h"

enum { WIDTH = 860, HEIGHT = 560, LEFT = 74, RIGHT = 190, TOP = 64, CPU_BOTTOM = 330, MONEY_TOP = 400, MONEY_BOTTOM = 500, TABLES_MAX = 6 };

/* Colours that can be told apart by the colour-blind (Okabe and Ito), on white and on black. */
static const char STYLE[] =
    "<style>\n"
    ".bg{fill:#ffffff}.text{fill:#24292f}.soft{fill:#57606a}.axis{stroke:#8c959f}.grid{stroke:#e2e6ea}\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px}.title{font-size:17px;font-weight:600}.small{font-size:11.5px}\n"
    ".all{stroke:#24292f;fill:none;stroke-width:2.5}.dot{fill:#24292f}.table{fill:none;stroke-width:1.5}.bar{fill:#0072b2}.part{fill:#e69f00}\n"
    ".c0{stroke:#0072b2}.c1{stroke:#d55e00}.c2{stroke:#009e73}.c3{stroke:#cc79a7}.c4{stroke:#b8860b}.c5{stroke:#56b4e9}\n"
    ".f0{fill:#0072b2}.f1{fill:#d55e00}.f2{fill:#009e73}.f3{fill:#b0578c}.f4{fill:#8f6a08}.f5{fill:#2b86bd}\n"
    "@media (prefers-color-scheme:dark){.bg{fill:#0d1117}.text{fill:#e6edf3}.soft{fill:#9aa4af}.axis{stroke:#6e7681}.grid{stroke:#21262d}\n"
    ".all{stroke:#e6edf3}.dot{fill:#e6edf3}.bar{fill:#58a6ff}.c0{stroke:#58a6ff}.f0{fill:#58a6ff}.c1{stroke:#ff8f4d}.f1{fill:#ff8f4d}.c2{stroke:#3fc79a}.f2{fill:#3fc79a}\n"
    ".c3{stroke:#e39ac4}.f3{fill:#e39ac4}.c4{stroke:#e3b341}.f4{fill:#e3b341}.c5{stroke:#8fd3ff}.f5{fill:#8fd3ff}}\n"
    "</style>\n";

struct scale { double low, high; }; /* powers of ten */

static double x_of(const struct leat_cost *c, size_t i) {
    double span = WIDTH - LEFT - RIGHT;
    return c->point_count < 2 ? LEFT + span / 2 : LEFT + 24 + (span - 48) * (double)i / (double)(c->point_count - 1);
}

static double cpu_y(struct scale s, double cpu) {
    double least = pow(10, s.low), v = cpu > least ? cpu : least;
    return CPU_BOTTOM - (CPU_BOTTOM - TOP) * (log10(v) - s.low) / (s.high - s.low);
}

static void put_escaped(struct leat_buffer *out, const char *text) {
    for (; *text; text++)
        if (*text == '<' || *text == '&' || *text == '>')
            leat_putf(out, "&#%d;", *text);
        else
            leat_putn(out, text, 1);
}

static struct scale cpu_scale(const struct leat_cost *c) {
    double least = INFINITY, most = 1;
    for (size_t i = 0; i < c->point_count; i++) {
        if (c->points[i].cpu_s > most) most = c->points[i].cpu_s;
        if (c->points[i].cpu_s < least) least = c->points[i].cpu_s;
        for (size_t t = 0; t < c->points[i].table_count && t < TABLES_MAX; t++)
            if (c->points[i].tables[t].cpu_s < least) least = c->points[i].tables[t].cpu_s;
    }
    if (!(least > 0.01)) least = 0.01;
    struct scale s = {floor(log10(least)), ceil(log10(most))};
    if (s.high <= s.low) s.high = s.low + 1;
    return s;
}

static void put_grid(const struct leat_cost *c, struct scale s, struct leat_buffer *out) {
    for (double p = s.low; p <= s.high + 0.5; p++) {
        double y = cpu_y(s, pow(10, p));
        leat_putf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, WIDTH - RIGHT, y, y);
        leat_putf(out, "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n", LEFT - 8, y + 4.5, p < 0 ? (int)-p : 0, pow(10, p));
    }
    for (size_t i = 0; i < c->point_count; i++) {
        struct leat_buffer label = {0};
        leat_put_freshness(&label, c->points[i].freshness_us);
        leat_putf(out, "<text class=\"text\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x_of(c, i), CPU_BOTTOM + 22, label.data);
        leat_putf(out, "<text class=\"soft small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x_of(c, i), CPU_BOTTOM + 38,
                  c->points[i].timer ? "timer" : "leat run");
        leat_buffer_deinit(&label);
    }
    leat_putf(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, WIDTH - RIGHT, CPU_BOTTOM, CPU_BOTTOM);
    leat_putf(out, "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"end\">freshness</text>\n", LEFT - 4, CPU_BOTTOM + 22);
}

static void put_line(const struct leat_cost *c, struct scale s, int table, const char *class, struct leat_buffer *out) {
    leat_putf(out, "<polyline class=\"%s\" points=\"", class);
    for (size_t i = 0; i < c->point_count; i++)
        leat_putf(out, "%s%.1f,%.1f", i ? " " : "", x_of(c, i), cpu_y(s, table < 0 ? c->points[i].cpu_s : c->points[i].tables[table].cpu_s));
    leat_put(out, "\"/>\n");
}

/* Labels at the lines' right ends, moved apart where they would overlap. */
static void put_labels(const struct leat_cost *c, struct scale s, size_t tables, struct leat_buffer *out) {
    enum { LINE = 15 };
    const struct leat_cost_point *last = &c->points[c->point_count - 1];
    double y[TABLES_MAX + 1];
    size_t order[TABLES_MAX + 1], n = tables + 1;
    for (size_t i = 0; i < n; i++) {
        y[i] = cpu_y(s, i == tables ? last->cpu_s : last->tables[i].cpu_s) + 4;
        size_t at = i;
        for (; at && y[order[at - 1]] > y[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 1; i < n; i++)
        if (y[order[i]] < y[order[i - 1]] + LINE) y[order[i]] = y[order[i - 1]] + LINE;
    for (size_t i = 0; i < n; i++) {
        char class[16] = "text";
        if (i < tables) snprintf(class, sizeof class, "f%zu", i);
        leat_putf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x_of(c, c->point_count - 1) + 14, y[i]);
        put_escaped(out, i == tables ? "all together" : last->tables[i].name);
        leat_put(out, "</text>\n");
    }
}

static void put_money(const struct leat_cost *c, const struct leat_prices *prices, struct leat_buffer *out) {
    double most = 0;
    for (size_t i = 0; i < c->point_count; i++) most = fmax(most, c->points[i].money_machine + c->points[i].money_requests);
    if (most <= 0) most = 1;
    leat_putf(out, "<text class=\"text\" x=\"%d\" y=\"%d\">a month, ", LEFT, MONEY_TOP - 8);
    put_escaped(out, prices->currency);
    leat_put(out, ": <tspan class=\"bar\">machine</tspan> and <tspan class=\"part\">requests</tspan></text>\n");
    for (size_t i = 0; i < c->point_count; i++) {
        const struct leat_cost_point *p = &c->points[i];
        double room = MONEY_BOTTOM - MONEY_TOP - 22, machine = room * p->money_machine / most, requests = room * p->money_requests / most, x = x_of(c, i) - 17;
        leat_putf(out, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"34\" height=\"%.1f\"/>\n", x, MONEY_BOTTOM - machine, machine);
        leat_putf(out, "<rect class=\"part\" x=\"%.1f\" y=\"%.1f\" width=\"34\" height=\"%.1f\"/>\n", x, MONEY_BOTTOM - machine - requests, requests);
        leat_putf(out, "<text class=\"text\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.2f</text>\n", x + 17, MONEY_BOTTOM - machine - requests - 6,
                  p->money_machine + p->money_requests);
        leat_putf(out, "<text class=\"soft small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", x + 17, MONEY_BOTTOM + 18);
        put_escaped(out, p->machine < 0 ? "none fits" : prices->machines[p->machine].name);
        leat_putf(out, "</text>\n<text class=\"soft small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.*f h up</text>\n", x + 17, MONEY_BOTTOM + 34,
                  p->hours_up < 1 ? 2 : p->hours_up < 10 ? 1 : 0, p->hours_up);
    }
    leat_putf(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, WIDTH - RIGHT, MONEY_BOTTOM, MONEY_BOTTOM);
}

void leat_cost_svg(const struct leat_cost *c, const struct leat_prices *prices, struct leat_buffer *out) {
    if (!c->point_count) return;
    struct scale s = cpu_scale(c);
    size_t tables = c->points[0].table_count;
    for (size_t i = 1; i < c->point_count; i++)
        if (c->points[i].table_count < tables) tables = c->points[i].table_count;
    if (tables > TABLES_MAX) tables = TABLES_MAX;
    leat_putf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n%s", WIDTH, HEIGHT, WIDTH, HEIGHT, STYLE);
    leat_put(out, "<title>What freshness costs</title>\n");
    leat_putf(out, "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", WIDTH, HEIGHT);
    leat_putf(out, "<text class=\"text title\" x=\"%d\" y=\"26\">What freshness costs</text>\n", LEFT);
    leat_putf(out, "<text class=\"soft\" x=\"%d\" y=\"46\">CPU seconds a day, for %.0f records a day</text>\n", LEFT, c->records_a_day);
    put_grid(c, s, out);
    for (size_t t = 0; t < tables; t++) {
        char class[16];
        snprintf(class, sizeof class, "table c%zu", t);
        put_line(c, s, (int)t, class, out);
    }
    put_line(c, s, -1, "all", out);
    for (size_t i = 0; i < c->point_count; i++)
        leat_putf(out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", x_of(c, i), cpu_y(s, c->points[i].cpu_s));
    put_labels(c, s, tables, out);
    put_money(c, prices, out);
    leat_put(out, "</svg>\n");
}
