#include "crash.h"
int crash_faults(struct world *w, uint64_t stride) { (void)w; (void)stride; return 0; }
