/* The tests of test_decode.c once more, on the decoder as machines without SSE2 have it: its object, defined here,
 * takes the place of the library's. */
#define LEAT_NO_SIMD
#include "data/json_decode.c"
#include "test_decode.c"
