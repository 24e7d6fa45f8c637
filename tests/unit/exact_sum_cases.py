#!/usr/bin/env python3
"""Prints exact_sum_cases.h: sums whose correctly rounded result Python's Fraction gives (float(Fraction) rounds to nearest, ties
to even). Run by hand when cases are added; the header is kept beside it."""
import math
import random
import struct
from fractions import Fraction

MAX, TINY, NORMAL = 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308
HALF_ULP = 2.0**970  # MAX + HALF_ULP is the tie between MAX and 2^1024
FIXED = [
    [(1.0, 1), (2.0**-53, 1)], [(1.0, 1), (2.0**-53, 1), (TINY, 1)], [(1.0, 1), (2.0**-53, 3)], [(1e16, 1), (1.0, 1), (-1e16, 1)],
    [(MAX, 1), (MAX, 1), (-MAX, 1)], [(MAX, 2)], [(MAX, 1), (HALF_ULP, 1)], [(MAX, 1), (HALF_ULP, 1), (TINY, -1)],
    [(-MAX, 1), (-HALF_ULP, 1)], [(TINY, 1)], [(TINY, -1)], [(TINY, 2**52)], [(TINY, 2**52 - 1)], [(TINY, 2**53 - 1)],
    [(TINY, 2**53 + 1)], [(TINY, 2**62 + 1)], [(NORMAL, 1), (TINY, -1)], [(NORMAL, 3), (TINY, 1)], [(-0.0, 5)], [(0.0, 1), (-0.0, 1)],
    [(0.1, 10)], [(0.1, 2**62)], [(MAX, 2**62), (MAX, -(2**62))], [(MAX, 2**62), (MAX, -(2**62)), (TINY, 7)], [(MAX, -(2**63)), (MAX, 2**63 - 1)],
    [(1e308, 1), (1e308, 1), (-1e308, 1), (1.0, 1)], [(2.0**52, 1), (0.5, 1)], [(2.0**52, 1), (1.5, 1)], [(2.0**53, 1), (1.0, 1)],
]


def random_value(rnd, kind):
    if kind == 0:
        while True:
            value = struct.unpack("<d", struct.pack("<Q", rnd.getrandbits(64)))[0]
            if math.isfinite(value):
                return value
    if kind == 1:
        return rnd.choice([TINY, -TINY, NORMAL, -NORMAL, MAX, -MAX, HALF_ULP, -HALF_ULP, 1.0, -1.0, 2.0**-53, 3 * 2.0**-53])
    return math.ldexp(rnd.choice([1, -1, 3, -5]), rnd.randrange(-70, 70))


def expected(case):
    total = sum((Fraction(value) * times for value, times in case), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def literal(value):
    return value.hex() if math.isfinite(value) else ("INFINITY" if value > 0 else "-INFINITY")


def main():
    rnd = random.Random(20)
    cases = list(FIXED)
    for i in range(200):
        kind = i % 3
        cases.append([(random_value(rnd, kind), rnd.choice([1, 1, -1, 2, rnd.randrange(-(2**62), 2**62)])) for _ in range(rnd.randrange(2, 7))])
    print("/* Made by exact_sum_cases.py. */\nstatic const struct {\n    double expected;\n    struct { double value; int64_t times; } terms[8];\n"
          "    size_t term_count;\n} exact_sum_cases[] = {")
    for case in cases:
        terms = ", ".join("{%s, %s}" % (literal(v), "INT64_MIN" if t == -(2**63) else "%dLL" % t) for v, t in case)
        print("    {%s, {%s}, %d}," % (literal(expected(case)), terms, len(case)))
    print("};")


main()
