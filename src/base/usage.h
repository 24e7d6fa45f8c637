/* What the process has used so far, from the operating system. Thread: any. */
#ifndef LEAT_BASE_USAGE_H
#define LEAT_BASE_USAGE_H
#include <stdint.h>
int64_t leat_usage_cpu_us(void);        /* user + system, all threads */
int64_t leat_usage_thread_cpu_us(void); /* of the calling thread */
void leat_usage_yield_to_others(void);  /* the calling thread, and those it makes, get what others leave of the processors */
int64_t leat_usage_peak_bytes(void);    /* largest resident set */
void leat_usage_reset_peak(void);       /* for the next; where the system does not allow it, nothing happens */
int64_t leat_usage_peak_since_reset_bytes(void);
int64_t leat_usage_written_bytes(void); /* handed to the disk by write calls; -1: not known here */
int leat_usage_processors(void);        /* that this process may run on; at least 1 */
void leat_usage_allow_files(int count);  /* raises the limit of open descriptors to that, or as far as it goes */
#endif
